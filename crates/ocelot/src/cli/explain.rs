//! `ocelot validate --explain`: which stages a build would run, and why.

use clap::Args;
use ocelot_model::EventKind;
use ocelot_model::pipeline::{Facts, Files, Judge, Pipeline, Verdict, branch_matches};
use serde::Serialize;

use super::checkout::Checkout;
use super::show;

#[derive(Debug, Args)]
#[command(next_help_heading = "What a build would run")]
pub(crate) struct Asked {
    /// Say which stages a build would run, and why.
    #[arg(long, conflicts_with = "schema")]
    explain: bool,
    /// Its branch [default: that of the git checkout].
    #[arg(long, requires = "explain")]
    branch: Option<String>,
    /// A file that its commits changed; several times for several. Without it, no file is known.
    #[arg(long, requires = "explain", value_name = "FILE")]
    changed: Vec<String>,
    /// What made it: push, pull_request, tag, poll, schedule, manual, subscription or retry.
    #[arg(long, requires = "explain", default_value = "push")]
    event: EventKind,
    /// Its tag.
    #[arg(long, requires = "explain")]
    tag: Option<String>,
    /// Message of its commit; several times for several commits, the newest first.
    #[arg(long, requires = "explain")]
    message: Vec<String>,
    /// Number of the author's account at the forge.
    #[arg(long, requires = "explain", value_name = "ID")]
    author_id: Option<String>,
    /// Alias of the subscription that made it.
    #[arg(long, requires = "explain", value_name = "ALIAS")]
    upstream: Vec<String>,
}

impl Asked {
    /// The build to explain, when one is asked for.
    pub(crate) fn facts(&self) -> Option<Facts> {
        if !self.explain {
            return None;
        }
        let branch =
            self.branch.clone().or_else(|| Checkout::here().branch).unwrap_or_else(|| "main".to_owned());
        let files = match self.changed.as_slice() {
            [] => Files::unknown("no --changed was given"),
            paths => Files::these(paths.to_vec()),
        };
        Some(Facts {
            tag: self.tag.clone().unwrap_or_default(),
            author_id: self.author_id.clone().unwrap_or_default(),
            messages: self.message.clone(),
            files,
            upstream: self.upstream.clone(),
            ..Facts::of_branch(self.event, &branch)
        })
    }
}

/// A stage and what becomes of it.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    file: String,
    job: String,
    stage: String,
    runs: bool,
    reason: Option<String>,
}

/// Every stage of a file.
pub(crate) fn of(file: &str, pipeline: &Pipeline, facts: &Facts) -> Vec<Explained> {
    let builds = branch_matches(&pipeline.branches, &facts.branch);
    let aliases = pipeline.subscriptions.iter().map(|one| one.alias.clone()).collect();
    let facts = Facts { aliases, ..facts.clone() };
    let mut judge = Judge::new(&facts);
    let stages = pipeline.jobs.iter().flat_map(|job| job.stages.iter().map(move |stage| (job, stage)));
    stages
        .map(|(job, stage)| {
            let (runs, reason) = match judge.stage(job, stage) {
                _ if !builds => {
                    (false, Some(format!("`branches` leaves {} out: there is no build", facts.branch)))
                }
                Verdict::Free => (true, None),
                Verdict::Holds(why) => (true, Some(why)),
                Verdict::Unsure(why) => (true, Some(format!("{why}, so it runs"))),
                Verdict::Fails(why) => (false, Some(why)),
            };
            Explained {
                file: file.to_owned(),
                job: job.name.clone(),
                stage: stage.name.clone(),
                runs,
                reason,
            }
        })
        .collect()
}

/// Prints them all.
pub(crate) fn print(stages: &[Explained], facts: &Facts, json: bool) -> anyhow::Result<()> {
    if json {
        return show::json(stages);
    }
    show::line(format_args!("A build of {} by {}:\n", show::plain(&facts.branch), facts.event))?;
    let rows = stages.iter().map(|stage| {
        let word = if stage.runs { "runs" } else { "skipped" };
        let reason = stage.reason.clone().unwrap_or_else(|| "it has no condition".to_owned());
        [stage.file.clone(), stage.job.clone(), stage.stage.clone(), word.to_owned(), reason]
    });
    Ok(show::table(["FILE", "JOB", "STAGE", "", "WHY"], rows, "No stages.")?)
}
