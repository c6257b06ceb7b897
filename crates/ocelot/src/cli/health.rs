//! `ocelot health`: for images without a program that speaks HTTP.

use clap::Args;

use super::account::Remote;
use super::show;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn health(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    client.ready().await?;
    show::line(format_args!("{} is ready.", client.url()))?;
    Ok(0)
}
