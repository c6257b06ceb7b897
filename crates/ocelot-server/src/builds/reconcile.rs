//! What a forge never told: branches and pull requests that are elsewhere than they were, without a word about it.
//!
//! Nothing is built here. What was found goes into the ledger of deliveries, and from there the way of a webhook, with
//! all of its rules. What was built or told of before is not found again, whatever came of it.

use std::collections::BTreeMap;

use ocelot_model::delivery::parts;
use ocelot_model::event::{
    Change, CommitId, PullRequest, PullRequestAction, PullRequestEvent, Push, RefChange, RefName,
};
use ocelot_model::forge::{RemoteId, RemoteName};
use ocelot_model::{DeliveryId, Event};
use ocelot_store::{Heads, Known, NewDelivery, RECONCILE, Repo, StoreError, Subject, Turn};
use sha2::{Digest as _, Sha256};

use super::clone;
use super::trigger::TriggerError;
use crate::App;
use crate::forges::{self, ForgeError};

/// Told at one look; the rest waits for the next one.
const MOST: usize = 100;

/// Looks where branches and open pull requests are, and tells of those that are new or elsewhere than before.
pub(crate) async fn look(app: &App, repo: &Repo, known: &Known, turn: Turn) -> Result<(), StoreError> {
    let mut said = Said::default();
    let heads = match heads(app, repo).await {
        Ok(found) => Some(branches(app, repo, known.heads.as_ref(), found, &mut said).await?),
        Err(TriggerError::Store(error)) => return Err(error),
        Err(error) => said.failed(error.to_string()),
    };
    let pulls = match forges::pull_requests(app, repo).await {
        Ok(found) => Some(pulls(app, repo, known.pulls.as_ref(), found, &mut said).await?),
        Err(ForgeError::Store(error)) => return Err(error),
        Err(error) => said.failed(error.to_string()),
    };
    let now = Known { heads, pulls };
    app.store.finish_look(turn, &now, &said.words(), app.config.reconcile_every).await
}

async fn heads(app: &App, repo: &Repo) -> Result<Heads, TriggerError> {
    let url = clone::url(app, repo).await?;
    Ok(app.git.heads(&url).await?)
}

/// Where the branches are known to be afterwards. At the first look they are what was there before anyone asked.
async fn branches(
    app: &App,
    repo: &Repo,
    known: Option<&Heads>,
    found: Heads,
    said: &mut Said,
) -> Result<Heads, StoreError> {
    let Some(known) = known else { return Ok(found) };
    let mut now = known.clone();
    for (branch, before) in known.iter().filter(|(branch, _)| !found.contains_key(*branch)) {
        now.remove(branch);
        if !app.store.waiting_builds(repo.id, branch).await?.is_empty() {
            let before = CommitId::new(before);
            said.told.push(tell(app, repo, &moved(repo, branch, Change::Deleted { before })).await?);
        }
    }
    for (branch, after) in found {
        if known.get(&branch) == Some(&after) {
            continue;
        }
        if !app.store.is_told(repo.id, Subject::Branch(&branch), &after).await? {
            if said.is_full() {
                break;
            }
            let Some(commit) = CommitId::new(&after) else { continue };
            let change = match known.get(&branch).and_then(|before| CommitId::new(before)) {
                Some(before) => Change::Moved { before, after: commit },
                None => Change::Created { after: commit },
            };
            said.told.push(tell(app, repo, &moved(repo, &branch, change)).await?);
        }
        now.insert(branch, after);
    }
    Ok(now)
}

