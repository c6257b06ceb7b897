//! The side that workers talk to. Every call is checked for its token and its lease; what follows from a
//! report is decided in `builds/`. Nothing here calls `http/`.

mod auth;
mod calls;
pub mod dispatch;
mod fleet;
mod hello;
mod logs;
mod offer;
mod report;
mod rights;
pub mod roll;
mod session;
mod stock;

pub use fleet::Fleet;

use ocelot_api::proto::worker_api_server::WorkerApiServer;
use ocelot_store::StoreError;
use tonic::Status;

use crate::App;

/// Largest message, in bytes: a log chunk of 1 MiB with its marks, or an offer with a large job.
const MESSAGE_MAX: usize = 4 << 20;

/// The service, to be merged with the HTTP routes.
pub fn service(app: App) -> WorkerApiServer<calls::Calls> {
    WorkerApiServer::new(calls::Calls { app }).max_decoding_message_size(MESSAGE_MAX)
}

/// A store's refusal in gRPC's words.
fn refusal(error: &StoreError) -> Status {
    match error {
        StoreError::Stale => Status::failed_precondition(format!("stale_attempt: {error}")),
        StoreError::NotFound(what) => Status::not_found(format!("{what} does not exist")),
        StoreError::Conflict(what) => Status::already_exists(what.clone()),
        StoreError::Unavailable(_) | StoreError::LogStore(_) | StoreError::Overtaken => {
            Status::unavailable(error.to_string())
        }
        StoreError::Sql(_) | StoreError::Corrupt(_) | StoreError::LogMissing(_) => {
            tracing::error!(%error, "a worker's call failed");
            Status::internal("the server failed; its log says why")
        }
    }
}
