//! The audit.

use jiff::Timestamp;
use ocelot_model::AuditAction;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What somebody did.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditRow {
    /// Its number, rising.
    pub id: i64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who: the name of a token, or `build 7`.
    pub actor: String,
    /// What.
    #[schema(value_type = String, example = "token_created")]
    pub action: AuditAction,
    /// To what: the name of a token, the handle of a repository, `build 7`.
    pub subject: String,
    /// In words; empty when there is nothing to add.
    pub detail: String,
}
