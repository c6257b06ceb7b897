//! What a forge never told: branches and pull requests that are elsewhere than they were, without a word about it.
//!
//! Nothing is built here. What was found goes into the ledger of deliveries, and from there the way of a webhook, with
//! all of its rules. What was built or told of before is not found again, whatever came of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelot_model::delivery::parts;
use ocelot_model::event::{
    Change, CommitId, PullRequest, PullRequestAction, PullRequestEvent, Push, RefChange, RefName,
};
use ocelot_model::forge::{RemoteId, RemoteName};
use ocelot_model::{DeliveryId, Event};
use ocelot_store::{Heads, Known, NewDelivery, Pull, RECONCILE, Repo, StoreError, Subject, Turn};
use sha2::{Digest as _, Sha256};

use super::clone;
use super::trigger::TriggerError;
use crate::App;
use crate::forges::{self, ForgeError};

/// Told at one look; the rest waits for the next one.
const MOST: usize = 100;

/// Of so many closed pull requests it is known when they were last seen open.
const CLOSED_MOST: usize = 500;

/// Looks where branches and open pull requests are, and tells of those that are new or elsewhere than before.
pub(crate) async fn look(app: &App, repo: &Repo, known: &Known, turn: Turn) -> Result<(), StoreError> {
    let begun_at = app.store.now().await?;
    let look = Look { app, repo, turn, begun_at };
    let mut said = Said::default();
    let heads = match heads(app, repo).await {
        Ok(found) => Some(branches(&look, known.heads.as_ref(), found, &mut said).await?),
        Err(TriggerError::Store(error)) => return Err(error),
        Err(error) => {
            said.failed(error.to_string());
            None
        }
    };
    let now = match forges::pull_requests(app, repo).await {
        Ok(found) => pulls(&look, known, found, &mut said).await?,
        Err(ForgeError::Store(error)) => return Err(error),
        Err(error) => {
            said.failed(error.to_string());
            Known::default()
        }
    };
    let now = Known { heads, ..now };
    app.store.finish_look(turn, &now, &said.words(), app.config.reconcile_every).await
}

/// A look that is under way.
#[derive(Clone, Copy)]
struct Look<'a> {
    app: &'a App,
    repo: &'a Repo,
    turn: Turn,
    begun_at: Timestamp,
}

async fn heads(app: &App, repo: &Repo) -> Result<Heads, TriggerError> {
    let url = clone::url(app, repo).await?;
    Ok(app.git.heads(&url).await?)
}

/// Where the branches are known to be afterwards. At the first look they are what was there before anyone asked.
async fn branches(
    look: &Look<'_>,
    known: Option<&Heads>,
    found: Heads,
    said: &mut Said,
) -> Result<Heads, StoreError> {
    let Some(known) = known else { return Ok(found) };
    let Look { app, repo, .. } = *look;
    let mut now = known.clone();
    for (branch, before) in known.iter().filter(|(branch, _)| !found.contains_key(*branch)) {
        now.remove(branch);
        if !app.store.waiting_builds(repo.id, &RefName::Branch(branch.clone())).await?.is_empty() {
            let before = CommitId::new(before);
            said.told.push(tell(look, &moved(repo, branch, Change::Deleted { before })).await?);
        }
    }
    for (branch, after) in found {
        if known.get(&branch) == Some(&after) {
            continue;
        }
        if app.store.told_at(repo.id, Subject::Branch(&branch), &after).await?.is_none() {
            if said.is_full() {
                break;
            }
            let Some(commit) = CommitId::new(&after) else { continue };
            let change = match known.get(&branch).and_then(|before| CommitId::new(before)) {
                Some(before) => Change::Moved { before, after: commit },
                None => Change::Created { after: commit },
            };
            said.told.push(tell(look, &moved(repo, &branch, change)).await?);
        }
        now.insert(branch, after);
    }
    Ok(now)
}

