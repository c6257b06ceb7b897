//! Secrets and credentials. Values come in and never go out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelot_model::EventKind;
use ocelot_model::secret::Kind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Text that nobody may read: it is left out where a program writes down what it has.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl std::fmt::Debug for crate::proto::Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Body of `POST /api/v1/secrets` and `POST /api/v1/credentials`. One of the same scope and name is changed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// Letters, digits and `_`: what stages name it by.
    pub name: String,
    /// A repository (`github/acme/app`), an owner (`github/acme/`), or empty for all repositories.
    #[serde(default)]
    pub scope: String,
    /// What it is for; `env`, a variable, when absent.
    #[serde(default = "env")]
    #[schema(value_type = String, example = "env")]
    pub kind: Kind,
    /// What is kept: 4 characters to 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub value: Option<Hidden>,
    /// The same in base64, for bytes that are no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub value_base64: Option<Hidden>,
    /// What belongs to it and is not secret, such as `url` and `username`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// Only builds that exist for one of these reasons get it; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub events: Vec<EventKind>,
    /// Only builds of these branches, as in `branches` of ocelot.yml; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
    /// Only stages of these names; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
}

fn env() -> Kind {
    Kind::Env
}

/// A secret or credential, without its value.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// Id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Who may have it; empty for all repositories.
    pub scope: String,
    /// What it is for.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// What belongs to it and is not secret.
    pub fields: BTreeMap<String, String>,
    /// See [`NewSecret`].
    #[schema(value_type = Vec<String>)]
    pub events: Vec<EventKind>,
    /// See [`NewSecret`].
    pub branches: Vec<String>,
    /// See [`NewSecret`].
    pub stages: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
    /// Who changed it.
    pub changed_by: String,
}
