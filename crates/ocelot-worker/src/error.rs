//! Why a worker stops or an attempt ends early.

use crate::executor::ExecutorError;

/// Why a worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The server's address cannot be used.
    #[error("the server's address `{address}` cannot be used: {why}")]
    Address {
        /// As configured.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file with a certificate authority cannot be used.
    #[error("{0}")]
    Ca(String),
    /// The token was refused. Trying again would not help.
    #[error(
        "the server refused this worker: {0}. Make a token with `ocelot worker token create` and give it in OCELOT_TOKEN"
    )]
    Token(String),
    /// The server does not know the worker's own secret (any more).
    #[error(
        "the server refused this worker: {0}. If it was removed by mistake, delete {1} and give it an enrolment token \
         (`ocelot worker token create`): it comes back as a new worker"
    )]
    Unknown(String, String),
    /// The server did not let the worker enrol.
    #[error("this worker cannot enrol: {0}")]
    Enrolment(String),
    /// The folder has jobs of a worker that the server knows by another token.
    #[error(
        "this folder has jobs that were begun with another token, and with this one the server would take them away: \
         start the worker once more with the token that it had, until they have ended, or delete {0} to give them up"
    )]
    AnotherToken(String),
    /// There is nothing to come with.
    #[error("this worker has no token: give it one in OCELOT_TOKEN (`ocelot worker token create` makes one)")]
    NoToken,
    /// Neither Docker nor the host executor could be set up.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// A file or folder of the worker's own.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl WorkerError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
