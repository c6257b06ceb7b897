//! Notifications: what fails, and trying a place.

use jiff::Timestamp;
use ocelot_model::Status;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A notification that could not be sent so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notification {
    /// The build that it is about.
    pub build: i64,
    /// Handle of its repository.
    pub repo: String,
    /// What is told of the build.
    #[schema(value_type = String, example = "failed")]
    pub status: Status,
    /// `slack`, `webhook` or `email`.
    pub kind: String,
    /// Where: the credential's name, and channel, address or people. Empty for those who do not administer the repository.
    pub place: String,
    /// Why it failed, for those who administer the repository.
    pub error: String,
    /// How often.
    pub tries: u32,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// When it is tried again; null when it was given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub again_at: Option<Timestamp>,
}

/// Body of `POST /api/v1/notifications/test`: one of the two.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewNotifyTest {
    /// Handle of a repository: every place is tried, once, that is told of the builds of its default branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Name of a credential of kind notify: it alone is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Whose credential: empty for that of all repositories.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
}

/// What came of trying one place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotifyTest {
    /// `slack`, `webhook` or `email`.
    pub kind: String,
    /// Where: the credential's name, and channel, address or people.
    pub place: String,
    /// What was sent; null when it came to nothing before.
    pub sent: Option<String>,
    /// What the far side answered.
    pub answer: Option<String>,
    /// Why it failed; of a mail that only some could be given, who the others are.
    pub error: Option<String>,
    /// Why nothing is sent there: it is not told of builds of the default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// What is not as it may look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What came of trying all of them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NotifyTests {
    /// One for each place.
    pub items: Vec<NotifyTest>,
}
