//! `ocelot why BUILD`: why it waits, or what became of it.

use clap::Args;
use ocelot_api::body::{Build, Job, QueueItem, Stage, Undelivered};
use serde_json::json;

use super::account::Remote;
use super::show::{self, line, plain};
use super::which;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of the build.
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
    let mut waiting = if build.status.is_terminal() { Vec::new() } else { client.queue().await? };
    waiting.retain(|item| item.build == Some(build.number));
    if options.json {
        let stages: Vec<_> = show::culprits(&build).map(|(job, stage)| culprit(job, stage)).collect();
        let Build { number, status, reason, problems, .. } = &build;
        show::json(&json!({"number": number, "status": status, "reason": reason, "problems": problems,
            "stages": stages, "waiting": waiting, "undelivered": build.undelivered}))?;
    } else {
        print(&build, &waiting)?;
    }
    Ok(0)
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
        line(format_args!("{} {}: {state}: {}", plain(kind), plain(context), plain(error)))?;
    }
    for QueueItem { job, reason, position, .. } in waiting {
        let job = job.as_deref().map_or_else(|| "a job".to_owned(), |name| format!("job {name}"));
        line(format_args!("{} waits at place {position}: {}", plain(&job), plain(reason)))?;
    }
    Ok(())
}
