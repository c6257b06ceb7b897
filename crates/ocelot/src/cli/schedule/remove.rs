//! `ocelot schedule remove ID`.

use clap::Args;

use crate::cli::account::Remote;
use crate::cli::{number, show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Its number in `ocelot schedule list`.
    #[arg(value_parser = number::id)]
    id: i64,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn remove(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    which::named(format_args!("schedule {}", options.id), client.remove_schedule(options.id).await)?;
    show::line(format_args!("Removed schedule {}.", options.id))?;
    Ok(0)
}
