//! `ocelot repo add URL`.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use clap::Args;
use ocelot_api::body::NewRepo;
use ocelot_model::Approvals;
use url::Url;

use crate::cli::account::Remote;
use crate::cli::show;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// https://…, ssh://…, git@host:path, or a folder here where the server allows it.
    #[arg(value_name = "URL")]
    clone_url: String,
    /// Short name of the forge [default: git].
    #[arg(long)]
    forge: Option<String>,
    /// Name in Ocelot [default: the last part of the URL].
    #[arg(long)]
    name: Option<String>,
    /// Let anyone read it, without a token.
    #[arg(long)]
    public: bool,
    /// Whose builds wait for `ocelot approve`: forks, all (every pull request, too) or none.
    #[arg(long, value_name = "WHOSE", default_value_t)]
    approvals: Approvals,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn add(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let Options { clone_url, forge, name, public, approvals, .. } = options;
    let clone_url = absolute(clone_url, forge.as_deref())?;
    let repo = client.add_repo(&NewRepo { clone_url, forge, name, public, approvals }).await?;
    if options.json {
        show::json(&repo)?;
    } else {
        super::print(&repo)?;
    }
    Ok(0)
}

/// A path is meant from here, not from where the server stands. One with blanks becomes a URL, which has none.
fn absolute(address: String, forge: Option<&str>) -> anyhow::Result<String> {
    let path = Path::new(&address);
    let dotted = address.starts_with('.');
    // `owner/name` is no path where a forge knows it.
    let is_bare_path = || forge.is_none() && !address.contains(':') && path.is_dir();
    if !dotted && !address.starts_with('/') && !is_bare_path() {
        return Ok(address);
    }
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) if dotted => {
            return Err(error).with_context(|| format!("cannot find the folder {address}"));
        }
        // It may be there for the server.
        Err(_) => return Ok(address),
    };
    match path.to_str() {
        Some(text) if !text.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => {
            Url::from_file_path(&path).map(Into::into).map_err(|()| anyhow!("{} is no path", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn paths_are_meant_from_here() {
        let check = |address: &str, forge, want: &str| {
            assert_eq!(absolute(address.to_owned(), forge).expect(address), want, "{address}");
        };
        let folder = tempfile::tempdir().expect("a folder");
        let top = folder.path().canonicalize().expect("a folder");
        let blank = top.join("with blank");
        std::fs::create_dir(&blank).expect("a folder");
        check(&format!("{}/.", top.display()), None, &top.display().to_string());
        let url = format!("file://{}/with%20blank", top.display());
        check(&blank.display().to_string(), None, &url);
        let here = std::env::current_dir().and_then(|path| path.canonicalize()).expect("a folder");
        check("src/cli", None, &here.join("src/cli").display().to_string());
        check("src/cli", Some("github"), "src/cli");
        check("./src", None, &here.join("src").display().to_string());
        for other in [
            "https://h/a.git",
            "ssh://git@h/a",
            "git@h:acme/app.git",
            "acme/app",
            "/not/there",
            "file:///x y",
        ] {
            check(other, None, other);
        }
        let error = absolute("./not/there".to_owned(), None).expect_err("it is not there");
        assert!(format!("{error:#}").contains("./not/there"), "{error:#}");
    }
}
