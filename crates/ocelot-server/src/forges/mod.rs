//! Forges as this server speaks to them: opened with their credentials, asked for repositories, told of builds.
//!
//! Nothing here knows an HTTP status of ours. What a forge is called at home is `ocelot_forge`'s business.

pub mod add;
pub(crate) mod consumer;
pub mod discover;
pub mod follow;
mod open;
mod pulls;
pub mod send;
pub mod watch;

use std::time::Duration;

use ocelot_forge::ApiError;
use ocelot_model::RepoName;
use ocelot_store::StoreError;

pub use open::Forges;
pub use pulls::{changed_files, pull_requests, whole_commit};

/// Somebody waits for what is asked of a forge, and our own client gives a silent server up after 45 s.
const WAIT: Duration = Duration::from_secs(40);

/// Why a forge did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// Nobody has added it.
    #[error("{0}")]
    Unknown(String),
    /// It is plain git.
    #[error("{0}")]
    PlainGit(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// Its settings or credentials cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The forge says no, or nothing.
    #[error("{forge}: {error}{help}")]
    Api {
        /// Its short name.
        forge: String,
        /// What it says.
        error: ApiError,
        /// What to do about it, where that is known.
        help: String,
    },
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ForgeError {
    /// What became of a question to the forge of this name.
    fn of(forge: &str) -> impl Fn(ApiError) -> ForgeError + use<'_> {
        move |error| {
            let help = match error {
                ApiError::Unauthorized { .. } | ApiError::Forbidden(_) => {
                    format!("; `ocelot forge change {forge}` gives Ocelot others")
                }
                ApiError::NotFound(_)
                | ApiError::RateLimited { .. }
                | ApiError::Unavailable(_)
                | ApiError::Nonsense(_)
                | ApiError::TooLarge
                | ApiError::Refused { .. } => String::new(),
            };
            ForgeError::Api { forge: forge.to_owned(), error, help }
        }
    }

    /// The same of one that is only being tried.
    fn of_tried(forge: &str) -> impl Fn(ApiError) -> ForgeError + use<'_> {
        move |error| ForgeError::Api { forge: forge.to_owned(), error, help: String::new() }
    }
}

/// Gives a forge up that takes too long over all of a request's questions.
async fn within<T>(forge: &str, work: impl Future<Output = Result<T, ForgeError>>) -> Result<T, ForgeError> {
    tokio::time::timeout(WAIT, work).await.unwrap_or_else(|_| {
        let words = format!("it took longer than {} s", WAIT.as_secs());
        Err(ForgeError::of(forge)(ApiError::Unavailable(words)))
    })
}

/// `OWNER/NAME`: what a repository is called at its forge.
pub fn full_name(name: &RepoName) -> String {
    format!("{}/{}", name.owner, name.name)
}
