//! `ocelot forge remove NAME`.

use clap::Args;

use crate::cli::account::Remote;
use crate::cli::{show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Short name of the forge.
    name: String,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn remove(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    which::named(&options.name, client.remove_forge(&options.name).await)?;
    show::line(format_args!("Removed {}.", show::plain(&options.name)))?;
    Ok(0)
}
