//! `ocelot schedule list`.

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
    let schedules = options.remote.client()?.schedules().await?;
    if options.json {
        show::json(&schedules)?;
        return Ok(0);
    }
    let rows = schedules.into_iter().map(|one| {
        let last = one.last_at.map_or_else(|| "never".to_owned(), show::time);
        let cron = format!("{} {}", one.cron, one.time_zone);
        let next = show::time(one.next_at);
        let outcome = one.outcome.unwrap_or_default();
        [one.id.to_string(), one.repo, cron, one.branch, one.created_by, next, last, outcome]
    });
    let none =
        "No schedule; `ocelot schedule add REPO --cron …` makes one, and so does `schedule:` in ocelot.yml.";
    let headings = ["ID", "REPO", "WHEN", "BRANCH", "FROM", "NEXT", "LAST", "WHAT CAME OF IT"];
    show::table(headings, rows, none)?;
    Ok(0)
}
