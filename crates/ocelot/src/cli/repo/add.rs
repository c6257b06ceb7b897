//! `ocelot repo add URL`, and `ocelot repo add OWNER/NAME --forge FORGE`.

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
    /// https://…, ssh://…, git@host:path, or a folder here where the server allows it; with --forge its name there.
    #[arg(value_name = "URL|OWNER/NAME")]
    address: String,
    /// Short name of the forge, which is asked for all the rest [default: git].
    #[arg(long)]
    forge: Option<String>,
    /// Name in Ocelot [default: the last part of the URL; a forge's repository has its name there].
    #[arg(long)]
    name: Option<String>,
    /// With --forge: clone it over ssh, not HTTPS.
    #[arg(long)]
    ssh: bool,
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
    let Options { address, forge, name, ssh, public, approvals, .. } = options;
    let forge = forge.filter(|forge| forge != "git");
    let (clone_url, full_name) = match &forge {
        Some(_) => (String::new(), Some(full_name(&address))),
        None => (absolute(address)?, None),
    };
    let repo =
        client.add_repo(&NewRepo { clone_url, forge, full_name, ssh, name, public, approvals }).await?;
    if options.json {
        show::json(&repo)?;
    } else {
        super::print(&repo)?;
    }
    Ok(0)
}

/// `OWNER/NAME`, also of the address that a browser shows.
fn full_name(address: &str) -> String {
    let path = Url::parse(address).ok().filter(Url::has_host).map(|url| url.path().to_owned());
    let path = path.as_deref().unwrap_or(address).trim_matches('/');
    path.strip_suffix(".git").unwrap_or(path).to_owned()
}

/// A path is meant from here, not from where the server stands. One with blanks becomes a URL, which has none.
fn absolute(address: String) -> anyhow::Result<String> {
    let path = Path::new(&address);
    let dotted = address.starts_with('.');
    let is_bare_path = || !address.contains(':') && path.is_dir();
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
    use super::{absolute, full_name};

    #[test]
    fn a_forge_knows_names() {
        for address in
            ["acme/app", "https://git.example/acme/app", "https://git.example/acme/app.git", "/acme/app/"]
        {
            assert_eq!(full_name(address), "acme/app", "{address}");
        }
    }

    #[test]
    fn paths_are_meant_from_here() {
        let check = |address: &str, want: &str| {
            assert_eq!(absolute(address.to_owned()).expect(address), want, "{address}");
        };
        let folder = tempfile::tempdir().expect("a folder");
        let top = folder.path().canonicalize().expect("a folder");
        let blank = top.join("with blank");
        std::fs::create_dir(&blank).expect("a folder");
        check(&format!("{}/.", top.display()), &top.display().to_string());
        let url = format!("file://{}/with%20blank", top.display());
        check(&blank.display().to_string(), &url);
        let here = std::env::current_dir().and_then(|path| path.canonicalize()).expect("a folder");
        check("src/cli", &here.join("src/cli").display().to_string());
        check("./src", &here.join("src").display().to_string());
        for other in [
            "https://h/a.git",
            "ssh://git@h/a",
            "git@h:acme/app.git",
            "acme/app",
            "/not/there",
            "file:///x y",
        ] {
            check(other, other);
        }
        let error = absolute("./not/there".to_owned()).expect_err("it is not there");
        assert!(format!("{error:#}").contains("./not/there"), "{error:#}");
    }
}