/// The same of pull requests.
///
/// A forge's list may lag behind its webhooks, by however much. So what was told of one counts from when it was told of as it is
/// known here, not from when the list said so. Of one that was closed, what was told before it was last seen open says nothing.
async fn pulls(
    look: &Look<'_>,
    known: &Known,
    found: (Vec<PullRequest>, bool),
    said: &mut Said,
) -> Result<Known, StoreError> {
    let Look { app, repo, begun_at, .. } = *look;
    let (found, cut) = found;
    let found: BTreeMap<u64, PullRequest> = found.into_iter().map(|pull| (pull.number, pull)).collect();
    let mut now = known.pulls.clone().unwrap_or_default();
    let mut since = known.pulls_since.clone();
    let mut is_whole = !cut;
    if !cut {
        // Of a list that was cut, nobody knows what is gone.
        let gone = now.extract_if(.., |number, _| !found.contains_key(number)).map(|(number, _)| number);
        since.extend(gone.filter_map(|number| Some((number, known.pulls_at?))));
    }
    for (number, pull) in found {
        let (commit, target) = (pull.commit.as_str().to_owned(), pull.target_branch.clone());
        let before = now.get(&number);
        let is_same = before.is_some_and(|before| {
            before.commit == commit && before.target.as_ref().is_none_or(|before| *before == target)
        });
        if !is_same && known.pulls.is_some() {
            let after = since.get(&number).copied().or(before.and(known.pulls_at));
            let subject = Subject::PullRequest { number, target: &target, since: after };
            let told_at = app.store.told_at(repo.id, subject, &commit).await?;
            if told_at.is_none() {
                if said.is_full() {
                    is_whole = false;
                    break;
                }
                let action = match before {
                    Some(_) => PullRequestAction::Updated,
                    None => PullRequestAction::Opened,
                };
                said.told.push(tell(look, &changed(repo, pull, action)).await?);
            }
            since.insert(number, told_at.unwrap_or(begun_at));
        }
        now.insert(number, Pull { commit, target: Some(target) });
    }
    forget(&mut since, &now);
    Ok(Known { pulls: Some(now), pulls_at: is_whole.then_some(begun_at), pulls_since: since, heads: None })
}

/// Of closed pull requests, those stay that were seen open last.
fn forget(since: &mut BTreeMap<u64, Timestamp>, open: &BTreeMap<u64, Pull>) {
    let mut closed: Vec<(Timestamp, u64)> =
        since.iter().filter(|(number, _)| !open.contains_key(number)).map(|(n, at)| (*at, *n)).collect();
    closed.sort_unstable();
    for (_, number) in closed.iter().rev().skip(CLOSED_MOST) {
        since.remove(number);
    }
}

fn moved(repo: &Repo, branch: &str, change: Change) -> Event {
    let name = RefName::Branch(branch.to_owned());
    let change = RefChange { name, change, message: None, author: None };
    Event::Push(Push { repo: remote(repo), sender: None, changes: vec![change] })
}

fn changed(repo: &Repo, pull_request: PullRequest, action: PullRequestAction) -> Event {
    // Its target is who the row says: that is what was asked.
    let pull_request = PullRequest { target: remote(repo), ..pull_request };
    Event::PullRequest(Box::new(PullRequestEvent { action, sender: None, before: None, pull_request }))
}

fn remote(repo: &Repo) -> RemoteName {
    RemoteName { id: RemoteId::new(&repo.remote_id), full_name: forges::full_name(&repo.name) }
}

/// Puts it into the ledger, from where it is worked on like a webhook.
///
/// Of the same thing found at another look that is another delivery: a pull request may be opened again as it was.
async fn tell(look: &Look<'_>, event: &Event) -> Result<DeliveryId, StoreError> {
    let Look { app, repo, turn, begun_at } = *look;
    let corrupt = |error: serde_json::Error| StoreError::Corrupt(error.to_string());
    let body = serde_json::to_vec(event).map_err(corrupt)?;
    let hash = Sha256::digest(&body);
    let hash = hash.iter().take(16).fold(0_u128, |all, byte| (all << 8) | u128::from(*byte));
    let name = format!("{RECONCILE}-{}-{}-{hash:032x}", repo.id, begun_at.as_microsecond());
    let new = NewDelivery {
        forge: repo.forge_id,
        repo: Some(repo.id),
        hook: Some(RECONCILE),
        remote_id: &name,
        event: RECONCILE,
        body: &body,
        told: &parts(event).map_err(|why| (ocelot_model::DeliveryState::Ignored, why)),
    };
    let delivery = app.store.take_in_found(&new, turn).await?;
    let id = delivery.id;
    tracing::warn!(repo = %repo.name, delivery = id.0, "{} was never told of something: delivery {id}", repo.name);
    Ok(id)
}

#[derive(Default)]
struct Said {
    told: Vec<DeliveryId>,
    /// What is in the way; not twice.
    faults: Vec<String>,
}

impl Said {
    fn failed(&mut self, why: String) {
        if !self.faults.contains(&why) {
            self.faults.push(why);
        }
    }

    fn is_full(&mut self) -> bool {
        let full = self.told.len() >= MOST;
        if full {
            self.failed("there is more; it comes with the next look".to_owned());
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
        let said: Vec<String> = found.into_iter().chain(self.faults).collect();
        if said.is_empty() { "nothing is missing".to_owned() } else { said.join("; ") }
    }
}