/// The same of pull requests.
async fn pulls(
    app: &App,
    repo: &Repo,
    known: Option<&Heads>,
    found: (Vec<PullRequest>, bool),
    said: &mut Said,
) -> Result<Heads, StoreError> {
    let (found, cut) = found;
    let commits: BTreeMap<u64, PullRequest> = found.into_iter().map(|pull| (pull.number, pull)).collect();
    let mut now = known.cloned().unwrap_or_default();
    // Of a list that was cut, nobody knows what is gone.
    now.retain(|number, _| cut || number.parse().is_ok_and(|number: u64| commits.contains_key(&number)));
    for (number, pull) in commits {
        let (name, commit) = (number.to_string(), pull.commit.as_str().to_owned());
        let is_same = now.get(&name) == Some(&commit);
        if !is_same
            && known.is_some()
            && !app.store.is_told(repo.id, Subject::PullRequest(number), &commit).await?
        {
            if said.is_full() {
                break;
            }
            said.told.push(tell(app, repo, &changed(repo, pull)).await?);
        }
        now.insert(name, commit);
    }
    Ok(now)
}

fn moved(repo: &Repo, branch: &str, change: Change) -> Event {
    let name = RefName::Branch(branch.to_owned());
    let change = RefChange { name, change, message: None, author: None };
    Event::Push(Push { repo: remote(repo), sender: None, changes: vec![change] })
}

fn changed(repo: &Repo, pull_request: PullRequest) -> Event {
    // Its target is who the row says: that is what was asked.
    let pull_request = PullRequest { target: remote(repo), ..pull_request };
    let action = PullRequestAction::Updated;
    Event::PullRequest(Box::new(PullRequestEvent { action, sender: None, before: None, pull_request }))
}

fn remote(repo: &Repo) -> RemoteName {
    RemoteName { id: RemoteId::new(&repo.remote_id), full_name: forges::full_name(&repo.name) }
}

/// Puts it into the ledger, from where it is worked on like a webhook.
async fn tell(app: &App, repo: &Repo, event: &Event) -> Result<DeliveryId, StoreError> {
    let corrupt = |error: serde_json::Error| StoreError::Corrupt(error.to_string());
    let body = serde_json::to_vec(event).map_err(corrupt)?;
    let hash = Sha256::digest(&body);
    let hash = hash.iter().take(16).fold(0_u128, |all, byte| (all << 8) | u128::from(*byte));
    let name = format!("{RECONCILE}-{}-{hash:032x}", repo.id);
    let new = NewDelivery {
        forge: repo.forge_id,
        repo: Some(repo.id),
        hook: Some(RECONCILE),
        remote_id: &name,
        event: RECONCILE,
        body: &body,
        told: &parts(event).map_err(|why| (ocelot_model::DeliveryState::Ignored, why)),
    };
    let (delivery, _) = app.store.take_in(&new).await?;
    let id = delivery.id;
    tracing::warn!(repo = %repo.name, delivery = id.0, "{} was never told of something: delivery {id}", repo.name);
    Ok(id)
}

#[derive(Default)]
struct Said {
    told: Vec<DeliveryId>,
    fault: Option<String>,
}

impl Said {
    fn failed(&mut self, why: String) -> Option<Heads> {
        self.fault.get_or_insert(why);
        None
    }

    fn is_full(&mut self) -> bool {
        let full = self.told.len() >= MOST;
        if full {
            self.fault.get_or_insert_with(|| "there is more; it comes with the next look".to_owned());
        }
        full
    }

    fn words(self) -> String {
        let numbers: Vec<String> = self.told.iter().take(10).map(ToString::to_string).collect();
        let found = match self.told.len() {
            0 => None,
            1 => Some(format!("1 thing was never told: delivery {}", numbers.join(", "))),
            many if many <= 10 => {
                Some(format!("{many} things were never told: deliveries {}", numbers.join(", ")))
            }
            many => {
                Some(format!("{many} things were never told: deliveries {} and so on", numbers.join(", ")))
            }
        };
        match (found, self.fault) {
            (None, None) => "nothing is missing".to_owned(),
            (Some(found), None) => found,
            (None, Some(fault)) => fault,
            (Some(found), Some(fault)) => format!("{found}; {fault}"),
        }
    }
}
