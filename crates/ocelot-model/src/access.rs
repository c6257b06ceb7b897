//! Who may do what. One function decides for HTTP, gRPC, lists and event streams.

use serde::{Deserialize, Serialize};

use crate::{RepoName, WorkerId};

/// What a token or session may do, within its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, on the whole server.
    Admin,
    /// Read, and start, cancel and retry builds.
    Write,
    /// Read.
    Read,
    /// Claim jobs and report on them.
    Worker,
    /// Read `/metrics`.
    Metrics,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 5] = [Role::Admin, Role::Write, Role::Read, Role::Worker, Role::Metrics];

    /// The word for it, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Write => "write",
            Role::Read => "read",
            Role::Worker => "worker",
            Role::Metrics => "metrics",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no role; one of admin, write, read, worker, metrics")]
pub struct UnknownRole(pub String);

impl std::str::FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Role::ALL.into_iter().find(|r| r.as_str() == text).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// No token and no session.
    Anonymous,
    /// A token, or a session that began with one.
    Token {
        /// Its name, for the record of who did what.
        name: String,
        /// Its role.
        role: Role,
        /// Repositories it is limited to; empty for all. An entry is a whole handle
        /// (`github/acme/app`) or a prefix ending in `/` (`github/acme/`).
        scope: Vec<String>,
    },
    /// A worker, known by its own token.
    Worker(WorkerId),
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// See a repository, its builds and logs.
    ReadRepo,
    /// Start, cancel, retry builds of a repository.
    WriteRepo,
    /// Add, change and remove repositories; delete logs.
    AdminRepo,
    /// See workers and the queue (rows of repositories one may not read are blurred).
    ReadFleet,
    /// Tokens, workers, forges, settings.
    Administer,
    /// Read `/metrics`.
    ReadMetrics,
    /// Take jobs.
    Work,
}

/// What is asked about: its handle, and whether an admin made it public.
#[derive(Debug, Clone, Copy)]
pub struct RepoView<'a> {
    /// The repository.
    pub name: &'a RepoName,
    /// Readable by anyone.
    pub public: bool,
}

/// The one decision. `repo` is `None` for what belongs to no repository.
pub fn may(actor: &Actor, action: Action, repo: Option<RepoView<'_>>) -> bool {
    match actor {
        Actor::Anonymous => action == Action::ReadRepo && repo.is_some_and(|r| r.public),
        Actor::Worker(_) => action == Action::Work,
        Actor::Token { role, scope, .. } => {
            let reads_public = action == Action::ReadRepo && repo.is_some_and(|r| r.public);
            let in_scope = match repo {
                Some(repo) => covers(scope, repo.name),
                // A token limited to some repositories has no say over the whole server.
                None => scope.is_empty() || matches!(action, Action::ReadFleet | Action::ReadMetrics),
            };
            reads_public || (in_scope && role_allows(*role, action))
        }
    }
}

/// The same for what belongs to all repositories whose handle begins with `prefix`, which ends in `/`.
pub fn may_below(actor: &Actor, action: Action, prefix: &str) -> bool {
    match actor {
        Actor::Anonymous | Actor::Worker(_) => false,
        Actor::Token { role, scope, .. } => {
            let whole = |entry: &String| entry.ends_with('/') && prefix.starts_with(entry.as_str());
            role_allows(*role, action) && (scope.is_empty() || scope.iter().any(whole))
        }
    }
}

/// What a token is limited to, behind the name of its role or of itself: `, limited to git/app`; empty when it is not.
pub fn limit_words(scope: &[String]) -> String {
    const SHOWN: usize = 3;
    let (shown, rest) = scope.split_at(scope.len().min(SHOWN));
    match (shown, rest.len()) {
        ([], _) => String::new(),
        (shown, 0) => format!(", limited to {}", shown.join(", ")),
        (shown, more) => format!(", limited to {} and {more} more", shown.join(", ")),
    }
}

/// Whom readers of builds and of the audit would take a token of this name for: those that are named there and are no token.
pub fn passes_for(name: &str) -> Option<&'static str> {
    let words = name.to_ascii_lowercase();
    let words: Vec<&str> = words.split([' ', '.', '_', '-', '@']).filter(|word| !word.is_empty()).collect();
    let number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    match words[..] {
        ["build", of] if number(of) => Some("a build"),
        ["worker", of] if number(of) => Some("a worker"),
        ["schedule", of] if number(of) => Some("a schedule"),
        ["subscription", ..] => Some("a subscription"),
        ["forge", _, ..] => Some("a forge"),
        ["poll"] => Some("a poll"),
        ["nobody"] => Some("somebody who did not sign in"),
        ["the", "server"] => Some("the server itself"),
        ["the", "command", "line"] => Some("a command on the server's data"),
        ["ocelot", "yml"] => Some("the file of a repository"),
        _ => None,
    }
}

