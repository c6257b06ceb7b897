//! How a build begins: which commit, what its `ocelot.yml` says, and then one transaction.

use ocelot_api::body::NewBuild;
use ocelot_forge::{GitError, Snapshot, git};
use ocelot_model::access::Actor;
use ocelot_model::pipeline::{self, Facts, Job, Pipeline, branch_matches, decide};
use ocelot_model::{BuildNumber, EventKind, Origin as CommitOrigin, Status, Trust};
use ocelot_store::{BuildDetail, ConfigProblem, Due, FromFile, NewBuild as NewRow, Plan, Repo, StoreError};

use super::{beside, changed, clone, concurrency, name_of};
use crate::App;

/// The file that says how to build.
pub const FILE: &str = "ocelot.yml";

/// Why there is no build.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// Asked for something that is not there yet.
    #[error("{0}")]
    Unsupported(String),
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// The commit has no `ocelot.yml`.
    #[error("{0}")]
    NoFile(String),
    /// The file leaves this branch out.
    #[error("{0}")]
    Excluded(String),
    /// The earlier build is not in a state for that.
    #[error("{0}")]
    State(String),
    /// Git did not give the commit.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A person asks for a build of a branch or commit.
pub async fn manual(
    app: &App,
    repo: &Repo,
    new: &NewBuild,
    actor: &Actor,
) -> Result<BuildDetail, TriggerError> {
    if !new.params.is_empty() {
        return Err(TriggerError::Unsupported("`params` is not supported yet".to_owned()));
    }
    let origin = Origin { force: new.force, ..Origin::new(EventKind::Manual, name_of(actor), Trust::own()) };
    if let Some(commit) = &new.commit {
        let (branch, commit, trust) = revision(app, repo, new, commit).await?;
        let origin = Origin { trust, ..origin };
        return from_commit(app, repo, &branch, &commit, origin).await;
    }
    from_head(app, repo, new.branch.as_deref().unwrap_or(&repo.default_branch), origin).await
}

/// The newest commit of a branch.
pub(super) async fn from_head(
    app: &App,
    repo: &Repo,
    branch: &str,
    origin: Origin,
) -> Result<BuildDetail, TriggerError> {
    let url = clone::url(app, repo).await?;
    let (commit, snapshot) = app.git.head(&url, branch, FILE).await?;
    from_snapshot(app, repo, branch, &commit, snapshot, origin).await
}

/// Where a build comes from.
pub(super) struct Origin {
    pub(super) event: EventKind,
    pub(super) retry_of: Option<BuildNumber>,
    /// Build a branch that the file leaves out, too.
    pub(super) force: bool,
    /// Who asked for it.
    pub(super) actor: String,
    /// Where its commit comes from, which is not where the wish comes from.
    pub(super) trust: Trust,
    /// Aliases of the subscriptions whose builds it follows.
    pub(super) upstream: Vec<String>,
    /// What is settled with the build.
    pub(super) due: Option<Due>,
}

impl Origin {
    pub(super) fn new(event: EventKind, actor: impl Into<String>, trust: Trust) -> Origin {
        Origin {
            event,
            retry_of: None,
            force: false,
            actor: actor.into(),
            trust,
            upstream: Vec::new(),
            due: None,
        }
    }
}

/// Reads the file at `commit` and makes the build; a broken file makes a build in `error`.
pub(super) async fn from_commit(
    app: &App,
    repo: &Repo,
    branch: &str,
    commit: &str,
    origin: Origin,
) -> Result<BuildDetail, TriggerError> {
    let url = clone::url(app, repo).await?;
    let snapshot = app.git.read(&url, commit, branch, FILE).await?;
    from_snapshot(app, repo, branch, commit, snapshot, origin).await
}

