//! GitHub: github.com and GitHub Enterprise Server.

mod api;
pub(crate) mod hook;

pub(crate) use api::{permission, word};

/// GitHub's API.
#[derive(Debug, Clone)]
pub struct Github(pub(crate) crate::client::Client);
