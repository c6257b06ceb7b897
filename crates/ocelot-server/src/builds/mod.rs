//! What becomes of builds: how they begin, are let go on, and end.
//!
//! Called by HTTP, gRPC and the loops. Nothing here knows an HTTP or gRPC status.

pub mod advance;
pub mod approve;
pub(crate) mod arrive;
mod beside;
pub mod cancel;
pub(crate) mod chain;
mod changed;
pub(crate) mod clone;
mod coming;
pub(crate) mod concurrency;
pub mod fence;
pub(crate) mod inbox;
pub(crate) mod insight;
pub(crate) mod passes;
pub mod plan;
pub(crate) mod reconcile;
pub mod retry;
pub(crate) mod secrets;
pub(crate) mod stats;
pub(crate) mod times;
pub mod trigger;
pub(crate) mod waiting;

use ocelot_model::access::Actor;

/// Name of who asked, for the record.
fn name_of(actor: &Actor) -> String {
    match actor {
        Actor::Token { name, .. } => name.clone(),
        Actor::Anonymous => "nobody".to_owned(),
        Actor::Worker(id) => format!("worker {id}"),
    }
}
