//! Secrets and credentials: their kinds, names and scopes, and which stages of which builds may have one. No values here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::login::home_of;
use crate::notify;
use crate::pipeline::{EnvNameError, branch_matches, check_env_name};
use crate::repo::is_segment;
use crate::{EventKind, RepoName};

/// Longest name.
pub const NAME_MAX: usize = 100;
/// A shorter value cannot be hidden in a log: it would hide half of the log.
pub const VALUE_MIN: usize = 4;
/// Longest value, in bytes.
pub const VALUE_MAX: usize = 64 << 10;
/// Longest field beside the value, in bytes.
pub const FIELD_MAX: usize = 2_048;

/// What a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A variable of the stages that name it: what `ocelot secret` makes.
    Env,
    /// A file at a path of one's choice.
    File,
    /// A private key: for cloning, and `~/.ssh/<name>` of the stages that name it.
    Ssh,
    /// User and password or token for cloning over HTTPS.
    Vcs,
    /// User and password of an image registry: for pulling, and `~/.docker/config.json`.
    Docker,
    /// A server of `~/.m2/settings.xml`.
    Maven,
    /// A token of `~/.npmrc`.
    Npm,
    /// An index of `~/.pypirc`.
    Pypi,
    /// `~/.kube/config`, or `~/.kube/<id>`.
    Kubeconfig,
    /// A repository of `~/.config/helm/repositories.yaml`.
    Helm,
    /// A host of `~/.mc/config.json`.
    S3,
    /// Where notifications go: the address of a Slack webhook, the secret with which a webhook is signed, or the password of
    /// a mail server.
    Notify,
}

/// A field beside the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
}

const fn must(name: &'static str) -> Field {
    Field { name, required: true }
}

const fn can(name: &'static str) -> Field {
    Field { name, required: false }
}

/// Why the value of this field is no address, when it should be one. A host alone is one, and so is one with a path.
fn check_address(name: &str, value: &str) -> Result<(), String> {
    let (schemes, bare): (&[&str], bool) = match name {
        "url" => (&["https", "http", "ssh", "git+ssh", "s3", "smtp", "smtps"], true),
        "token_url" | "detail_url" => (&["https", "http"], false),
        _ => return Ok(()),
    };
    let (scheme, rest) = value.split_once("://").map_or((None, value), |(scheme, rest)| (Some(scheme), rest));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    let known = scheme.map_or(bare, |scheme| schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)));
    let has_host = host.chars().any(|c| c.is_ascii_alphanumeric()) && host.chars().all(plain);
    if known && has_host && !value.contains(char::is_whitespace) {
        return Ok(());
    }
    let like = if bare { "https://host.example/path, or a host alone" } else { "https://host.example/path" };
    Err(format!("{name}: `{value}` is no address; write it like {like}"))
}

impl Kind {
    /// All there are.
    pub const ALL: [Kind; 12] = [
        Kind::Env,
        Kind::File,
        Kind::Ssh,
        Kind::Vcs,
        Kind::Docker,
        Kind::Maven,
        Kind::Npm,
        Kind::Pypi,
        Kind::Kubeconfig,
        Kind::Helm,
        Kind::S3,
        Kind::Notify,
    ];

