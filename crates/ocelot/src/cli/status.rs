//! `ocelot status`: how a build stands, stage by stage.

use clap::Args;
use ocelot_api::body::{Build, Job, Stage};
use ocelot_model::Status;

use super::account::Remote;
use super::show::{duration, line, plain};
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
    line(format_args!("page: {}", client.page(build.number)))?;
    Ok(0)
}

fn print(build: &Build) -> std::io::Result<()> {
    line(format_args!("build: {}", build.number))?;
    line(format_args!("status: {}", show::status(build.status)))?;
    line(format_args!("repo: {}", plain(&build.repo)))?;
    line(format_args!("branch: {}", plain(&build.branch)))?;
    line(format_args!("hash: {}", plain(&build.commit)))?;
    if let Some(number) = build.retry_of {
        line(format_args!("retry of: {number}"))?;
    }
    if let Some(reason) = show::reason(build) {
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
        if let Some(reason) = job.reason.as_ref().filter(|reason| build.reason.as_ref() != Some(reason)) {
            line(format_args!("     * job {}: {}", plain(&job.name), plain(reason)))?;
        }
    }
    Ok(())
}

/// `test`, or `linux/test` where there are several jobs.
fn label(jobs: &[Job], job: &Job, stage: &Stage) -> String {
    if jobs.len() > 1 { format!("{}/{}", job.name, stage.name) } else { stage.name.clone() }
}

/// What became of a stage, in words.
pub(crate) fn how(stage: &Stage) -> String {
    let took = stage.duration_ms.map_or_else(|| "some time".to_owned(), duration);
    match stage.status {
        Status::Passed => format!("took {took} to pass"),
        Status::Failed => format!("took {took} to fail"),
        Status::Error => format!("took {took} to end in an error"),
        Status::TimedOut => format!("ran out of time after {took}"),
        Status::Cancelled => "was cancelled".to_owned(),
        Status::Skipped => "was skipped".to_owned(),
        Status::Running => "is running".to_owned(),
        Status::Queued | Status::Blocked => "waits".to_owned(),
    }
}

fn notes(stage: &Stage) -> Vec<String> {
    let code = stage.exit_code.filter(|code| *code != 0).map(|code| format!("exit code {code}"));
    let reason = stage.reason.clone().filter(|reason| code.as_ref() != Some(reason));
    code.into_iter().chain(reason).collect()
}
