//! Gitea and Forgejo.

mod api;
pub(crate) mod hook;

/// Gitea's API, which Forgejo has as well.
#[derive(Debug, Clone)]
pub struct Gitea(pub(crate) crate::client::Client);
