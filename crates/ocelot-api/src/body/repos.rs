//! Repositories.

use jiff::Timestamp;
use ocelot_model::Approvals;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A repository.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Repo {
    /// Its handle, for example `git/example`.
    pub repo: String,
    /// Short name of its forge.
    pub forge: String,
    /// Owner; empty for plain git.
    pub owner: String,
    /// Name.
    pub name: String,
    /// Where it is cloned from.
    pub clone_url: String,
    /// Its default branch.
    pub default_branch: String,
    /// Readable without a token.
    pub public: bool,
    /// Which of its builds wait for `approve`: `forks` (those of commits that are not its own), `all` (those of every pull
    /// request, too) or `none`.
    #[serde(default)]
    #[schema(value_type = String, example = "forks")]
    pub approvals: Approvals,
    /// Its forge sends webhooks (`ocelot watch`).
    #[serde(default)]
    pub watched: bool,
    /// The last look whether its forge told of everything; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled: Option<Reconciled>,
}

/// What came of looking whether a forge told of everything.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Reconciled {
    /// When that was; null before the first look.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// In words, such as why it could not look.
    pub outcome: Option<String>,
}

/// Body of `PATCH /api/v1/repos/{handle}`. What is left out stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RepoChange {
    /// Which builds wait for `approve`, of those made from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "forks")]
    pub approvals: Option<Approvals>,
    /// Whether anyone may read it, without a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
}

/// Body of `POST /api/v1/repos`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRepo {
    /// For plain git: `https://…`, `ssh://…`, `git@host:path`, or a local path where the server allows it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub clone_url: String,
    /// Short name of the forge; default `git`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<String>,
    /// For other forges: `OWNER/NAME` there. The forge is asked for all the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// It is cloned over ssh, not HTTPS.
    #[serde(default)]
    pub ssh: bool,
    /// For plain git; default: the last segment of the URL without `.git`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Readable without a token.
    #[serde(default)]
    pub public: bool,
    /// Which of its builds wait for `approve`: `forks`, `all` or `none`.
    #[serde(default)]
    #[schema(value_type = String, example = "forks")]
    pub approvals: Approvals,
}
