//! What a verified webhook is about: which repository that is here, and what it tells of it.
//!
//! Repositories are who their forge's numbers say. A webhook of one repository speaks of that one only.

use ocelot_forge::{BadBody, Verified};
use ocelot_model::delivery::{self, parts};
use ocelot_model::{DeliveryState, Event, ForgeId, RepoId};
use ocelot_store::{Delivery, RECONCILE, StoreError, Told};

use crate::App;

/// What was understood.
#[derive(Debug)]
pub(crate) struct Understood {
    /// The repository, when it is here.
    pub(crate) repo: Option<RepoId>,
    /// What it tells of it.
    pub(crate) told: Told,
    /// What it is in one word, of which there are only a few.
    pub(crate) class: &'static str,
}

/// Why nothing is kept of a webhook although its sender had the secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unheard {
    /// No forge sends this.
    #[error(transparent)]
    Malformed(BadBody),
    /// The webhook of one repository speaks of another one.
    #[error("this webhook's secret is for another repository than {0}")]
    Foreign(String),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a stored body says: a forge's, or Ocelot's own of what it found.
pub(crate) fn read(delivery: &Delivery, body: &[u8]) -> Result<Event, BadBody> {
    if delivery.hook.as_deref() == Some(RECONCILE) {
        return serde_json::from_slice(body).map_err(|error| BadBody::Strange(error.to_string()));
    }
    Verified::stored(delivery.kind, &delivery.event, &delivery.remote_id, body).parse()
}

/// Finds out. `only` is the repository whose secret it was signed with.
pub(crate) async fn understand(
    app: &App,
    forge: ForgeId,
    only: Option<RepoId>,
    says: Result<Event, BadBody>,
) -> Result<Understood, Unheard> {
    let event = match says {
        Ok(event) => event,
        // A forge that has changed must not be told that its webhook is broken: it would stop to send any.
        Err(BadBody::Strange(words)) => {
            let words = format!("the body is not what this forge sends: {words}");
            return Ok(Understood { repo: only, told: Err((DeliveryState::Failed, words)), class: UNKNOWN });
        }
        Err(error) => return Err(Unheard::Malformed(error)),
    };
    let class = class(&event);
    let (repo, missing) = match event.repo() {
        None => (only, None),
        Some(name) => {
            let known = match &name.id {
                Some(id) => app.store.find_repo_by_remote_id(forge, id.as_str()).await?.map(|repo| repo.id),
                None => None,
            };
            if only.is_some() && known != only {
                return Err(Unheard::Foreign(name.full_name.clone()));
            }
            (known, known.is_none().then(|| name.full_name.clone()))
        }
    };
    let told = match (missing, parts(&event)) {
        (Some(name), _) => {
            Err((DeliveryState::Ignored, format!("{name} is not here: `ocelot repo add` adds it")))
        }
        (None, Ok(parts)) => Ok(parts),
        (None, Err(why)) => Err((DeliveryState::Ignored, why)),
    };
    Ok(Understood { repo, told, class })
}

/// True when nothing is to be built of it.
pub(crate) fn only_ends(told: &Told) -> bool {
    told.as_ref().is_ok_and(|parts| parts.iter().all(delivery::Part::is_end))
}

/// What [`Understood::class`] may be.
pub(crate) const CLASSES: [&str; 6] = ["push", "pull_request", "merge_group", "ping", "other", UNKNOWN];
const UNKNOWN: &str = "unknown";

fn class(event: &Event) -> &'static str {
    match event {
        Event::Push(_) => "push",
        Event::PullRequest(_) => "pull_request",
        Event::MergeGroup(_) => "merge_group",
        Event::Ping(_) => "ping",
        Event::Ignored(_) => "other",
    }
}
