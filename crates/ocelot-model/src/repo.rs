//! The handle of a repository: `github/acme/app`, `git/example`.

use serde::{Deserialize, Serialize};

/// Forge, owner and name. The owner may hold `/` (GitLab's groups) and is empty for plain git.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoName {
    /// Short name of the forge.
    pub forge: String,
    /// Owner; empty for plain git.
    pub owner: String,
    /// Last segment.
    pub name: String,
}

/// The text is no repository handle.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no repository: write forge/owner/name, for example github/acme/app, or git/name for plain git"
)]
pub struct BadRepoName(pub String);

/// True for a word that may stand in a handle: letters, digits, `.`, `_`, `-`, at most 100 bytes,
/// and not only dots.
pub fn is_segment(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && !text.bytes().all(|b| b == b'.')
        && !text.starts_with('-')
}

impl std::str::FromStr for RepoName {
    type Err = BadRepoName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() < 2 || parts.len() > 22 || !parts.iter().all(|p| is_segment(p)) {
            return Err(BadRepoName(text.to_owned()));
        }
        Ok(RepoName {
            forge: parts[0].to_owned(),
            owner: parts[1..parts.len() - 1].join("/"),
            name: parts[parts.len() - 1].to_owned(),
        })
    }
}

impl std::fmt::Display for RepoName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.owner.is_empty() {
            write!(f, "{}/{}", self.forge, self.name)
        } else {
            write!(f, "{}/{}/{}", self.forge, self.owner, self.name)
        }
    }
}

impl TryFrom<String> for RepoName {
    type Error = BadRepoName;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RepoName> for String {
    fn from(repo: RepoName) -> String {
        repo.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_round_trip() {
        for text in ["git/example", "github/acme/app", "gitlab/group/sub/app", "git/a.b_c-d"] {
            assert_eq!(text.parse::<RepoName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_handles_are_refused() {
        for text in ["", "example", "git/", "/x", "git/..", "git/a b", "git/a\n", "git/-x", "git/é"] {
            assert!(text.parse::<RepoName>().is_err(), "{text:?}");
        }
    }
}
