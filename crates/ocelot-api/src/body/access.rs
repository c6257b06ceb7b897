//! Who somebody is, and tokens.

use jiff::Timestamp;
use ocelot_model::access::Role;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whom the server takes the caller for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// Name of the token.
    pub name: String,
    /// Its role.
    #[schema(value_type = String, example = "read")]
    pub role: Role,
    /// Repositories it is limited to; empty for all.
    pub repos: Vec<String>,
}

/// An access token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Role.
    #[schema(value_type = String, example = "read")]
    pub role: Role,
    /// Repositories it is limited to: handles, or prefixes ending in `/`; empty for all.
    pub repos: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used (to the minute).
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

/// Body of `POST /api/v1/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Name, unique.
    pub name: String,
    /// Role.
    #[schema(value_type = String, example = "read")]
    pub role: Role,
    /// Repositories it is limited to; empty for all.
    #[serde(default)]
    pub repos: Vec<String>,
    /// Days until it ends; absent for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_days: Option<u32>,
}

/// Answer of `POST /api/v1/tokens`: the only time that the secret is shown.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token's row.
    #[serde(flatten)]
    pub token: Token,
    /// The secret.
    pub secret: String,
}
