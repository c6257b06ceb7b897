//! `ocelot why BUILD`: why it is there, why it waits, or what became of it.

use clap::Args;
use ocelot_api::body::{
    BrokenSince, Build, Insights, Job, NewLine, NewLines, QueueItem, Stage, Undelivered, UpstreamBuild,
};
use ocelot_api::client::Client;
use ocelot_model::subscription::MAX_DEPTH;
use serde_json::json;

use super::account::Remote;
use super::show::{self, line, plain};
use super::{number, which};

/// New lines of one log that are shown; `--json` has more.
const LINES: usize = 5;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of the build.
    #[arg(value_parser = number::build)]
    build: i64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn why(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let build = which::named(format_args!("build {}", options.build), client.build(options.build).await)?;
    let waiting = if build.status.is_terminal() { Vec::new() } else { client.queue_of(build.number).await? };
    let insights = client.insights(build.number).await?;
    let upstream = upstream(&client, &build).await?;
    if options.json {
        let stages: Vec<_> = show::culprits(&build).map(|(job, stage)| culprit(job, stage)).collect();
        let Build { number, status, reason, problems, .. } = &build;
        show::json(&json!({"number": number, "status": status, "reason": reason, "problems": problems,
            "stages": stages, "waiting": waiting, "undelivered": build.undelivered, "notes": build.notes, "upstream": upstream,
            "downstream": build.downstream, "insights": insights}))?;
    } else {
        print(&build, &waiting)?;
        chain(&build, &upstream)?;
        if let Some(insights) = &insights {
            tell(&build, insights)?;
        }
    }
    Ok(0)
}

/// The build that it follows, the one that that one follows, and so on, as far as they are there and may be seen.
async fn upstream(client: &Client, build: &Build) -> anyhow::Result<Vec<UpstreamBuild>> {
    let mut all = Vec::new();
    let mut next = build.upstream_build.clone();
    while let Some(of) = next.take() {
        if all.len() + 1 < MAX_DEPTH {
            next = match client.build(of.build).await {
                Ok(build) => build.upstream_build,
                // Removed, as old builds are.
                Err(error) if error.status() == Some(404) => None,
                Err(error) => return Err(error.into()),
            };
        }
        all.push(of);
    }
    Ok(all)
}

/// Which builds come before and after it.
fn chain(build: &Build, upstream: &[UpstreamBuild]) -> std::io::Result<()> {
    let named = |of: &UpstreamBuild| {
        let gone = if of.removed { ", removed by now" } else { "" };
        let at = format!("{} {}{gone}", of.branch, show::short(&of.commit));
        plain(&format!("build {} of {} ({at})", of.build, of.repo))
    };
    let names: Vec<String> = upstream.iter().map(named).collect();
    if !names.is_empty() {
        line(format_args!("It was made after {}.", names.join(", which was made after ")))?;
    }
    for next in &build.downstream {
        let (repo, status) = (plain(&next.repo), show::status(next.status));
        line(format_args!("Build {} of {repo} was made after it: {status}", next.build))?;
    }
    Ok(())
}

fn culprit(job: &Job, stage: &Stage) -> serde_json::Value {
    let Stage { name, status, exit_code, reason, .. } = stage;
    json!({"job": job.name, "stage": name, "status": status, "exit_code": exit_code, "reason": reason})
}

fn print(build: &Build, waiting: &[QueueItem]) -> std::io::Result<()> {
    line(format_args!("Build {}: {}", build.number, show::status(build.status)))?;
    if let Some(reason) = show::reason(build) {
        line(reason)?;
    }
    for Undelivered { kind, context, error, again_at } in &build.undelivered {
        let state = if again_at.is_some() { "not delivered yet" } else { "not delivered, and given up" };
        let to = format!("{} {}", plain(kind), plain(context));
        line(format_args!("{}: {state}: {}", to.trim_end(), plain(error)))?;
    }
    for note in &build.notes {
        line(plain(note))?;
    }
    for QueueItem { job, reason, position, .. } in waiting {
        let job = job.as_deref().map_or_else(|| "a job".to_owned(), |name| format!("job {name}"));
        line(format_args!("{} waits at place {position}: {}", plain(&job), plain(reason)))?;
    }
    Ok(())
}

/// What earlier builds say about it.
fn tell(build: &Build, insights: &Insights) -> std::io::Result<()> {
    let several = build.jobs.as_ref().is_some_and(|jobs| jobs.len() > 1);
    for new in insights.stages.iter().filter(|new| !new.lines.is_empty()) {
        let NewLines { job, stage, compared_with, total, lines, .. } = new;
        let name = if several { format!("{job}/{stage}") } else { stage.clone() };
        let than = match compared_with {
            0 => "no run of it passed before; these lines tell of a fault".to_owned(),
            1 => "new against its last passed run".to_owned(),
            runs => format!("new against its last {runs} passed runs"),
        };
        line(format_args!("\nIn the log of {}, {than}:", plain(&name)))?;
        for NewLine { line: number, text, count, .. } in lines.iter().take(LINES) {
            let times = if *count > 1 { format!("  ({count} times)") } else { String::new() };
            line(format_args!("{number:>7}  {}{times}", plain(text)))?;
        }
        let more = total.saturating_sub(LINES as u64);
        if more > 0 {
            line(format_args!("         and {more} more"))?;
        }
    }
    if let Some(BrokenSince { last_good, first_bad, builds }) = &insights.broken_since {
        let since = format!("build {} ({})", first_bad.number, show::short(&first_bad.commit));
        let count =
            if *builds == 1 { "this is the first one".to_owned() } else { format!("{builds} builds") };
        let what = match build.pull_request {
            Some(number) => format!("Pull request {number}"),
            None => plain(&build.branch),
        };
        match last_good {
            Some(good) => {
                let good = format!("build {} ({})", good.number, show::short(&good.commit));
                line(format_args!(
                    "\n{what} is broken since {since}, {count}; the last good one is {good}."
                ))?;
            }
            None => {
                line(format_args!("\n{what} is broken since {since} at least, {count}."))?;
            }
        }
    }
    if let Some(words) = show::expected(insights) {
        line(words)?;
    }
    Ok(())
}
