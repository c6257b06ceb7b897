//! Bitbucket Cloud.

mod api;
pub(crate) mod hook;

/// Bitbucket's API.
#[derive(Debug, Clone)]
pub struct Bitbucket(pub(crate) crate::client::Client);
