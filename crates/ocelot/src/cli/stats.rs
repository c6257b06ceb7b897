//! `ocelot stats`: how builds, jobs and stages ended, how long they took and how long they waited.

use clap::Args;
use jiff::Timestamp;
use ocelot_api::body::{Counts, Percentiles, Stats, StatsItem};
use ocelot_api::client::StatsQuery;
use ocelot_model::duration;

use super::account::Remote;
use super::checkout::Checkout;
use super::show::{line, plain};
use super::{show, when, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name of a repository [default: that of the git checkout here, elsewhere all].
    repo: Option<String>,
    /// All repositories, also in a checkout.
    #[arg(long, conflicts_with = "repo")]
    all: bool,
    /// Only builds of this branch.
    #[arg(long)]
    branch: Option<String>,
    /// Count this job instead of whole builds.
    #[arg(long)]
    job: Option<String>,
    /// Count this stage instead of whole builds [of the job `default` unless --job is given].
    #[arg(long)]
    stage: Option<String>,
    /// Count what ended then or later: 2026-01-31, 2026-01-31T12:00:00Z, or 7d, 12h, 4w for so long ago [default: 2 days for
    /// hours, 30 days, 52 weeks].
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    from: Option<Timestamp>,
    /// Count what ended before then.
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    to: Option<Timestamp>,
    /// What a row is: hour, day, week, repo, branch, job or stage [default: day, and repo for all].
    #[arg(long, value_name = "WHAT", value_parser = ["hour", "day", "week", "repo", "branch", "job", "stage"])]
    by: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn stats(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let repo = match &options.repo {
        Some(word) => Some(which::repo(&client, word).await?),
        None if options.all => None,
        None => which::known_here(&client, &Checkout::here()).await?,
    };
    let by = options.by.unwrap_or_else(|| if repo.is_some() { "day" } else { "repo" }.to_owned());
    let job = options.job.or_else(|| options.stage.is_some().then(|| "default".to_owned()));
    let query = StatsQuery {
        repo: repo.clone(),
        branch: options.branch,
        job,
        stage: options.stage,
        from: options.from,
        to: options.to,
        by: Some(by),
    };
    let stats = which::named(repo.as_deref().unwrap_or("stats"), client.stats(&query).await)?;
    if options.json {
        show::json(&stats)?;
    } else {
        print(&stats)?;
    }
    Ok(0)
}

fn print(stats: &Stats) -> std::io::Result<()> {
    let some = stats.items.iter().filter(|item| item.counts.total > 0);
    let rows = some.map(|item| {
        let Counts { total, counts, .. } = &item.counts;
        let number = |count: u64| if count == 0 { "–".to_owned() } else { count.to_string() };
        let bad = counts.failed + counts.timed_out;
        let rest = counts.cancelled + counts.skipped;
        let [name, total, bad, error, rest] =
            [name(stats, item), total.to_string(), number(bad), number(counts.error), number(rest)];
        let [p50, p95] = times(item.counts.duration_ms);
        let [wait50, wait95] = times(item.counts.queue_ms);
        [name, total, rate(&item.counts), bad, error, rest, p50, p95, wait50, wait95]
    });
    let first = stats.by.to_uppercase();
    let headings =
        [&first, "ALL", "PASSED", "FAILED", "ERROR", "STOPPED", "TOOK p50", "p95", "WAITED p50", "p95"];
    let (from, to) = (show::time(stats.from), show::time(stats.to));
    show::table(headings, rows, &format!("Nothing ended between {from} and {to}."))?;
    if stats.more {
        line("These ended most often; there are more.")?;
    }
    let what = [&stats.repo, &stats.branch, &stats.job, &stats.stage];
    let what: Vec<String> = what.into_iter().flatten().map(|name| plain(name)).collect();
    let what = if what.is_empty() { String::new() } else { format!("{}: ", what.join(", ")) };
    if stats.total.total > 0 {
        line(format_args!(
            "{what}{} ended, {} passed, {from} to {to}",
            stats.total.total,
            rate(&stats.total)
        ))?;
    }
    Ok(())
}

fn name(stats: &Stats, item: &StatsItem) -> String {
    match (item.from, stats.by.as_str()) {
        (Some(from), "hour") => from.strftime("%Y-%m-%d %H:00Z").to_string(),
        (Some(from), _) => from.strftime("%Y-%m-%d").to_string(),
        (None, _) => {
            let names = [&item.repo, &item.branch, &item.job, &item.stage];
            names.into_iter().flatten().cloned().collect::<Vec<_>>().join("/")
        }
    }
}

fn rate(counts: &Counts) -> String {
    counts.pass_rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.1} %", rate * 100.0))
}

fn times(percentiles: Percentiles) -> [String; 2] {
    [percentiles.p50, percentiles.p95].map(|ms| ms.map_or_else(|| "–".to_owned(), duration::took))
}
