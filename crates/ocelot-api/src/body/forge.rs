//! Bodies about forges and the repositories that they have.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Hidden;

/// A configured forge.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Forge {
    /// Short name, the first segment of handles.
    pub name: String,
    /// `git`, `github`, `gitlab`, `bitbucket` or `gitea` (also for Forgejo).
    pub kind: String,
    /// Base URL; empty for plain git.
    pub base_url: String,
    /// It may be spoken to without TLS.
    #[serde(default)]
    pub insecure_http: bool,
    /// It is believed with authorities of one's own, besides the public ones.
    #[serde(default)]
    pub ca: bool,
    /// Which credentials Ocelot has for it: `token`, `app`, `client` or `password`; null for none.
    #[serde(default)]
    pub access: Option<String>,
    /// It has a secret for webhooks of all of its repositories.
    #[serde(default)]
    pub hook_secret: bool,
}

/// Who Ocelot is for a forge.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ForgeAccess {
    /// An access token.
    Token(Hidden),
    /// A GitHub App.
    App {
        /// App id or client id.
        id: String,
        /// Its private key, as PEM.
        key: Hidden,
    },
    /// An OAuth consumer of Bitbucket that acts for itself.
    Client {
        /// Its key.
        id: String,
        /// Its secret.
        secret: Hidden,
        /// Where tokens are given out; default: the forge's own place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token_url: Option<String>,
    },
    /// User and app password (or API token) of Bitbucket.
    Password {
        /// Name or e-mail address.
        user: String,
        /// App password or API token.
        password: Hidden,
    },
}

impl ForgeAccess {
    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            ForgeAccess::Token(_) => "token",
            ForgeAccess::App { .. } => "app",
            ForgeAccess::Client { .. } => "client",
            ForgeAccess::Password { .. } => "password",
        }
    }
}

/// Body of `POST /api/v1/forges`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewForge {
    /// Short name, the first segment of handles.
    pub name: String,
    /// `github`, `gitlab`, `bitbucket` or `gitea` (also for Forgejo).
    pub kind: String,
    /// As people type it into a browser, with a path if it has one; default: the public instance of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// It may be spoken to without TLS.
    #[serde(default)]
    pub insecure_http: bool,
    /// Certificates (PEM) of authorities that it is believed with, besides the public ones, by the server and by workers that
    /// clone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Who Ocelot is there.
    pub access: ForgeAccess,
    /// What it signs with when it sends for all of its repositories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_secret: Option<Hidden>,
}

/// Body of `PATCH /api/v1/forges/{name}`. What is left out stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgeChange {
    /// Other credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<ForgeAccess>,
    /// Certificates (PEM) of other authorities; empty: the public ones alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Another secret for webhooks of all of its repositories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_secret: Option<Hidden>,
}

/// A repository that a forge has.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ForgeRepo {
    /// `OWNER/NAME` there.
    pub full_name: String,
    /// Not everybody may read it there.
    pub private: bool,
    /// Null for an empty repository.
    pub default_branch: Option<String>,
    /// Its default branch has an `ocelot.yml`; null when that was not found out.
    pub pipeline: Option<bool>,
    /// Its handle, when it is here already.
    pub repo: Option<String>,
    /// It is here, and its forge sends webhooks.
    pub watched: bool,
}

/// What a forge has for Ocelot's credentials.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ForgeRepos {
    /// In the forge's order.
    pub items: Vec<ForgeRepo>,
    /// There are more.
    pub cut: bool,
}

/// The webhook of a repository.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Watch {
    /// Handle of the repository.
    pub repo: String,
    /// Where its forge sends to.
    pub url: String,
    /// The forge was asked to try it; not all can.
    pub tried: bool,
}

/// What became of something that is gone.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// What could not be removed with it, and what to do about it.
    pub note: String,
}
