//! Errors as RFC 9457 `application/problem+json`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error for people and programs: what happened, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// HTTP status, repeated.
    pub status: u16,
    /// A stable word for programs, for example `not_found`.
    pub code: String,
    /// The same for every problem of this code.
    pub title: String,
    /// What happened here, and what to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Finds the log line of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.detail.is_empty() { f.write_str(&self.title) } else { f.write_str(&self.detail) }?;
        match &self.request_id {
            Some(id) if self.status >= 500 => write!(f, " (request {id})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}