fn role_allows(role: Role, action: Action) -> bool {
    match role {
        Role::Admin => action != Action::Work,
        Role::Write => matches!(action, Action::ReadRepo | Action::WriteRepo | Action::ReadFleet),
        Role::Read => matches!(action, Action::ReadRepo | Action::ReadFleet),
        Role::Metrics => action == Action::ReadMetrics,
        Role::Worker => false,
    }
}

fn covers(scope: &[String], repo: &RepoName) -> bool {
    let handle = repo.to_string();
    scope.is_empty()
        || scope.iter().any(|entry| {
            if entry.ends_with('/') { handle.starts_with(entry.as_str()) } else { *entry == handle }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(role: Role, scope: &[&str], action: Action, repo: Option<(&str, bool)>, want: bool) {
        let actor =
            Actor::Token { name: "t".into(), role, scope: scope.iter().map(|s| (*s).to_owned()).collect() };
        let named = repo.map(|(name, public)| (name.parse::<RepoName>().unwrap(), public));
        let view = named.as_ref().map(|(name, public)| RepoView { name, public: *public });
        assert_eq!(may(&actor, action, view), want, "{role} {scope:?} {action:?} {repo:?}");
    }

    #[test]
    fn roles() {
        let app = Some(("github/acme/app", false));
        check(Role::Admin, &[], Action::Administer, None, true);
        check(Role::Admin, &[], Action::Work, None, false);
        check(Role::Write, &[], Action::WriteRepo, app, true);
        check(Role::Write, &[], Action::AdminRepo, app, false);
        check(Role::Read, &[], Action::WriteRepo, app, false);
        check(Role::Read, &[], Action::ReadRepo, app, true);
        check(Role::Metrics, &[], Action::ReadMetrics, None, true);
        check(Role::Metrics, &[], Action::ReadRepo, app, false);
        check(Role::Read, &[], Action::ReadMetrics, None, false);
        check(Role::Worker, &[], Action::ReadRepo, app, false);
    }

    #[test]
    fn scopes() {
        check(Role::Write, &["github/acme/app"], Action::WriteRepo, Some(("github/acme/app", false)), true);
        check(Role::Write, &["github/acme/app"], Action::WriteRepo, Some(("github/acme/app2", false)), false);
        check(Role::Write, &["github/acme/"], Action::WriteRepo, Some(("github/acme/x", false)), true);
        check(Role::Write, &["github/acme/"], Action::ReadRepo, Some(("github/acme2/x", false)), false);
        check(Role::Admin, &["github/acme/"], Action::Administer, None, false);
    }

    #[test]
    fn what_belongs_to_an_owner() {
        let check = |role, scope: &[&str], prefix: &str, want: bool| {
            let scope: Vec<String> = scope.iter().map(|entry| (*entry).to_owned()).collect();
            let actor = Actor::Token { name: "t".into(), role, scope };
            assert_eq!(may_below(&actor, Action::AdminRepo, prefix), want, "{prefix}");
        };
        check(Role::Admin, &[], "github/acme/", true);
        check(Role::Write, &[], "github/acme/", false);
        check(Role::Admin, &["github/acme/"], "github/acme/", true);
        check(Role::Admin, &["github/"], "github/acme/", true);
        check(Role::Admin, &["github/acme/"], "github/", false);
        check(Role::Admin, &["github/acme/app"], "github/acme/", false);
        check(Role::Admin, &["github/acme/"], "github/acme2/", false);
    }

    #[test]
    fn limits_are_said() {
        let words = |scope: &[&str]| limit_words(&scope.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(&[]), "");
        assert_eq!(words(&["git/a", "x/"]), ", limited to git/a, x/");
        assert_eq!(words(&["a/", "b/", "c/", "d/", "e/"]), ", limited to a/, b/, c/ and 2 more");
    }

    #[test]
    fn names_that_would_pass_for_others() {
        for name in
            ["build 7", "Build-7", "build  7", "worker 12", "schedule_3", "subscription api", "forge github"]
        {
            assert!(passes_for(name).is_some(), "{name}");
        }
        for name in ["nobody", "poll", "The Server", "the command line", "ocelot.yml"] {
            assert!(passes_for(name).is_some(), "{name}");
        }
        for name in
            ["admin", "worker", "build", "forge", "builds 7", "build7 bot", "build 7 bot", "build-bot", "ann"]
        {
            assert_eq!(passes_for(name), None, "{name}");
        }
    }

    #[test]
    fn anyone_reads_what_is_public_and_no_more() {
        let name: RepoName = "git/x".parse().unwrap();
        let public = Some(RepoView { name: &name, public: true });
        let private = Some(RepoView { name: &name, public: false });
        assert!(may(&Actor::Anonymous, Action::ReadRepo, public));
        assert!(!may(&Actor::Anonymous, Action::ReadRepo, private));
        assert!(!may(&Actor::Anonymous, Action::WriteRepo, public));
        assert!(!may(&Actor::Anonymous, Action::ReadFleet, None));
    }
}
