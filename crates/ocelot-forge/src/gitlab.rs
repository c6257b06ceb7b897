//! GitLab: gitlab.com and one's own.

mod api;
pub(crate) mod hook;

/// GitLab's API.
#[derive(Debug, Clone)]
pub struct Gitlab(pub(crate) crate::client::Client);
