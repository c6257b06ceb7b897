//! `ocelot why BUILD`: why it waits, or what became of it.

use clap::Args;
use ocelot_api::body::QueueItem;

use super::account::Remote;
use super::show;
use super::show::{line, plain};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of the build.
    build: i64,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn why(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let build = client.build(options.build).await?;
    line(format_args!("Build {}: {}", build.number, show::status(build.status)))?;
    if let Some(reason) = show::reason(&build) {
        line(reason)?;
    }
    if build.status.is_terminal() {
        return Ok(0);
    }
    let queue = client.queue().await?;
    for QueueItem { job, reason, position, .. } in queue.iter().filter(|i| i.build == Some(build.number)) {
        let job = job.as_deref().unwrap_or("job");
        line(format_args!("{} waits at place {position}: {}", plain(job), plain(reason)))?;
    }
    Ok(0)
}
