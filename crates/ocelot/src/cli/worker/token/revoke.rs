//! `ocelot worker token revoke ID`.

use clap::Args;

use crate::cli::account::Remote;
use crate::cli::{number, show};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Id, as `ocelot worker token list` shows it.
    #[arg(value_parser = number::id)]
    id: i64,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn revoke(options: Options) -> anyhow::Result<u8> {
    options.remote.client()?.revoke_worker_token(options.id).await?;
    show::line(format_args!("Revoked {}. Workers that have come with it stay.", options.id))?;
    Ok(0)
}
