//! What is made of a commit: its file, the rules, and what of it runs. Every build that is made of a commit comes through here,
//! whoever wants it, so that no rule holds for some of them only.

use ocelot_forge::Snapshot;
use ocelot_model::concurrency::Concurrency;
use ocelot_model::event::CommitId;
use ocelot_model::notify::Rule;
use ocelot_model::pipeline::{self, Facts, Job, Pipeline, branch_matches, decide};
use ocelot_model::{BuildNumber, EventKind, Status, Trust};
use ocelot_store::{ConfigProblem, Due, FromFile, NewBuild, Plan, Repo, StoreError};

use super::changed;
use crate::App;

/// The file that says how to build.
pub const FILE: &str = "ocelot.yml";

/// Why and of what a build is to be made.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) event: EventKind,
    /// The branch that the commit is on, or the tag.
    pub(super) branch: String,
    /// What `branches` is about when it is another one: of a pull request the branch that it goes to.
    pub(super) goes_to: Option<String>,
    /// Where the branch was before, when that is known.
    pub(super) before: Option<CommitId>,
    pub(super) tag: Option<String>,
    pub(super) pull_request: Option<u64>,
    /// Title of the pull request.
    pub(super) title: String,
    /// The forge's number of who wrote it.
    pub(super) author_id: String,
    pub(super) retry_of: Option<BuildNumber>,
    /// Build a branch that the file leaves out, too.
    pub(super) force: bool,
    /// Who wants it; empty when nobody is known.
    pub(super) actor: String,
    /// Where its commit comes from, which is not where the wish comes from.
    pub(super) trust: Trust,
    /// Aliases of the subscriptions whose builds it follows.
    pub(super) upstream: Vec<String>,
    /// What is settled with the build.
    pub(super) due: Option<Due>,
}

impl Origin {
    pub(super) fn new(event: EventKind, branch: &str, actor: impl Into<String>, trust: Trust) -> Origin {
        Origin {
            event,
            branch: branch.to_owned(),
            goes_to: None,
            before: None,
            tag: None,
            pull_request: None,
            title: String::new(),
            author_id: String::new(),
            retry_of: None,
            force: false,
            actor: actor.into(),
            trust,
            upstream: Vec::new(),
            due: None,
        }
    }
}

/// A build that can be made.
pub(super) struct Planned {
    pub(super) build: NewBuild,
    /// What the file says beside it, if it may say anything: see [`beside`](super::beside).
    pub(super) says: Option<FromFile>,
    /// Older builds of the same branch or pull request are of no interest any more.
    pub(super) supersedes: bool,
}

/// Why there is none.
pub(super) enum Unplanned {
    /// The commit has no file; it begins so.
    NoFile(String),
    /// The file leaves this branch out.
    LeftOut(String),
}

/// What the file says beside what is to run.
#[derive(Default)]
struct Beside {
    notify: Option<Vec<Rule>>,
    concurrency: Option<Concurrency>,
    says: Option<FromFile>,
    supersedes: bool,
}

/// Decides about the commit. A broken file makes a build in `error`.
pub(super) async fn plan(
    app: &App,
    repo: &Repo,
    commit: &str,
    snapshot: Snapshot,
    origin: Origin,
) -> Result<Result<Planned, Unplanned>, StoreError> {
    let Snapshot { file, message, author } = snapshot;
    let Some(file) = file else {
        return Ok(Err(Unplanned::NoFile(commit.chars().take(12).collect())));
    };
    let (plan, beside) = match pipeline::parse_within(&file, &app.config.limits) {
        Err(problems) => (broken(&problems), Beside::default()),
        Ok(mut pipeline) => {
            let about = origin.goes_to.as_ref().unwrap_or(&origin.branch);
            if !origin.force && !branch_matches(&pipeline.branches, about) {
                return Ok(Err(Unplanned::LeftOut(about.clone())));
            }
            let facts = facts(app, repo, commit, &message, (&origin, &pipeline)).await?;
            decide(&mut pipeline.jobs, &facts);
            let beside = beside(repo, &origin, &mut pipeline);
            (Plan::Jobs(pipeline.jobs.into_iter().map(begin).collect()), beside)
        }
    };
    let build = NewBuild {
        repo: repo.id,
        event: origin.event,
        branch: origin.branch,
        commit: commit.to_owned(),
        message,
        author,
        triggered_by: Some(origin.actor).filter(|name| !name.is_empty()),
        retry_of: origin.retry_of,
        concurrency: beside.concurrency,
        pull_request: origin.pull_request,
        tag: origin.tag,
        trust: origin.trust,
        due: origin.due,
        beside: None,
        notify: beside.notify,
        plan,
    };
    Ok(Ok(Planned { build, says: beside.says, supersedes: beside.supersedes }))
}

