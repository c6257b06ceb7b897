//! The rules of Ocelot, pure: no I/O, no async, no clock.
//!
//! Everything here is a value or a function of values. What talks to a database,
//! a forge or an engine lives in the other crates and asks this one what is right.

pub mod access;
pub mod audit;
pub mod bucket;
pub mod build;
pub mod causes;
pub mod concurrency;
pub mod cron;
pub mod delivery;
pub mod duration;
pub mod event;
pub mod expect;
pub mod forge;
pub mod forms;
pub mod git;
pub mod hidden;
pub mod id;
pub mod login;
pub mod notify;
pub mod novel;
pub mod pipeline;
pub mod repo;
pub mod roots;
pub mod secret;
pub mod size;
pub mod status;
pub mod subscription;
pub mod tally;
pub mod trust;
pub mod turns;

pub use audit::AuditAction;
pub use bucket::Bucket;
pub use delivery::DeliveryState;
pub use event::{Event, EventKind};
pub use forge::{ForgeKind, RemoteId};
pub use id::{AttemptId, BuildNumber, DeliveryId, ForgeId, JobId, RepoId, StageId, TokenId, WorkerId};
pub use repo::RepoName;
pub use status::Status;
pub use trust::{Approvals, Origin, Trust};
