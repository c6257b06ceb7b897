//! `ocelot approve BUILD [JOB]`.

use clap::Args;
use ocelot_api::body::{ApproveBuild, Build};
use ocelot_model::Status;

use super::account::Remote;
use super::{number, show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of the build.
    #[arg(value_parser = number::build)]
    build: i64,
    /// Name of one of its jobs, which its ocelot.yml wants a person to let start [default: all of them, where the commit waits
    /// for nobody].
    job: Option<String>,
    /// Print the build as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn approve(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let what = ApproveBuild { job: options.job };
    let build =
        which::named(format_args!("build {}", options.build), client.approve(options.build, &what).await)?;
    if options.json {
        show::json(&build)?;
        return Ok(0);
    }
    for line in approved(&build, what.job.as_deref()) {
        show::line(show::plain(&line))?;
    }
    show::note(next(&build));
    Ok(0)
}

/// What was let start, one sentence each.
fn approved(build: &Build, job: Option<&str>) -> Vec<String> {
    let Build { number, repo, commit, .. } = build;
    let short: String = commit.chars().take(12).collect();
    let whole = build.approved_by.as_ref().filter(|_| job.is_none()).map(|by| {
        let of = build.pull_request.map(|request| format!(", pull request {request}")).unwrap_or_default();
        format!("{by} approved commit {short} of {repo}{of} for build {number}; another commit waits again.")
    });
    let jobs = build.jobs.iter().flatten().filter(|one| job.is_none_or(|name| *name == one.name));
    let jobs = jobs.filter_map(|job| {
        let (name, by) = (&job.name, job.approved_by.as_ref()?);
        Some(format!("{by} approved job {name} of build {number} (commit {short} of {repo})."))
    });
    whole.into_iter().chain(jobs).collect()
}

/// What happens now.
fn next(build: &Build) -> String {
    let number = build.number;
    let secrets =
        if build.trusted { "" } else { " It gets no secrets: its commit is not the repository's own." };
    let blocked = build.jobs.iter().flatten().filter(|job| job.status == Status::Blocked);
    let blocked: Vec<&str> = blocked.map(|job| job.name.as_str()).collect();
    let others = match &blocked[..] {
        [] => String::new(),
        names => format!(" Still to be approved: {}.", show::plain(&names.join(", "))),
    };
    match build.status {
        Status::Blocked => format!("It still waits for somebody; `ocelot why {number}` says for what."),
        Status::Queued => {
            format!(
                "It waits for a worker now; `ocelot logs {number} --follow` shows its log.{secrets}{others}"
            )
        }
        Status::Running => {
            format!("It runs; `ocelot logs {number} --follow` shows its log.{secrets}{others}")
        }
        status @ (Status::Passed
        | Status::Failed
        | Status::Error
        | Status::TimedOut
        | Status::Cancelled
        | Status::Skipped) => format!("Build {number} is over ({status}): that changes nothing any more."),
    }
}