fn beside(repo: &Repo, origin: &Origin, pipeline: &mut Pipeline) -> Beside {
    // A branch of the repository itself, and no build of something old.
    let own = origin.retry_of.is_none()
        && origin.trust == Trust::own()
        && origin.tag.is_none()
        && origin.event != EventKind::PullRequest;
    Beside {
        // Other people's files have no say in who is told.
        notify: origin.trust.origin.is_trusted().then(|| pipeline.notify.clone()),
        concurrency: pipeline.concurrency.take().map(|group| group.of_branch(&origin.branch)),
        says: own.then(|| FromFile {
            schedules: std::mem::take(&mut pipeline.schedules),
            subscriptions: std::mem::take(&mut pipeline.subscriptions),
            notify: std::mem::take(&mut pipeline.notify),
        }),
        supersedes: pipeline.cancel_superseded
            && origin.tag.is_none()
            && (origin.pull_request.is_some() || origin.branch != repo.default_branch),
    }
}

async fn facts(
    app: &App,
    repo: &Repo,
    commit: &str,
    message: &str,
    (origin, pipeline): (&Origin, &Pipeline),
) -> Result<Facts, StoreError> {
    let mut facts = Facts::of_branch(origin.event, &origin.branch);
    facts.tag = origin.tag.clone().unwrap_or_default();
    facts.author_id.clone_from(&origin.author_id);
    facts.messages.push(message.to_owned());
    facts.upstream.clone_from(&origin.upstream);
    facts.aliases = pipeline.subscriptions.iter().map(|one| one.alias.clone()).collect();
    if !origin.title.is_empty() {
        facts.messages.push(origin.title.clone());
    }
    if pipeline.asks_for_files() {
        facts.files = match (origin.pull_request, &origin.before) {
            (Some(number), _) => changed::of_pull_request(app, repo, number).await,
            (None, Some(CommitId::Whole(before))) => changed::between(app, repo, before, commit).await,
            (None, Some(CommitId::Short(_)) | None) => {
                changed::since_it_passed(app, repo, &origin.branch, commit).await?
            }
        };
    }
    Ok(facts)
}

/// A job waits for a worker, unless nothing is to run in it.
pub(super) fn begin(job: Job) -> (Job, Status) {
    let status = if job.skipped().is_some() { Status::Skipped } else { Status::Queued };
    (job, status)
}

fn broken(problems: &[pipeline::Problem]) -> Plan {
    let problems: Vec<ConfigProblem> = problems
        .iter()
        .map(|problem| ConfigProblem {
            code: problem.code.to_owned(),
            message: problem.message.clone(),
            line: u32::try_from(problem.line).unwrap_or(u32::MAX),
            column: u32::try_from(problem.column).unwrap_or(u32::MAX),
            hint: problem.hint.clone(),
        })
        .collect();
    let mut reason = problems.first().map_or_else(|| format!("{FILE} cannot be read"), sentence);
    if problems.len() > 1 {
        reason = format!("{reason} (and {} more)", problems.len() - 1);
    }
    Plan::Broken { reason, problems }
}

/// `ocelot.yml:LINE:COLUMN: message` and what to do.
fn sentence(problem: &ConfigProblem) -> String {
    let ConfigProblem { line, column, message, .. } = problem;
    match &problem.hint {
        Some(hint) => format!("{FILE}:{line}:{column}: {message} ({hint})"),
        None => format!("{FILE}:{line}:{column}: {message}"),
    }
}
