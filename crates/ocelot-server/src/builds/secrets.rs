//! Which secrets and credentials go with a job: those that its stages name, and those with which its worker clones and pulls.
//!
//! They are looked up when a worker has claimed the job, go to it only, and stand neither in the queue nor in the job.

use std::collections::BTreeMap;

use ocelot_api::proto::Credential;
use ocelot_model::AuditAction;
use ocelot_model::EventKind;
use ocelot_model::secret::Kind;
use ocelot_store::{Build, Claimed, NewAudit, Secret, StoreError};
use secrecy::ExposeSecret as _;

use super::clone;
use crate::App;
use crate::forges::consumer;

/// Bytes of all values together: an offer is one message of at most 1 MiB, and has other things in it.
const TOGETHER_MAX: usize = 512 << 10;

/// What a job may know.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// With their values.
    pub(crate) credentials: Vec<Credential>,
    /// For people, in the setup's log.
    pub(crate) notes: Vec<String>,
}

/// Why a job cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Something that it names is not there for it, in words.
    #[error("{0}")]
    Job(String),
    /// It cannot begin just now, in words.
    #[error("{0}")]
    Later(String),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A secret that goes with a job, and who there may have it.
struct Chosen<'s> {
    secret: &'s Secret,
    for_worker: bool,
    for_stages: bool,
}

/// What goes with a claimed job.
pub(crate) async fn give(app: &App, claimed: &Claimed) -> Result<Given, Refused> {
    let named = named(claimed);
    let origin = origin(app, &claimed.build).await?;
    let trusted = claimed.build.trust.may_have_secrets() && origin.trust.may_have_secrets();
    let repo = &claimed.build.repo;
    let reach = app.store.secrets_in_reach(repo.id, &repo.name).await?;
    let reach: BTreeMap<&str, &Secret> = reach.iter().map(|secret| (secret.name.as_str(), secret)).collect();
    for (name, stages) in named.iter().filter(|_| trusted) {
        check(claimed, origin.event, name, stages, reach.get(name).copied()).map_err(Refused::Job)?;
    }
    let allowed = |secret: &&Secret| {
        secret.limits.stages.is_empty()
            && secret.limits.refuse_build(origin.event, &claimed.build.branch).is_none()
    };
    let useful: Vec<&Secret> = reach.values().copied().filter(allowed).collect();
    let fitting = clone::fitting(&repo.clone_url, &useful).map(|secret| secret.id);
    // What is not trusted is cloned as everything else, by the worker alone: it started because somebody let it.
    let chosen = reach.into_values().map(|secret| {
        let clones = fitting == Some(secret.id);
        let pulls = trusted && secret.kind == Kind::Docker && allowed(&secret);
        let for_stages = trusted && named.contains_key(secret.name.as_str());
        Chosen { secret, for_worker: clones || pulls, for_stages }
    });
    let chosen = chosen.filter(|one| one.for_worker || one.for_stages);
    let credentials = open(app, &chosen.collect::<Vec<_>>()).await?;
    if named.is_empty() {
        return Ok(Given { credentials, notes: Vec::new() });
    }
    let names = named.into_keys().collect::<Vec<_>>().join(", ");
    if !trusted {
        let notes = vec![format!("This build is not trusted, so it gets no secrets: {names}")];
        return Ok(Given { credentials, notes });
    }
    let build = claimed.build.number;
    tracing::info!(%build, attempt = %claimed.lease.attempt_id, "build {build} gets the secrets {names}");
    let detail = format!("job {} of {} gets {names}", claimed.spec.name, claimed.build.repo.name);
    // Nobody gets a secret without a trace: when this cannot be written, the job is offered again.
    let (who, action) = (format!("build {build}"), AuditAction::SecretsUsed);
    app.store.note(&NewAudit { actor: &who, action, subject: &who, detail: &detail }).await?;
    Ok(Given { credentials, notes: Vec::new() })
}

