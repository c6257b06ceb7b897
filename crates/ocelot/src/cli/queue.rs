//! `ocelot queue`: the waiting jobs, and why each one waits.

use clap::Args;

use super::account::Remote;
use super::{pause, show};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn queue(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let queue = client.queue().await?;
    if options.json {
        show::json(&queue)?;
        return Ok(0);
    }
    if let Some(words) = pause::words(&client.paused().await?) {
        show::line(words)?;
    }
    let rows = queue.into_iter().map(|item| {
        let unknown = || "–".to_owned();
        let build = item.build.map_or_else(unknown, |number| number.to_string());
        let job = item.job.unwrap_or_else(unknown);
        [item.position.to_string(), build, item.repo, job, show::time(item.queued_at), item.reason]
    });
    show::table(["PLACE", "BUILD", "REPO", "JOB", "QUEUED", "WHY IT WAITS"], rows, "Nothing waits.")?;
    Ok(0)
}