    /// The word for it, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Env => "env",
            Kind::File => "file",
            Kind::Ssh => "ssh",
            Kind::Vcs => "vcs",
            Kind::Docker => "docker",
            Kind::Maven => "maven",
            Kind::Npm => "npm",
            Kind::Pypi => "pypi",
            Kind::Kubeconfig => "kubeconfig",
            Kind::Helm => "helm",
            Kind::S3 => "s3",
            Kind::Notify => "notify",
        }
    }

    /// What belongs to it beside the value; nothing of it is secret.
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Kind::Env => &[],
            Kind::File => const { &[must("path")] },
            Kind::Ssh => const { &[can("url"), can("id")] },
            Kind::Vcs => const { &[can("url"), can("username"), can("token_url"), can("type")] },
            Kind::Docker | Kind::S3 => const { &[must("url"), must("username"), can("id")] },
            Kind::Maven => const { &[must("username"), can("url"), can("id")] },
            Kind::Npm => const { &[can("url"), can("scope")] },
            Kind::Pypi => const { &[can("url"), can("username"), can("id")] },
            Kind::Kubeconfig => const { &[can("id")] },
            Kind::Helm => const { &[must("url"), can("username"), can("id")] },
            Kind::Notify => {
                const {
                    &[
                        can("type"),
                        can("url"),
                        can("username"),
                        can("from"),
                        can("to"),
                        can("channel"),
                        can("on"),
                        can("detail_url"),
                        can("id"),
                    ]
                }
            }
        }
    }

    /// Whether a stage may name it.
    pub const fn is_for_stages(self) -> bool {
        !matches!(self, Kind::Vcs | Kind::Notify)
    }

    /// Why these fields do not suit the kind.
    pub fn check_fields(self, fields: &BTreeMap<String, String>) -> Result<(), String> {
        let known = self.fields();
        for (name, value) in fields {
            if !known.iter().any(|field| field.name == name) {
                let names: Vec<&str> = known.iter().map(|field| field.name).collect();
                let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                return Err(format!("a credential of kind {self} has no field `{name}`; it has: {has}"));
            }
            if value.is_empty() || value.len() > FIELD_MAX || value.chars().any(char::is_control) {
                return Err(format!("{name}: 1 to {FIELD_MAX} bytes, and no control characters"));
            }
            check_address(name, value)?;
        }
        if let Some(missing) = known.iter().find(|field| field.required && !fields.contains_key(field.name)) {
            return Err(format!("a credential of kind {self} needs `{}`", missing.name));
        }
        if self == Kind::Vcs && home_of(fields).is_none() {
            return Err("a credential of kind vcs needs `url`, or a `type` of github, gitlab or bitbucket: it is shown to \
                        that host and to no other"
                .to_owned());
        }
        if self == Kind::Notify {
            notify::check_fields(fields)?;
        }
        if let Some(path) = fields.get("path") {
            check_path(path)?;
        }
        match fields.get("id") {
            Some(id) if !is_segment(id) => Err(format!(
                "id: `{id}` cannot be a part of a file's name; use letters, digits, `.`, `_` and `-`"
            )),
            Some(_) | None => Ok(()),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no kind of credential; one of env, file, ssh, vcs, docker, maven, npm, pypi, kubeconfig, helm, s3, notify"
)]
pub struct UnknownKind(pub String);

impl std::str::FromStr for Kind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// Where a file of a job goes: below the home folder (`~/…`), or an absolute path.
fn check_path(path: &str) -> Result<(), String> {
    let rest = path.strip_prefix("~/").or_else(|| path.strip_prefix('/'));
    let good = rest.is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
    let own = ["/ocelot", "/proc", "/sys", "/dev"];
    let taken = own
        .iter()
        .find(|own| path.strip_prefix(**own).is_some_and(|rest| rest.starts_with('/') || rest.is_empty()));
    if let Some(taken) = taken {
        return Err(format!("path: nothing can be put below `{taken}`"));
    }
    if good {
        return Ok(());
    }
    Err(format!("path: `{path}` is neither a file below `~/` nor an absolute path without `.` and `..`"))
}

/// Why a secret cannot be called so.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.len() > NAME_MAX {
        return Err(format!("name: at most {NAME_MAX} characters"));
    }
    match check_env_name(name) {
        Ok(()) if matches!(name, "PATH" | "HOME" | "IFS") => {
            Err(format!("name: without its own `{name}` no stage would find anything; choose another name"))
        }
        Ok(()) => Ok(()),
        Err(EnvNameError::Invalid) => {
            Err("name: use letters (a-z, A-Z), digits and `_`, and no digit at the beginning".to_owned())
        }
        Err(error) => Err(format!("name: `{name}`: {error}")),
    }
}

