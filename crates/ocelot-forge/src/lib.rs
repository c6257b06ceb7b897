//! What the server knows of forges. For now that is plain git: which commit a branch is at, and a
//! file of that commit. Nothing here knows the database or HTTP.

mod batch;
mod error;
pub mod git;
mod process;
pub mod url;

pub use error::GitError;
pub use git::{Git, Snapshot};
pub use url::CloneUrl;
