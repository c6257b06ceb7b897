//! `ocelot repo add URL`.

use clap::Args;
use ocelot_api::body::NewRepo;

use crate::cli::account::Remote;
use crate::cli::show;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// https://…, ssh://…, git@host:path, or a local path where the server allows it.
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
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn add(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let Options { clone_url, forge, name, public, .. } = options;
    let repo = client.add_repo(&NewRepo { clone_url: absolute(clone_url), forge, name, public }).await?;
    if options.json {
        show::json(&repo)?;
    } else {
        super::print(&repo)?;
    }
    Ok(0)
}

/// A path is meant from here, not from where the server stands.
fn absolute(url: String) -> String {
    if !url.starts_with('.') {
        return url;
    }
    std::fs::canonicalize(&url).map_or(url, |path| path.to_string_lossy().into_owned())
}