/// Makes the build of what a commit holds.
pub(super) async fn from_snapshot(
    app: &App,
    repo: &Repo,
    branch: &str,
    commit: &str,
    snapshot: Snapshot,
    origin: Origin,
) -> Result<BuildDetail, TriggerError> {
    let Snapshot { file, message, author } = snapshot;
    let short = &commit[..12];
    let Some(file) = file else {
        return Err(TriggerError::NoFile(format!("there is no {FILE} at {short} of {}", repo.name)));
    };
    let mut says = None;
    let (plan, concurrency) = match pipeline::parse_within(&file, &app.config.limits) {
        Ok(mut pipeline) => {
            check_branch(&pipeline, branch, origin.force)?;
            let mut facts = Facts::of_branch(origin.event, branch);
            facts.messages.push(message.clone());
            facts.upstream = origin.upstream;
            if pipeline.asks_for_files() {
                facts.files = changed::since_it_passed(app, repo, branch, commit).await?;
            }
            decide(&mut pipeline.jobs, &facts);
            let group = pipeline.concurrency.take();
            says = (origin.retry_of.is_none() && origin.trust == Trust::own()).then(|| FromFile {
                schedules: std::mem::take(&mut pipeline.schedules),
                subscriptions: std::mem::take(&mut pipeline.subscriptions),
            });
            (
                Plan::Jobs(pipeline.jobs.into_iter().map(begin).collect()),
                group.map(|group| group.of_branch(branch)),
            )
        }
        Err(problems) => (broken(&problems), None),
    };
    let mut row = NewRow {
        repo: repo.id,
        event: origin.event,
        branch: branch.to_owned(),
        commit: commit.to_owned(),
        message,
        author,
        triggered_by: Some(origin.actor),
        retry_of: origin.retry_of,
        concurrency,
        trust: origin.trust,
        due: origin.due,
        beside: None,
        pull_request: None,
        tag: None,
        plan,
    };
    let detail = insert(app, repo, &mut row, says.as_ref()).await?;
    settle_new(app, &detail).await;
    Ok(detail)
}

/// Writes the build, and with it what its file says beside it.
async fn insert(
    app: &App,
    repo: &Repo,
    row: &mut NewRow,
    says: Option<&FromFile>,
) -> Result<BuildDetail, TriggerError> {
    loop {
        row.beside = beside::look(app, repo, row, says).await?;
        match app.store.create_build(row).await {
            Err(StoreError::Overtaken) => {}
            made => return Ok(made?),
        }
    }
}

/// Writes the build; one that is over from the start is counted here.
pub(super) async fn create(app: &App, row: &NewRow) -> Result<BuildDetail, StoreError> {
    let detail = app.store.create_build(row).await?;
    settle_new(app, &detail).await;
    Ok(detail)
}

/// What follows when a build was made.
pub(super) async fn settle_new(app: &App, detail: &BuildDetail) {
    let build = &detail.build;
    if build.status.is_terminal() {
        crate::metrics::build_ended(build);
    }
    if build.event == EventKind::Subscription {
        metrics::counter!("ocelot_subscription_builds_total").increment(1);
    }
    concurrency::settle(app, build).await;
    tracing::info!(build = build.number.0, repo = %build.repo.name, "build {} made", build.number);
}

/// Branch and commit that a request for `commit` means, and what is to be thought of the commit. One that no branch or
/// tag reaches may come from anyone, because a fork's commits can be fetched by their id: who asks for it does not make
/// it the repository's own.
async fn revision(
    app: &App,
    repo: &Repo,
    new: &NewBuild,
    commit: &str,
) -> Result<(String, String, Trust), TriggerError> {
    let url = clone::url(app, repo).await?;
    let branch = new.branch.as_deref().unwrap_or(&repo.default_branch);
    let commit = commit.to_ascii_lowercase();
    if !git::is_commit(&commit) {
        let words = format!("commit: `{commit}` is no whole commit id (40 or 64 hexadecimal digits)");
        return Err(TriggerError::BadRequest(words));
    }
    match app.git.contains(&url, &commit, branch).await? {
        Some(found) if new.branch.is_none() || found == branch => Ok((found, commit, Trust::own())),
        Some(found) => {
            let words = format!("commit {commit} of {} is not on `{branch}`, but on `{found}`", repo.name);
            Err(TriggerError::BadRequest(words))
        }
        None => {
            let trust = Trust::new(CommitOrigin::Unreached, None, repo.approvals);
            Ok((branch.to_owned(), commit, trust))
        }
    }
}

fn check_branch(pipeline: &Pipeline, branch: &str, force: bool) -> Result<(), TriggerError> {
    if !force && !branch_matches(&pipeline.branches, branch) {
        return Err(TriggerError::Excluded(format!(
            "`branches` in {FILE} leaves `{branch}` out; use `--force` (\"force\": true) to build it all the same"
        )));
    }
    Ok(())
}

/// A job waits for a worker, unless nothing is to run in it.
pub(super) fn begin(job: Job) -> (Job, Status) {
    let status = if job.skipped().is_some() { Status::Skipped } else { Status::Queued };
    (job, status)
}

pub(super) fn broken(problems: &[pipeline::Problem]) -> Plan {
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
