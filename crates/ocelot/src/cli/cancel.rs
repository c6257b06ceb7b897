//! `ocelot cancel BUILD`, also `ocelot kill BUILD`.

use clap::Args;

use super::account::Remote;
use super::{number, show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of the build.
    #[arg(value_parser = number::build)]
    build: i64,
    /// Print the build as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn cancel(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let build = which::named(format_args!("build {}", options.build), client.cancel(options.build).await)?;
    if options.json {
        show::json(&build)?;
    } else if build.status.is_terminal() {
        show::line(format_args!("Build {}: {}", build.number, show::status(build.status)))?;
    } else {
        show::line(format_args!("Build {} is being cancelled.", build.number))?;
    }
    Ok(0)
}
