//! `ocelot poll list`.

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
    let polls = options.remote.client()?.polls().await?;
    if options.json {
        show::json(&polls)?;
        return Ok(0);
    }
    let rows = polls.into_iter().map(|poll| {
        let branches = if poll.branches.is_empty() { "ALL".to_owned() } else { poll.branches.join(", ") };
        let last = poll.last_at.map_or_else(|| "never".to_owned(), show::time);
        let cron = format!("{} {}", poll.cron, poll.time_zone);
        [poll.repo, cron, branches, show::time(poll.next_at), last, poll.outcome.unwrap_or_default()]
    });
    let none = "No repository is polled; `ocelot poll add REPO --cron …` looks at one from time to time.";
    show::table(["REPO", "WHEN", "BRANCHES", "NEXT", "LAST", "WHAT CAME OF IT"], rows, none)?;
    Ok(0)
}
