//! `ocelot queue`: the waiting jobs, and why each one waits.

use clap::Args;

use super::account::Remote;
use super::{number, pause, show};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The first ones, at most so many.
    #[arg(long, default_value_t = 50, value_parser = number::rows)]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn queue(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let queue = client.queue(options.limit).await?;
    let more = queue.waiting.saturating_sub(queue.items.len() as u64);
    if options.json {
        show::json(&queue.items)?;
        if more > 0 {
            show::note(format_args!("and {more} more"));
        }
        return Ok(0);
    }
    if let Some(words) = pause::words(&client.paused().await?) {
        show::line(words)?;
    }
    let rows = queue.items.into_iter().map(|item| {
        let unknown = || "–".to_owned();
        let build = item.build.map_or_else(unknown, |number| number.to_string());
        let job = item.job.unwrap_or_else(unknown);
        [item.position.to_string(), build, item.repo, job, show::time(item.queued_at), item.reason]
    });
    show::table(["PLACE", "BUILD", "REPO", "JOB", "QUEUED", "WHY IT WAITS"], rows, "Nothing waits.")?;
    if more > 0 {
        show::line(format_args!("and {more} more"))?;
    }
    Ok(0)
}
