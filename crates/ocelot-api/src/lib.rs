//! All that crosses a process boundary: the worker protocol, the JSON bodies of the REST
//! interface, `problem+json`, and the HTTP client that the command line and the tests use.

pub mod body;
pub mod client;
pub mod problem;
pub mod tls;

use std::time::Duration;

pub use problem::Problem;

/// The gRPC protocol between server and worker, generated from `proto/worker.proto`.
#[expect(
    missing_docs,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    reason = "generated code"
)]
pub mod proto {
    tonic::include_proto!("ocelot.v1");
}

/// Oldest version of the worker protocol that this build speaks.
pub const PROTOCOL_MIN: u32 = 1;
/// Newest version of the worker protocol that this build speaks.
pub const PROTOCOL_MAX: u32 = 1;
/// How often worker and server say something, when a worker that is silent for `hard_limit` is taken as lost.
pub fn beat(hard_limit: Duration) -> Duration {
    // One message that comes late is no reason to take anybody as lost.
    Duration::from_secs(10).min(hard_limit / 6)
}

/// Largest log chunk, in bytes.
pub const LOG_CHUNK_MAX: usize = 1 << 20;
