//! `ocelot.toml`: the lowest of the three places that options come from. Unknown keys are refused.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

/// What the file may say; each key is named as its flag, with `_` for `-`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) url: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) listen: Option<std::net::SocketAddr>,
    pub(crate) slots: Option<u32>,
    pub(crate) database_url: Option<String>,
    pub(crate) public_url: Option<String>,
    pub(crate) trusted_proxy: Option<Vec<String>>,
    pub(crate) metrics_listen: Option<std::net::SocketAddr>,
    pub(crate) lease_hard_limit: Option<String>,
    pub(crate) allow_local_repos: Option<bool>,
    pub(crate) insecure_http: Option<bool>,
    pub(crate) server: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) label: Option<Vec<String>>,
    pub(crate) executor: Option<String>,
    pub(crate) log_json: Option<bool>,
}

/// For `up`, `server` and `worker`: the named file, else `./ocelot.toml`, else `/etc/ocelot/ocelot.toml`.
pub(crate) fn for_role(named: Option<&Path>) -> anyhow::Result<File> {
    if let Some(path) = named {
        return read(path);
    }
    let usual = [Path::new("ocelot.toml"), Path::new("/etc/ocelot/ocelot.toml")];
    usual.into_iter().find(|path| path.exists()).map_or_else(|| Ok(File::default()), read)
}

/// For client commands: only a file that was named. They run in checkouts of other people's work,
/// whose files must not say where a token is sent.
pub(crate) fn for_client(named: Option<&Path>) -> anyhow::Result<File> {
    named.map_or_else(|| Ok(File::default()), read)
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("{} is not right", path.display()))
}

fn parse(text: &str) -> anyhow::Result<File> {
    // The words of the library show the line with a caret below the place.
    Ok(toml::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        let error = parse("slots = 2\nslot = 3\n").expect_err("`slot` is no key").to_string();
        assert!(error.contains("line 2") && error.contains("slot"), "{error}");
    }

    #[test]
    fn known_keys_are_read() {
        let file = parse("listen = \"127.0.0.1:0\"\nslots = 3\n").expect("a good file");
        assert_eq!((file.slots, file.listen.map(|l| l.port())), (Some(3), Some(0)));
    }
}
