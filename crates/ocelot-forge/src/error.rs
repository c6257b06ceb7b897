//! What can go wrong between git and a repository, said for people.

/// Why git did not do it.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The URL is none, or not allowed.
    #[error("{0}")]
    BadUrl(String),
    /// No such repository, or no right to read it.
    #[error("repository not found: {0} (it does not exist, or Ocelot may not read it)")]
    NotFound(String),
    /// It knows nobody of this name, password or key, or shows a key of its own that is not the known one.
    #[error("Ocelot may not read {url}: {words}")]
    NoAccess {
        /// The repository.
        url: String,
        /// What it, ssh or git said.
        words: String,
    },
    /// It has no commit yet, or its HEAD names none.
    #[error("{0} has no default branch: push a first commit, or name a branch that is there")]
    NoDefaultBranch(String),
    /// No such branch.
    #[error("there is no branch `{branch}` in {url}")]
    NoBranch {
        /// The branch.
        branch: String,
        /// The repository.
        url: String,
    },
    /// No such commit.
    #[error("there is no commit {commit} in {url}")]
    NoCommit {
        /// The commit.
        commit: String,
        /// The repository.
        url: String,
    },
    /// The answer is larger than what is read.
    #[error("{0}")]
    TooLarge(String),
    /// It took too long.
    #[error("git did not answer within {seconds} s for {url}")]
    Timeout {
        /// The repository.
        url: String,
        /// The limit.
        seconds: u64,
    },
    /// There is no room for what it fetches.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    /// Git's own words.
    #[error("git says: {0}")]
    Failed(String),
    /// Git cannot be started, or the cache cannot be written.
    #[error("git cannot be used: {0}")]
    Io(std::io::Error),
}