/// The names that the stages to be run ask for, each with those stages.
fn named(claimed: &Claimed) -> BTreeMap<&str, Vec<&str>> {
    let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for stage in claimed.spec.stages.iter().filter(|stage| stage.skipped().is_none()) {
        for name in claimed.spec.secrets_of(stage) {
            named.entry(name).or_default().push(&stage.name);
        }
    }
    named
}

/// The build itself, or the one of which it is a retry, however often.
async fn origin(app: &App, build: &Build) -> Result<Build, StoreError> {
    let mut origin = build.clone();
    while let (EventKind::Retry, Some(earlier)) = (origin.event, origin.retry_of) {
        let Some(found) = app.store.find_build(earlier).await? else { break };
        origin = found;
    }
    Ok(origin)
}

/// Why the stages cannot have what they name so.
fn check(
    claimed: &Claimed,
    event: EventKind,
    name: &str,
    stages: &[&str],
    secret: Option<&Secret>,
) -> Result<(), String> {
    let repo = &claimed.build.repo.name;
    let stage = stages.first().copied().unwrap_or_default();
    let Some(secret) = secret else {
        return Err(format!(
            "stage {stage} names the secret {name}, which {repo} does not have: add it with \
             `ocelot secret add {name} --scope {repo}`, or take it out of `secrets` in ocelot.yml"
        ));
    };
    if !secret.kind.is_for_stages() {
        return Err(format!(
            "stage {stage} names {name}, a credential of kind {}, which no stage can have",
            secret.kind
        ));
    }
    let refused = secret.limits.refuse_build(event, &claimed.build.branch);
    let refused = refused.or_else(|| stages.iter().find_map(|stage| secret.limits.refuse_stage(stage)));
    match refused {
        Some(why) => Err(format!("stage {stage} names the secret {name}, which {why}")),
        None => Ok(()),
    }
}

async fn open(app: &App, chosen: &[Chosen<'_>]) -> Result<Vec<Credential>, Refused> {
    let ids: Vec<i64> = chosen.iter().map(|one| one.secret.id).collect();
    let values = match app.store.open_secrets(&ids).await {
        // Its key is not here, or somebody has changed it: waiting helps nobody.
        Err(error @ (StoreError::Conflict(_) | StoreError::Corrupt(_))) => {
            return Err(Refused::Job(format!("a secret cannot be opened: {error}")));
        }
        opened => opened?,
    };
    if values.iter().map(|(_, value)| value.expose_secret().len()).sum::<usize>() > TOGETHER_MAX {
        let words = format!("the secrets of this job are over {} KiB together", TOGETHER_MAX >> 10);
        return Err(Refused::Job(words));
    }
    let mut credentials = Vec::with_capacity(values.len());
    for (id, value) in &values {
        let Some(one) = chosen.iter().find(|one| one.secret.id == *id) else { continue };
        credentials.push(credential(app, one, value.expose_secret()).await?);
    }
    Ok(credentials)
}

async fn credential(app: &App, one: &Chosen<'_>, value: &[u8]) -> Result<Credential, Refused> {
    let Chosen { secret, for_worker, for_stages } = one;
    let (fields, value) = if secret.kind == Kind::Vcs && consumer::is_consumer(&secret.fields) {
        let value = String::from_utf8_lossy(value);
        let asked = consumer::login_of(app, &secret.name, &secret.fields, &value).await;
        let (fields, token) = asked.map_err(|error| {
            let words = error.to_string();
            if consumer::heals(&error) { Refused::Later(words) } else { Refused::Job(words) }
        })?;
        (fields, token.expose_secret().as_bytes().to_vec())
    } else {
        (secret.fields.clone(), value.to_vec())
    };
    Ok(Credential {
        name: secret.name.clone(),
        kind: secret.kind.as_str().to_owned(),
        fields: fields.into_iter().collect(),
        value: value.into(),
        for_worker: *for_worker,
        for_stages: *for_stages,
    })
}
