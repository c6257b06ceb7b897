//! `ocelot version`.

use clap::Args;
use serde_json::json;

use super::show;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn version(options: &Options) -> anyhow::Result<u8> {
    let version = env!("CARGO_PKG_VERSION");
    if options.json {
        let (min, max) = (ocelot_api::PROTOCOL_MIN, ocelot_api::PROTOCOL_MAX);
        show::json(&json!({"version": version, "worker_protocol": {"min": min, "max": max}}))?;
    } else {
        show::line(format_args!("ocelot {version}"))?;
    }
    Ok(0)
}
