//! `ocelot forge list`.

use clap::Args;

use crate::cli::account::Remote;
use crate::cli::show;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn list(options: Options) -> anyhow::Result<u8> {
    let forges = options.remote.client()?.forges().await?;
    if options.json {
        show::json(&forges)?;
        return Ok(0);
    }
    let rows = forges.into_iter().map(|forge| {
        let access = forge.access.unwrap_or_else(|| "none".to_owned());
        let trust = if forge.ca { "own" } else { "public" };
        [forge.name, forge.kind, access, trust.to_owned(), forge.base_url]
    });
    show::table(
        ["FORGE", "KIND", "CREDENTIALS", "AUTHORITY", "URL"],
        rows,
        "No forge; `ocelot forge add NAME` adds one.",
    )?;
    Ok(0)
}
