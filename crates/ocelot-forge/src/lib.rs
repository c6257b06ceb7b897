//! What the server knows of forges. For now that is plain git: which commit a branch is at, and a
//! file of that commit. Nothing here knows the database or HTTP.

mod batch;
pub mod git;
mod process;
pub mod url;

pub use git::{Git, GitError, Snapshot};
pub use url::CloneUrl;
