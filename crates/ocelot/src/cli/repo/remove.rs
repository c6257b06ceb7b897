//! `ocelot repo remove REPO`.

use clap::Args;

use crate::cli::account::Remote;
use crate::cli::{show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name.
    repo: String,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn remove(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let handle = which::repo(&client, &options.repo).await?;
    client.remove_repo(&handle).await?;
    show::line(format_args!("Removed {}.", show::plain(&handle)))?;
    Ok(0)
}
