//! What event streams say.

use ocelot_model::Status;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something changed: the data of an event stream's `build`, `job` and `stage` events, and what
/// wakes readers of a log (`log` events).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A build changed.
    Build {
        /// Build.
        build: i64,
        /// Repository.
        repo: String,
        /// New status.
        #[schema(value_type = String)]
        status: Status,
        /// Why.
        reason: Option<String>,
    },
    /// A job changed.
    Job {
        /// Build.
        build: i64,
        /// Job id.
        job: i64,
        /// Job name.
        name: String,
        /// New status.
        #[schema(value_type = String)]
        status: Status,
        /// Attempt.
        attempt: u32,
        /// Worker.
        worker: Option<String>,
        /// Why.
        reason: Option<String>,
    },
    /// A stage changed.
    Stage {
        /// Build.
        build: i64,
        /// Job id.
        job: i64,
        /// Stage id.
        stage: i64,
        /// Stage name.
        name: String,
        /// New status.
        #[schema(value_type = String)]
        status: Status,
        /// Exit code.
        exit_code: Option<i32>,
        /// How long it took.
        duration_ms: Option<i64>,
        /// Why.
        reason: Option<String>,
    },
    /// Log bytes, as text (bytes that are not UTF-8 replaced).
    Log {
        /// Build.
        build: i64,
        /// Stage id.
        stage: i64,
        /// Offset of the first byte.
        offset: i64,
        /// Bytes that this event covers; the next one begins at `offset + bytes`.
        bytes: i64,
        /// The text.
        text: String,
    },
    /// Nothing more comes for this build.
    End {
        /// Build.
        build: i64,
        /// Final status.
        #[schema(value_type = String)]
        status: Status,
    },
}
