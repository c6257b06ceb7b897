//! What a forge is, and how it names repositories and accounts.

use serde::{Deserialize, Serialize};

/// The kinds of forges that Ocelot knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForgeKind {
    /// Plain git: no webhooks and no API.
    Git,
    /// github.com and GitHub Enterprise Server.
    Github,
    /// gitlab.com and GitLab on one's own machines.
    Gitlab,
    /// Bitbucket Cloud.
    Bitbucket,
    /// Gitea and Forgejo.
    Gitea,
}

impl ForgeKind {
    /// All kinds.
    pub const ALL: [ForgeKind; 5] =
        [ForgeKind::Git, ForgeKind::Github, ForgeKind::Gitlab, ForgeKind::Bitbucket, ForgeKind::Gitea];

    /// The word for it, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            ForgeKind::Git => "git",
            ForgeKind::Github => "github",
            ForgeKind::Gitlab => "gitlab",
            ForgeKind::Bitbucket => "bitbucket",
            ForgeKind::Gitea => "gitea",
        }
    }
}

impl std::fmt::Display for ForgeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no kind of forge.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no kind of forge; one of git, github, gitlab, bitbucket, gitea (also for Forgejo)")]
pub struct UnknownForgeKind(pub String);

impl std::str::FromStr for ForgeKind {
    type Err = UnknownForgeKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = if text == "forgejo" { "gitea" } else { text };
        ForgeKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| UnknownForgeKind(text.to_owned()))
    }
}

/// The forge's own number of a repository or an account, as text: Bitbucket has UUIDs, which are written
/// without braces and in small letters. It stays when the name changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RemoteId(String);

impl RemoteId {
    /// `None` when the text is neither a number nor a UUID.
    pub fn new(text: &str) -> Option<RemoteId> {
        let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        fits.then(|| RemoteId(text.to_ascii_lowercase()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<u64> for RemoteId {
    fn from(number: u64) -> RemoteId {
        RemoteId(number.to_string())
    }
}

impl std::fmt::Display for RemoteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// A repository as its forge names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteName {
    /// The forge's number of it; `None` when the forge did not say.
    pub id: Option<RemoteId>,
    /// `owner/name`, for GitLab with all its groups. For people, and to speak to the forge: names change hands.
    pub full_name: String,
}

/// Somebody at a forge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The forge's number of it. The only thing that says who somebody is.
    pub id: RemoteId,
    /// The name, to be shown.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_round_trip() {
        for kind in ForgeKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("forgejo".parse(), Ok(ForgeKind::Gitea));
        assert_eq!("svn".parse::<ForgeKind>(), Err(UnknownForgeKind("svn".into())));
    }

    #[test]
    fn numbers_and_uuids_are_ids_and_names_are_none() {
        let id = |text: &str| RemoteId::new(text).map(|id| id.to_string());
        assert_eq!(id("42").as_deref(), Some("42"));
        assert_eq!(
            id("{898477B2-A080-4089-b385-597a783db392}").as_deref(),
            Some("898477b2-a080-4089-b385-597a783db392")
        );
        for text in ["", "{}", "zed", "1/2", "1 2", &"1".repeat(65)] {
            assert_eq!(id(text), None, "{text:?}");
        }
    }
}
