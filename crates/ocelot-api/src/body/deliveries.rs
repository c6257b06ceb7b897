//! Webhooks and what became of them.

use jiff::Timestamp;
use ocelot_model::DeliveryState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A webhook as it came, and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// Ever rising.
    pub id: i64,
    /// Short name of the forge that sent it.
    pub forge: String,
    /// Handle of the repository; null when it is about none that is here.
    pub repo: Option<String>,
    /// What the forge calls it.
    pub remote_id: String,
    /// The forge's word for what happened.
    pub event: String,
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// `waiting`, `built`, `skipped`, `duplicate`, `superseded`, `ignored`, `refused`, `failed` or `conflict`.
    #[schema(value_type = String, example = "built")]
    pub state: DeliveryState,
    /// The same in words.
    pub outcome: String,
    /// When that was known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub handled_at: Option<Timestamp>,
    /// How often it was tried.
    pub tries: u32,
    /// What it tells: one for each branch, tag or pull request.
    pub parts: Vec<DeliveryPart>,
}

/// One thing that a webhook tells.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeliveryPart {
    /// `refs/heads/x`, `refs/tags/x` or `pull/3`.
    pub subject: String,
    /// What became of it.
    #[schema(value_type = String, example = "built")]
    pub state: DeliveryState,
    /// The same in words.
    pub outcome: String,
    /// The build of its commit.
    pub build: Option<i64>,
}

/// What the sender of a webhook is told.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Received {
    /// Number of the delivery, for `ocelot deliveries`.
    pub delivery: i64,
    /// What became of it so far.
    #[schema(value_type = String, example = "waiting")]
    pub state: DeliveryState,
    /// The same in words.
    pub outcome: String,
    /// Its build, when there is one already.
    pub build: Option<i64>,
}
