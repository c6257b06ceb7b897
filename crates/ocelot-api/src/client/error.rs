//! What can go wrong between us and the server, sorted by what a person would do about it.

use crate::Problem;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answered: wrong address, server down, network away, certificate refused.
    #[error("cannot reach the server at {url}: {cause}")]
    Unreachable {
        /// Address of the server.
        url: String,
        /// What the network said.
        cause: String,
    },
    /// The answer had begun and is not whole: the server stopped or met a fault in the middle of it, or the network is away.
    #[error("the answer of {url} broke off in the middle; ask again: {cause}")]
    CutOff {
        /// Address of the server.
        url: String,
        /// What the network said.
        cause: String,
    },
    /// The server refused, and said why.
    #[error("{0}")]
    Refused(Problem),
    /// Something answered that is not an Ocelot server, or one of another version.
    #[error("the answer of {url} is not what an Ocelot server says: {cause}")]
    Strange {
        /// Address of the server.
        url: String,
        /// What is odd about it.
        cause: String,
    },
    /// The address is no `http://` or `https://` address.
    #[error("`{0}` is no address of a server; write for example http://127.0.0.1:8080")]
    BadUrl(String),
    /// The token cannot be one: it would never reach the server.
    #[error("the token {0}; a token is one line of letters, digits, `_` and `-`: copy it again")]
    BadToken(&'static str),
    /// The file with a certificate authority cannot be used.
    #[error("{0}")]
    BadCa(String),
}

impl ClientError {
    /// HTTP status, when the server refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            ClientError::Refused(problem) => Some(problem.status),
            ClientError::Unreachable { .. }
            | ClientError::CutOff { .. }
            | ClientError::Strange { .. }
            | ClientError::BadUrl(_)
            | ClientError::BadToken(_)
            | ClientError::BadCa(_) => None,
        }
    }

    /// True when the same question may get an answer later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } | ClientError::CutOff { .. } => true,
            ClientError::Refused(problem) => problem.status >= 500 || problem.status == 429,
            ClientError::Strange { .. }
            | ClientError::BadUrl(_)
            | ClientError::BadToken(_)
            | ClientError::BadCa(_) => false,
        }
    }
}
