//! `ocelot poll add REPO --cron …`.

use clap::Args;
use ocelot_api::body::NewPoll;

use crate::cli::account::Remote;
use crate::cli::{show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name.
    repo: String,
    /// When to look: minute, hour, day, month, weekday, such as "*/10 * * * *"; or a word like @hourly.
    #[arg(long, value_name = "CRON")]
    cron: String,
    /// Branches to look at: ALL, or regular expressions that match the whole name [default: all].
    #[arg(long, value_name = "BRANCHES", value_delimiter = ',')]
    branches: Vec<String>,
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
    let Options { cron, branches, time_zone, .. } = options;
    let new = NewPoll { repo: repo.clone(), cron, time_zone, branches };
    let poll = which::named(repo, client.add_poll(&new).await)?;
    if options.json {
        show::json(&poll)?;
        return Ok(0);
    }
    show::line(format_args!(
        "{} is looked at next on {}",
        show::plain(&poll.repo),
        show::time(poll.next_at)
    ))?;
    Ok(0)
}
