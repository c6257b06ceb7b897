//! `ocelot retry BUILD`.

use clap::Args;
use ocelot_api::body::RetryBuild;

use super::account::Remote;
use super::{number, show, which};
use crate::exit;
use crate::follow::{self, Look};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of the build.
    #[arg(value_parser = number::build)]
    build: i64,
    /// Do again only what did not pass.
    #[arg(long)]
    failed: bool,
    /// Stream the log; the exit code says how the new build ended.
    #[arg(long, short)]
    follow: bool,
    /// Print the new build as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn retry(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let how = RetryBuild { failed: options.failed };
    let again = client.retry(options.build, &how).await;
    let build = which::named(format_args!("build {}", options.build), again)?;
    if options.follow {
        return follow::follow(&client, build.number, Look { json: options.json, ..Look::default() }).await;
    }
    if options.json {
        show::json(&build)?;
    } else {
        show::line(format_args!("Build {} does build {} again.", build.number, options.build))?;
        show::line(client.page(build.number))?;
    }
    Ok(exit::of_status(build.status))
}
