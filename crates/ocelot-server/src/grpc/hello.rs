//! A worker's first message: which protocol it speaks, and what it says of itself. Pure.

use std::collections::BTreeMap;

use ocelot_api::proto::{Condition, Hello};
use ocelot_api::{PROTOCOL_MAX, PROTOCOL_MIN};
use ocelot_store::Identity;
use tonic::Status;

/// Slots of one worker at most.
const SLOTS_MAX: u32 = 10_000;
/// Labels of one worker at most.
const LABELS_MAX: usize = 64;
/// Characters in which a worker says why it takes no jobs.
const UNWELL_MAX: usize = 500;
/// A worker's own secret begins so, and no token's does.
pub(super) const OWN: &str = "ocw_";

/// The protocol to speak, when both sides know one and the worker's words are sound.
pub(super) fn check(hello: &Hello) -> Result<u32, Status> {
    if hello.protocol_max < PROTOCOL_MIN || hello.protocol_min > PROTOCOL_MAX {
        return Err(Status::failed_precondition(format!(
            "this server speaks worker protocol {PROTOCOL_MIN} to {PROTOCOL_MAX}, this worker {} to {}: bring the older \
             one up to date",
            hello.protocol_min, hello.protocol_max
        )));
    }
    check_name(&hello.name)?;
    let small = hello.labels.len() <= LABELS_MAX
        && hello.labels.iter().all(|(key, value)| !key.is_empty() && key.len() <= 100 && value.len() <= 200);
    if !small {
        return Err(Status::invalid_argument("a worker has at most 64 labels of 100 and 200 characters"));
    }
    Ok(PROTOCOL_MAX.min(hello.protocol_max))
}

/// A name that people can read.
pub(super) fn check_name(name: &str) -> Result<(), Status> {
    if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
        return Err(Status::invalid_argument("a worker needs a name of 1 to 100 characters"));
    }
    Ok(())
}

/// A secret that a worker made: no token can be one, and nobody can guess it.
pub(super) fn check_secret(secret: &str) -> Result<(), Status> {
    let good = |rest: &str| rest.len() == 64 && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    match secret.strip_prefix(OWN) {
        Some(rest) if good(rest) => Ok(()),
        _ => Err(Status::invalid_argument("a worker's own secret is `ocw_` and 64 hexadecimal digits")),
    }
}

/// What the store keeps of it.
pub(super) fn greeting(identity: Identity, hello: &Hello) -> ocelot_store::Hello {
    let labels: BTreeMap<_, _> = hello.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    ocelot_store::Hello {
        identity,
        name: hello.name.clone(),
        labels,
        slots: hello.slots.min(SLOTS_MAX),
        version: hello.version.chars().take(100).collect(),
        sharing: sharing(&hello.sharing),
        condition: hello.condition.as_ref().map(condition),
        process: hello.process.chars().take(64).collect(),
    }
}

/// How the worker's machine is, no longer than a page shows it.
pub(super) fn condition(said: &Condition) -> ocelot_store::Condition {
    let unwell: String = said.unwell.chars().take(UNWELL_MAX).collect();
    ocelot_store::Condition {
        disk: (said.disk_total > 0).then_some((said.disk_free, said.disk_total)),
        unwell: (!unwell.is_empty()).then_some(unwell),
    }
}

/// How folders reach the worker's engine, no longer than a page shows it.
pub(super) fn sharing(said: &str) -> String {
    said.chars().take(100).collect()
}
