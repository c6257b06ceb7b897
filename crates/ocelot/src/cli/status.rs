//! `ocelot status`: how a build stands, stage by stage.

use clap::Args;
use ocelot_api::body::Build;
use ocelot_model::duration;

use super::account::Remote;
use super::show::{how, label, line, notes, plain, says};
use super::{show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of a build, a commit (7 characters or more), or a repository for its newest build
    /// [default: the commit that is checked out here].
    what: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn status(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let build = which::build(&client, options.what.as_deref()).await?;
    if options.json {
        show::json(&build)?;
        return Ok(0);
    }
    print(&build)?;
    if !build.status.is_terminal()
        && let Some(insights) = client.insights(build.number).await?
        && let Some(words) = show::expected(&insights)
    {
        line(format_args!("expected: {words}"))?;
    }
    line(format_args!("page: {}", client.page(build.number)))?;
    Ok(0)
}

fn print(build: &Build) -> std::io::Result<()> {
    line(format_args!("build: {}", build.number))?;
    line(format_args!("status: {}", show::status(build.status)))?;
    line(format_args!("repo: {}", plain(&build.repo)))?;
    line(format_args!("branch: {}", plain(&build.branch)))?;
    line(format_args!("hash: {}", plain(&build.commit)))?;
    let by = build.triggered_by.as_ref().filter(|who| !who.is_empty()).unwrap_or(&build.author);
    line(format_args!("by: {} ({})", plain(by), build.event))?;
    if let Some(ms) = build.queue_ms {
        line(format_args!("waited: {}", duration::took(ms)))?;
    }
    if let Some(ms) = build.duration_ms {
        line(format_args!("took: {}", duration::took(ms)))?;
    }
    if let Some(number) = build.retry_of {
        let gone = if build.retry_removed { " (removed by now)" } else { "" };
        line(format_args!("retry of: {number}{gone}"))?;
    }
    if let Some(of) = &build.upstream_build {
        let gone = if of.removed { ", removed by now" } else { "" };
        let at = format!("{} {}{gone}", of.branch, show::short(&of.commit));
        line(format_args!("after: {} {} ({})", plain(&of.repo), of.build, plain(&at)))?;
    }
    for next in &build.downstream {
        let status = show::status(next.status);
        line(format_args!("followed by: {} {} ({status})", plain(&next.repo), next.build))?;
    }
    for note in &build.notes {
        line(plain(note))?;
    }
    if let Some(reason) = show::own_reason(build) {
        line(format_args!("reason: {}", reason.replace('\n', "\n        ")))?;
    }
    let jobs = build.jobs.as_deref().unwrap_or_default();
    for job in jobs {
        for stage in &job.stages {
            line(format_args!("[{}] {}", plain(&label(jobs, job, stage)), how(stage)))?;
            for note in notes(stage) {
                line(format_args!("     * {}", plain(&note)))?;
            }
        }
        let told = |reason: &&String| job.stages.iter().any(|stage| says(stage, reason));
        if let Some(reason) = job.reason.as_ref().filter(|reason| job.allowed || !told(reason)) {
            let allowed = if job.allowed { " (allowed)" } else { "" };
            line(format_args!("     * job {}: {}{allowed}", plain(&job.name), plain(reason)))?;
        }
        let earlier = job.attempts.split_last().map_or(&[][..], |(_, earlier)| earlier);
        for earlier in earlier {
            let words = plain(&show::attempt(earlier));
            line(format_args!("     * job {}, {words}", plain(&job.name)))?;
        }
    }
    Ok(())
}
