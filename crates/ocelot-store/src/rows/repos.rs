//! Forges, repositories, and the secrets that both may have.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelot_model::secret::{Kind, Limits, Scope};
use ocelot_model::{Approvals, ForgeId, ForgeKind, RepoId, RepoName};
use secrecy::{SecretSlice, SecretString};

/// A secret or credential, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Id.
    pub id: i64,
    /// Who may have it.
    pub scope: Scope,
    /// Its name, once in a scope.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// What of it is not secret.
    pub fields: BTreeMap<String, String>,
    /// What narrows its use.
    pub limits: Limits,
    /// Somebody who administers the whole server kept it so.
    pub by_admin: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it was changed last.
    pub changed_at: Timestamp,
    /// By whom.
    pub changed_by: String,
}

impl Secret {
    /// True when it goes by this name: its own, or its `id`, which may be one that no variable can have.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.fields.get("id").is_some_and(|id| id == name)
    }
}

/// A secret to be kept. Checked before: [`ocelot_model::secret`].
#[derive(Debug)]
pub struct NewSecret {
    /// Who may have it.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// What of it is not secret.
    pub fields: BTreeMap<String, String>,
    /// What narrows its use.
    pub limits: Limits,
    /// What is kept.
    pub value: SecretSlice<u8>,
    /// Who says so.
    pub by: String,
    /// They administer the whole server.
    pub by_admin: bool,
}

/// A configured forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forge {
    /// Id.
    pub id: ForgeId,
    /// Short name, the first segment of handles.
    pub name: String,
    /// Which language it speaks.
    pub kind: ForgeKind,
    /// Its address as people type it into a browser; empty for plain git.
    pub base_url: String,
    /// It may be spoken to without TLS.
    pub insecure_http: bool,
    /// Certificates (PEM) of authorities that it is believed with, besides the public ones.
    pub ca: Option<String>,
    /// What kind of credentials Ocelot has for it; `None` for none.
    pub access_kind: Option<String>,
    /// It has a secret of its own, for webhooks of all of its repositories.
    pub has_hook_secret: bool,
    /// Rises with every change.
    pub version: i64,
}

/// A forge to add.
#[derive(Debug, Clone)]
pub struct NewForge {
    /// Short name.
    pub name: String,
    /// Which language it speaks.
    pub kind: ForgeKind,
    /// Its address.
    pub base_url: String,
    /// It may be spoken to without TLS.
    pub insecure_http: bool,
    /// Certificates (PEM) of authorities that it is believed with, besides the public ones.
    pub ca: Option<String>,
    /// Who Ocelot is there.
    pub access: Option<ForgeAccess>,
    /// What it signs with when it sends for all of its repositories.
    pub hook_secret: Option<SecretString>,
}

/// What becomes different about a forge; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ForgeChange {
    /// Who Ocelot is there.
    pub access: Option<ForgeAccess>,
    /// What it signs with when it sends for all of its repositories.
    pub hook_secret: Option<SecretString>,
    /// Certificates (PEM) of authorities that it is believed with, besides the public ones; empty: none any more.
    pub ca: Option<String>,
}

/// Credentials for a forge.
#[derive(Debug, Clone)]
pub struct ForgeAccess {
    /// The kind, to be shown.
    pub kind: String,
    /// All of it, in a form that is not the store's business.
    pub secret: SecretString,
}

/// A webhook that Ocelot made for a repository.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The random text in its address.
    pub id: String,
    /// Its repository.
    pub repo: RepoId,
    /// The repository's forge.
    pub forge: ForgeId,
    /// What it signs with.
    pub secret: SecretString,
    /// What the forge calls it; `None` until the forge has made it.
    pub remote_id: Option<String>,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// Id.
    pub id: RepoId,
    /// Its forge.
    pub forge_id: ForgeId,
    /// Its handle.
    pub name: RepoName,
    /// The forge's own id of it, which stays when the name changes; for plain git its chosen name.
    pub remote_id: String,
    /// Where it is cloned from.
    pub clone_url: String,
    /// Its default branch.
    pub default_branch: String,
    /// Readable without a token.
    pub public: bool,
    /// Which of its builds wait for a person.
    pub approvals: Approvals,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A repository to add.
#[derive(Debug, Clone)]
pub struct NewRepo {
    /// Its handle; the forge must exist.
    pub name: RepoName,
    /// The forge's own id of it; for plain git its chosen name.
    pub remote_id: String,
    /// Where it is cloned from.
    pub clone_url: String,
    /// Its default branch.
    pub default_branch: String,
    /// Readable without a token.
    pub public: bool,
    /// Which of its builds wait for a person.
    pub approvals: Approvals,
}

/// Settings of a repository that change; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepoChange {
    /// Which of its builds wait for a person, of those made from now on.
    pub approvals: Option<Approvals>,
    /// Readable without a token.
    pub public: Option<bool>,
}

/// What changes when a repository gets another name at its forge.
#[derive(Debug, Clone)]
pub struct RenamedRepo {
    /// Owner and name.
    pub name: RepoName,
    /// Where it is cloned from now.
    pub clone_url: String,
    /// Its default branch.
    pub default_branch: String,
}
