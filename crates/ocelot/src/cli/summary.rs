//! `ocelot summary`: the newest builds.

use clap::Args;
use jiff::Timestamp;
use ocelot_api::client::BuildQuery;

use super::account::Remote;
use super::checkout::Checkout;
use super::{number, show, when, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name of a repository [default: that of the git checkout here, elsewhere all].
    repo: Option<String>,
    /// Builds of all repositories, also in a checkout.
    #[arg(long, conflicts_with = "repo")]
    all: bool,
    /// Only builds of this branch.
    #[arg(long)]
    branch: Option<String>,
    /// Only builds with this status.
    #[arg(long)]
    status: Option<ocelot_model::Status>,
    /// Only builds that this made: push, pull_request, tag, poll, schedule, manual, subscription or retry.
    #[arg(long)]
    event: Option<ocelot_model::EventKind>,
    /// Only builds of this commit (7 characters or more).
    #[arg(long)]
    commit: Option<String>,
    /// Only builds that were queued then or later: 2026-01-31, 2026-01-31T12:00:00Z, or 7d, 12h, 4w for so long ago.
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    since: Option<Timestamp>,
    /// Only builds that were queued before then.
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    until: Option<Timestamp>,
    /// Only builds of which this worker had a job.
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    /// Only builds with this text in message, author or branch, or at the beginning of the commit.
    #[arg(short = 'q', long = "query", value_name = "TEXT")]
    q: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_parser = number::rows)]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn summary(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let repo = match &options.repo {
        Some(word) => Some(which::repo(&client, word).await?),
        None if options.all => None,
        None => which::known_here(&client, &Checkout::here()).await?,
    };
    let status = options.status.map(|status| status.to_string());
    let query = BuildQuery {
        repo,
        branch: options.branch,
        status,
        event: options.event.map(|event| event.to_string()),
        commit: options.commit.map(|commit| commit.to_lowercase()),
        since: options.since,
        until: options.until,
        worker: options.worker,
        q: options.q,
        limit: Some(options.limit),
        cursor: None,
    };
    let builds = client.builds(&query).await?.items;
    if builds.is_empty() && options.repo.is_some() {
        which::is_there(&client, query.repo.as_deref()).await?;
    }
    if options.json {
        show::json(&builds)?;
        return Ok(0);
    }
    let rows = builds.into_iter().map(|build| {
        let duration = show::build_duration(&build);
        let started = build.started_at.map_or_else(|| "–".to_owned(), show::time);
        let (number, status) = (build.number.to_string(), build.status.to_string());
        let hash = show::short(&build.commit).to_owned();
        [number, build.repo, duration, started, status, build.branch, hash]
    });
    let headings = ["BUILD", "REPO", "DURATION", "STARTED", "STATUS", "BRANCH", "HASH"];
    show::table(headings, rows, "No builds; `ocelot build` queues one.")?;
    Ok(0)
}