/// Why a value cannot be kept.
pub fn check_value(kind: Kind, value: &[u8]) -> Result<(), String> {
    if value.len() > VALUE_MAX {
        return Err(format!("value: at most {} KiB", VALUE_MAX >> 10));
    }
    if value.trim_ascii().len() < VALUE_MIN {
        return Err(format!("value: fewer than {VALUE_MIN} characters cannot be hidden in a log"));
    }
    let text = std::str::from_utf8(value).is_ok_and(|text| !text.contains('\0'));
    if kind != Kind::File && !text {
        return Err("value: it must be text; use a credential of kind file for other bytes".to_owned());
    }
    Ok(())
}

/// Which repositories may have a secret. Written as it is asked for: nothing, `github/acme/`, `github/acme/app`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those whose handle begins so; it ends in `/`.
    Owner(String),
    /// This one.
    Repo(RepoName),
}

/// The text is no scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is neither a repository (`git/example`) nor an owner (`github/acme/`)")]
pub struct BadScope(pub String);

impl std::str::FromStr for Scope {
    type Err = BadScope;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Scope::All);
        }
        let bad = || BadScope(text.to_owned());
        match text.strip_suffix('/') {
            Some(prefix) if prefix.split('/').all(is_segment) => Ok(Scope::Owner(text.to_owned())),
            Some(_) => Err(bad()),
            None => text.parse().map(Scope::Repo).map_err(|_| bad()),
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scope::All => Ok(()),
            Scope::Owner(prefix) => f.write_str(prefix),
            Scope::Repo(repo) => repo.fmt(f),
        }
    }
}

/// What narrows the use of a secret; an empty list narrows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Builds that exist for one of these reasons.
    pub events: Vec<EventKind>,
    /// Builds of these branches, as in `branches` of the file.
    pub branches: Vec<String>,
    /// Stages of these names.
    pub stages: Vec<String>,
}

impl Limits {
    /// Why a build may not have it.
    pub fn refuse_build(&self, event: EventKind, branch: &str) -> Option<String> {
        if !self.events.is_empty() && !self.events.contains(&event) {
            let events: Vec<&str> = self.events.iter().map(|event| event.as_str()).collect();
            return Some(format!("is for builds by {} only, this one is by {event}", events.join(", ")));
        }
        let fits = branch_matches(&self.branches, branch);
        (!fits).then(|| format!("is for branches {} only, this is {branch}", self.branches.join(", ")))
    }

