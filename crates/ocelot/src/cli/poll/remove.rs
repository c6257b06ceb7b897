//! `ocelot poll remove REPO`.

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
    let repo = which::repo(&client, &options.repo).await?;
    which::named(format_args!("a poll of {repo}"), client.remove_poll(&repo).await)?;
    show::line(format_args!("{} is polled no more.", show::plain(&repo)))?;
    Ok(0)
}
