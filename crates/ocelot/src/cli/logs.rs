//! `ocelot logs BUILD [STAGE]`, and with `--delete` their end.

use std::io::IsTerminal as _;

use anyhow::bail;
use clap::Args;
use ocelot_api::body::Build;
use ocelot_api::client::Client;

use super::account::Remote;
use super::{ask, number, show, which};
use crate::exit::usage;
use crate::follow::{self, Look, stored};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of the build, a commit, or a repository for its newest build.
    build: String,
    /// Only this stage: its name, `job/stage`, or its id.
    stage: Option<String>,
    /// Go on until the build is over; the exit code says how it ended.
    #[arg(long, short)]
    follow: bool,
    /// The bytes as they are, with all that a terminal would obey and without headings.
    #[arg(long)]
    raw: bool,
    /// Begin each line with its time.
    #[arg(long, conflicts_with = "follow")]
    timestamps: bool,
    /// Only the last N lines.
    #[arg(long, value_name = "N", conflicts_with = "follow", value_parser = number::lines)]
    tail: Option<u32>,
    /// The log of attempt N [default: the newest attempt of each job].
    #[arg(long, value_name = "N", conflicts_with = "follow", value_parser = number::count)]
    attempt: Option<u32>,
    /// Delete the log of STAGE for good, because a secret stands in it; a note stays.
    #[arg(long, requires = "stage", conflicts_with_all = ["follow", "raw", "timestamps", "tail"])]
    delete: bool,
    /// Do not ask before deleting.
    #[arg(long, short, requires = "delete")]
    yes: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn logs(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let build = which::build(&client, Some(&options.build)).await?;
    let Options { stage, raw, timestamps, tail, attempt, delete, yes, .. } = options;
    if options.follow {
        let look = Look { only: stage, raw, json: false };
        return follow::follow(&client, build.number, look).await;
    }
    let named = stage.as_deref().and_then(|stage| stage.parse().ok());
    let attempt = attempt.or_else(|| attempt_with(&build, named?));
    let shown = match attempt {
        Some(number) => of_attempt(&build, number)?,
        None => build.clone(),
    };
    if let Some(stage) = stage.as_deref().filter(|_| delete) {
        return remove(&client, &shown, stage, yes).await;
    }
    stored::print(&client, &shown, stored::Wish { only: stage, raw, timestamps, tail }).await?;
    if attempt.is_none() && !raw {
        say_earlier(&build);
    }
    Ok(0)
}

/// Deletes the log of one stage; asks first, for nothing brings it back.
async fn remove(client: &Client, build: &Build, name: &str, yes: bool) -> anyhow::Result<u8> {
    let number = build.number;
    let stages = stored::wanted(build, Some(name));
    let [(label, stage)] = stages.as_slice() else {
        if stages.is_empty() {
            bail!("build {number} has no stage `{name}`; `ocelot status {number}` shows its stages");
        }
        let labels: Vec<&str> = stages.iter().map(|(label, _)| label.as_str()).collect();
        bail!("several stages are called `{name}`: name one of {}", show::plain(&labels.join(", ")));
    };
    let label = show::plain(label);
    if !yes {
        let repo = show::plain(&build.repo);
        let what = format!(
            "This deletes the log of {label} of build {number} of {repo} ({} bytes)",
            stage.log_bytes
        );
        if !std::io::stdin().is_terminal() {
            return Err(usage(format!("{what}. There is no terminal to ask on: give --yes to delete it")));
        }
        let question = format!("{what}. Nothing brings it back.\nType {label} to go on: ");
        if ask::line(&question).await? != label {
            bail!("that is not `{label}`: nothing was deleted");
        }
    }
    client.delete_log(number, stage.id).await?;
    show::line(format_args!("Deleted the log of {label} of build {number}."))?;
    Ok(0)
}

/// The attempt that a stage, named by its id, belongs to.
fn attempt_with(build: &Build, stage: i64) -> Option<u32> {
    let attempts = build.jobs.iter().flatten().flat_map(|job| &job.attempts);
    attempts.into_iter().find(|a| a.stages.iter().any(|own| own.id == stage)).map(|attempt| attempt.number)
}

/// The build as it was at this attempt: jobs that had none are left out.
fn of_attempt(build: &Build, number: u32) -> anyhow::Result<Build> {
    let mut jobs = build.jobs.clone().unwrap_or_default();
    let mut reason = None;
    jobs.retain_mut(|job| {
        let Some(attempt) = job.attempts.iter().find(|attempt| attempt.number == number) else {
            return false;
        };
        job.stages.clone_from(&attempt.stages);
        reason = reason.take().or_else(|| attempt.reason.clone());
        true
    });
    if jobs.is_empty() {
        bail!(
            "no job of build {0} had an attempt {number}; `ocelot status {0}` shows its attempts",
            build.number
        );
    }
    Ok(Build { jobs: Some(jobs), reason, problems: Vec::new(), ..build.clone() })
}

/// Says which jobs were tried before, and how to see that.
fn say_earlier(build: &Build) {
    for job in build.jobs.iter().flatten() {
        let Some((_, earlier)) = job.attempts.split_last() else { continue };
        for attempt in earlier {
            let words = show::plain(&show::attempt(attempt));
            let number = (build.number, attempt.number);
            show::note(format_args!(
                "Job {} was tried before ({words}): `ocelot logs {} --attempt {}` shows its log",
                show::plain(&job.name),
                number.0,
                number.1
            ));
        }
    }
}
