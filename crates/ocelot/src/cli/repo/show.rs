//! `ocelot repo show [REPO]`.

use clap::Args;

use crate::cli::account::Remote;
use crate::cli::{show as print, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name [default: that of the git checkout here].
    repo: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn show(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let handle = which::repo_or_here(&client, options.repo.as_deref()).await?;
    let repo = which::named(&handle, client.repo(&handle).await)?;
    if options.json {
        print::json(&repo)?;
    } else {
        super::print(&repo)?;
    }
    Ok(0)
}