    /// Why a stage may not have it.
    pub fn refuse_stage(&self, stage: &str) -> Option<String> {
        let fits = self.stages.is_empty() || self.stages.iter().any(|name| name == stage);
        (!fits).then(|| format!("is for stages {} only, not for {stage}", self.stages.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_is_told_which_there_are() {
        let words = "apple".parse::<Kind>().unwrap_err().to_string();
        let all = Kind::ALL.map(Kind::as_str).join(", ");
        assert_eq!(words, format!("`apple` is no kind of credential; one of {all}"));
    }

    #[test]
    fn addresses_are_checked() {
        let check = |name: &str, value: &str, good: bool| {
            assert_eq!(check_address(name, value).is_ok(), good, "{name} {value}");
        };
        for good in [
            "https://h.example",
            "HTTP://h:8080/a/b",
            "h.example/acme",
            "registry:5000",
            "ssh://git@h:22/x",
            "[::1]:1",
        ] {
            check("url", good, true);
        }
        for bad in [
            "",
            "://",
            "https://",
            "https:///path",
            "a b",
            "javascript://x",
            "file:///etc/passwd",
            "https://h/a b",
            "-",
            "h{}",
        ] {
            check("url", bad, false);
        }
        check("token_url", "h.example/token", false);
        check("token_url", "https://h.example/token", true);
        check("detail_url", "ssh://h", false);
        check("username", "a b://", true);
    }

    #[test]
    fn names() {
        for good in ["A", "_", "npm_token", "A1", &"A".repeat(100)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "../x",
            "A B",
            "1A",
            "A-B",
            "A\0",
            "ΑPI",
            "naïve",
            "GIT_HASH",
            "ENV",
            "PATH",
            &"A".repeat(101),
            &"A".repeat(256),
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values() {
        let check = |kind, value: &[u8], want: bool| assert_eq!(check_value(kind, value).is_ok(), want);
        check(Kind::Env, b"1234", true);
        check(Kind::Env, b"123", false);
        check(Kind::Env, b"123\n\n", false);
        check(Kind::Env, "äé".as_bytes(), true);
        check(Kind::Env, &vec![b'x'; VALUE_MAX], true);
        check(Kind::Env, &vec![b'x'; VALUE_MAX + 1], false);
        check(Kind::Env, b"12\x0034", false);
        check(Kind::Env, b"12\xff34", false);
        check(Kind::File, b"12\xff\x0034", true);
    }

    #[test]
    fn scopes() {
        for text in ["", "github/", "github/acme/", "git/example", "gitlab/a/b/c"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for text in ["/", "acme", "github/../", "a//", "git/a b", "github/acme/*"] {
            assert_eq!(text.parse::<Scope>(), Err(BadScope(text.to_owned())));
        }
    }

    #[test]
    fn limits() {
        let limits = Limits {
            events: vec![EventKind::Push],
            branches: vec!["release/.*".into()],
            stages: vec!["deploy".into()],
        };
        assert_eq!(limits.refuse_build(EventKind::Push, "release/1"), None);
        assert_eq!(
            limits.refuse_build(EventKind::Push, "my-release/1").as_deref(),
            Some("is for branches release/.* only, this is my-release/1")
        );
        assert_eq!(
            limits.refuse_build(EventKind::Manual, "release/1").as_deref(),
            Some("is for builds by push only, this one is by manual")
        );
        assert_eq!(limits.refuse_stage("deploy"), None);
        assert_eq!(limits.refuse_stage("test").as_deref(), Some("is for stages deploy only, not for test"));
        assert_eq!(Limits::default().refuse_build(EventKind::Manual, "x"), None);
        assert_eq!(Limits::default().refuse_stage("x"), None);
    }

    #[test]
    fn fields() {
        let check = |kind: Kind, fields: &[(&str, &str)], want: Option<&str>| {
            let fields = fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let said = kind.check_fields(&fields).err();
            assert_eq!(said.is_some(), want.is_some(), "{kind} {said:?}");
            assert!(said.unwrap_or_default().contains(want.unwrap_or_default()));
        };
        check(Kind::Env, &[], None);
        check(Kind::Env, &[("url", "x")], Some("has no field `url`"));
        check(Kind::Docker, &[("url", "registry.example.org")], Some("needs `username`"));
        check(Kind::Docker, &[("url", "registry.example.org"), ("username", "a\nb")], Some("control"));
        check(Kind::File, &[("path", "~/.config/x")], None);
        check(Kind::File, &[("path", "/etc/x")], None);
        for path in ["x", "~/../x", "/a/../b", "~", "/", "~/a//b", "/ocelot/io/x", "/proc/1/mem"] {
            check(Kind::File, &[("path", path)], Some("path"));
        }
        check(Kind::File, &[("path", "/ocelots/x")], None);
        check(Kind::Vcs, &[], Some("needs `url`"));
        check(Kind::Vcs, &[("type", "gitea")], Some("needs `url`"));
        check(Kind::Vcs, &[("type", "GitHub")], None);
        check(Kind::Vcs, &[("url", "https://git.example.org")], None);
        check(Kind::Kubeconfig, &[("id", "../x")], Some("id"));
    }
}
