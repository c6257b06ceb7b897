//! Which repository is built after which other one, and which build follows which.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelot_model::Status;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A repository that is built after another one, as `ocelot.yml` of its default branch says.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Subscription {
    /// Handle of the repository that is built.
    pub repo: String,
    /// What the other one is called there.
    pub alias: String,
    /// Handle of the one after whose passed builds it is built.
    pub upstream: String,
    /// Such a repository is here and the caller may see it.
    pub known: bool,
    /// Branch there to the branch that is built.
    pub branches: BTreeMap<String, String>,
    /// It is in force; a circle of subscriptions is not.
    pub active: bool,
    /// What is wrong with it, in words.
    pub fault: Option<String>,
    /// The build whose file says so.
    pub stored_by: i64,
    /// When it last came to something.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_at: Option<Timestamp>,
    /// What that was, in words.
    pub outcome: Option<String>,
}

/// All subscriptions in force as a graph of branches.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SubscriptionGraph {
    /// Its nodes.
    pub nodes: Vec<Branch>,
    /// Its edges, from the one that passes to the one that is built then.
    pub edges: Vec<Edge>,
}

/// A branch of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Branch {
    /// Handle of the repository.
    pub repo: String,
    /// The branch.
    pub branch: String,
}

/// A branch is built after another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Edge {
    /// After which one.
    pub from: Branch,
    /// Which one is built.
    pub to: Branch,
    /// What `from` is called there.
    pub alias: String,
}

/// The build that a build follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpstreamBuild {
    /// Its number.
    pub build: i64,
    /// It is not here any more, as old builds are not.
    #[serde(default)]
    pub removed: bool,
    /// Handle of its repository.
    pub repo: String,
    /// Its branch.
    pub branch: String,
    /// Its commit.
    pub commit: String,
    /// What the repository is called in the build that follows.
    pub alias: String,
}

/// A build that follows a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DownstreamBuild {
    /// Its number.
    pub build: i64,
    /// Handle of its repository.
    pub repo: String,
    /// Its branch.
    pub branch: String,
    /// How it stands.
    #[schema(value_type = String, example = "passed")]
    pub status: Status,
}
