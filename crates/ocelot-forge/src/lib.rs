//! What the server knows of forges: plain git (which commit a branch is at, and a file of that commit), and GitHub,
//! GitLab, Bitbucket Cloud and Gitea: their webhooks and their APIs. Nothing here knows the database.

mod access;
mod api;
mod api_error;
mod batch;
mod bitbucket;
mod client;
mod error;
pub mod git;
mod gitea;
mod github;
mod gitlab;
mod hex;
pub mod hook;
mod key_file;
mod payload;
mod process;
pub mod url;

pub use access::Access;
pub use api::{
    BadSettings, Branch, Changes, CommitStatus, Forge, Listing, NewWebhook, Permission, RemoteRepo, Settings,
    Webhook, public_url,
};
pub use api_error::ApiError;
pub use client::OUTCOMES;
pub use error::GitError;
pub use git::{Git, Snapshot};
pub use hook::{Unverified, Verified, verify};
pub use payload::{BODY_MAX, BadBody};
pub use url::CloneUrl;
