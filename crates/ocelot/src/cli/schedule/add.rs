//! `ocelot schedule add REPO --cron …`.

use clap::Args;
use ocelot_api::body::NewSchedule;

use crate::cli::account::Remote;
use crate::cli::{show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name.
    repo: String,
    /// When to build: minute, hour, day, month, weekday, such as "0 3 * * 1-5"; or a word like @daily.
    #[arg(long, value_name = "CRON")]
    cron: String,
    /// Branch [default: the repository's default branch].
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// Time zone of --cron, such as Europe/Rome [default: UTC].
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn add(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let repo = which::repo(&client, &options.repo).await?;
    let Options { cron, branch, time_zone, .. } = options;
    let new = NewSchedule { repo: repo.clone(), cron, time_zone, branch };
    let schedule = which::named(repo, client.add_schedule(&new).await)?;
    if options.json {
        show::json(&schedule)?;
        return Ok(0);
    }
    let (branch, repo) = (show::plain(&schedule.branch), show::plain(&schedule.repo));
    let (id, next) = (schedule.id, show::time(schedule.next_at));
    show::line(format_args!("Schedule {id}: {branch} of {repo} is built next on {next}"))?;
    Ok(0)
}
