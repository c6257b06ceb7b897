//! Builds that nobody asked for: a poll found a branch elsewhere than before, or a schedule came round.
//!
//! A build and the note that it was made are one transaction, so that a server that dies in between makes none twice and
//! forgets none.

use ocelot_forge::GitError;
use ocelot_model::pipeline::branch_matches;
use ocelot_model::{BuildNumber, EventKind, Trust};
use ocelot_store::{BuildFilter, Due, Heads, Poll, Repo, Schedule, StoreError, Turn};

use super::clone;
use super::plan::Origin;
use super::trigger::{self, TriggerError};
use crate::App;

/// Builds of one look; the rest waits for the next one.
const MOST: usize = 100;

/// Looks where the branches are, and builds those that are new or elsewhere than before.
pub(crate) async fn look(app: &App, poll: &Poll, turn: Turn) -> Result<(), StoreError> {
    let found = async {
        let url = clone::url(app, &poll.repo).await?;
        Ok::<_, TriggerError>(app.git.heads(&url).await?)
    };
    let (heads, outcome) = match found.await {
        Ok(found) => {
            let (heads, outcome) = compare(app, poll, turn, found).await?;
            (Some(heads), outcome)
        }
        // Nothing is known to have changed. A first look is still to come.
        Err(error) => (None, error.to_string()),
    };
    app.store.finish_poll(turn, heads.as_ref(), &outcome).await
}

/// What is known of the branches afterwards, and what came of it in words.
async fn compare(app: &App, poll: &Poll, turn: Turn, found: Heads) -> Result<(Heads, String), StoreError> {
    let known = poll.heads.clone().unwrap_or_default();
    let mut heads: Heads = known.clone();
    // A branch that is gone is new when it comes back.
    heads.retain(|branch, _| found.contains_key(branch));
    let mut said = Said::default();
    for (branch, commit) in found {
        let before = known.get(&branch);
        if before == Some(&commit) || !branch_matches(&poll.branches, &branch) {
            continue;
        }
        if poll.heads.is_none() && is_old(app, &poll.repo, &branch, &commit).await? {
            heads.insert(branch, commit);
            continue;
        }
        if said.builds.len() == MOST {
            said.fault.get_or_insert_with(|| "there are more; they come with the next look".to_owned());
            break;
        }
        let due = Due::Poll { turn, before: before.cloned() };
        let origin = Origin::new(EventKind::Poll, &branch, "poll", Trust::own());
        let origin = Origin { due: Some(due), ..origin };
        match trigger::from_commit(app, &poll.repo, &commit, origin).await {
            Ok(build) => said.builds.push(build.build.number),
            Err(TriggerError::Store(error)) => return Err(error),
            Err(error) => {
                let heals = heals(&error);
                said.fault.get_or_insert_with(|| format!("{branch}: {error}"));
                if heals {
                    continue;
                }
            }
        }
        heads.insert(branch, commit);
    }
    Ok((heads, said.words()))
}

/// At the first look only the default branch is built, and only when it was not before.
async fn is_old(app: &App, repo: &Repo, branch: &str, commit: &str) -> Result<bool, StoreError> {
    if branch != repo.default_branch {
        return Ok(true);
    }
    let same = BuildFilter {
        repo: Some(repo.id),
        branch: Some(branch.to_owned()),
        commit: Some(commit.to_owned()),
        ..BuildFilter::default()
    };
    Ok(!app.store.list_builds(&same, 1).await?.is_empty())
}

#[derive(Default)]
struct Said {
    builds: Vec<BuildNumber>,
    fault: Option<String>,
}

impl Said {
    fn words(self) -> String {
        let numbers: Vec<String> = self.builds.iter().take(10).map(ToString::to_string).collect();
        let built = match self.builds.len() {
            0 => None,
            1 => Some(format!("build {}", numbers.join(", "))),
            many if many <= 10 => Some(format!("builds {}", numbers.join(", "))),
            many => Some(format!("{many} builds: {} and so on", numbers.join(", "))),
        };
        match (built, self.fault) {
            (None, None) => "nothing new".to_owned(),
            (Some(built), None) => built,
            (None, Some(fault)) => fault,
            (Some(built), Some(fault)) => format!("{built}; {fault}"),
        }
    }
}

/// Builds the branch of a schedule that has come round.
pub(crate) async fn scheduled(app: &App, schedule: &Schedule, turn: Turn) -> Result<(), StoreError> {
    let repo = &schedule.repo;
    let branch = schedule.branch.as_deref().unwrap_or(&repo.default_branch);
    let actor = format!("schedule {}", schedule.id);
    let origin = Origin::new(EventKind::Schedule, branch, actor, Trust::own());
    let origin = Origin { due: Some(Due::Schedule(turn)), ..origin };
    match trigger::from_head(app, repo, origin).await {
        Ok(_) => Ok(()),
        Err(TriggerError::Store(error)) => Err(error),
        Err(error) => app.store.settle_schedule(turn, &error.to_string(), !heals(&error)).await,
    }
}

/// True for what may be otherwise a little later.
pub(super) fn heals(error: &TriggerError) -> bool {
    match error {
        TriggerError::Git(error) => match error {
            GitError::Timeout { .. }
            | GitError::Failed(_)
            | GitError::Io(_)
            | GitError::DiskFull(_)
            | GitError::NoAccess { .. } => true,
            GitError::BadUrl(_)
            | GitError::NotFound(_)
            | GitError::NoDefaultBranch(_)
            | GitError::NoBranch { .. }
            | GitError::NoCommit { .. }
            | GitError::TooLarge(_) => false,
        },
        TriggerError::Store(_) | TriggerError::Forge(_) => true,
        TriggerError::Unsupported(_)
        | TriggerError::BadRequest(_)
        | TriggerError::NoFile(_)
        | TriggerError::Excluded(_)
        | TriggerError::State(_) => false,
    }
}
