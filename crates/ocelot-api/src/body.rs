//! The JSON bodies of `/api/v1`. Times are RFC 3339 in UTC, durations milliseconds.

mod access;
mod audit;
mod builds;
mod deliveries;
mod event;
mod forge;
mod history;
mod insights;
mod notify;
mod queue;
mod repos;
mod secrets;
mod subscriptions;
mod times;
mod workers;

pub use access::*;
pub use audit::AuditRow;
pub use builds::*;
pub use deliveries::*;
pub use event::*;
pub use forge::*;
pub use history::*;
pub use insights::*;
pub use notify::*;
pub use queue::*;
pub use repos::*;
pub use secrets::{Hidden, NewSecret, Secret};
pub use subscriptions::*;
pub use times::*;
pub use workers::*;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One page of a listing.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Give it back as `cursor` to go on; null at the end.
    pub next: Option<String>,
}
