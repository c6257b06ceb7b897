//! Who Ocelot is for a host of git repositories: which credential fits a clone URL, and how git gets it. Pure.
//!
//! A password goes to git by the environment and a helper that is asked for one address only; it stands in no argument, no URL
//! and no file. A key goes by a file, which whoever starts git makes and removes.

use std::collections::BTreeMap;

use crate::hidden::Hidden;
use crate::secret::Kind;

/// Names the file with the private key, for [`SSH_OPTIONS`].
pub const KEY_FILE: &str = "OCELOT_SSH_KEY";
/// What is added to the command of ssh: this key and no other one.
pub const SSH_OPTIONS: &str =
    " -o 'IdentityFile=${OCELOT_SSH_KEY}' -o IdentitiesOnly=yes -o IdentityAgent=none";

const USER: &str = "OCELOT_GIT_USER";
const PASSWORD: &str = "OCELOT_GIT_PASSWORD";
/// A helper of git: no part of user or password is read by the shell that runs it.
const HELPER: &str = "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \"$OCELOT_GIT_USER\" \"$OCELOT_GIT_PASSWORD\"; }; f";

/// A credential for one clone URL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Login {
    /// Name of the credential, for people.
    pub name: String,
    /// Password or key.
    pub way: Way,
}

/// See [`Login`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Way {
    /// Over HTTPS.
    Password {
        /// User.
        user: String,
        /// Password or token.
        password: String,
        /// `https://host:port`: nobody else is told.
        origin: String,
    },
    /// Over ssh: the private key.
    Key(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Login {
    /// The argument for `git -c`, when there is one.
    pub fn setting(&self) -> Option<String> {
        match &self.way {
            Way::Password { origin, .. } => Some(format!("credential.{origin}.helper={HELPER}")),
            Way::Key(_) => None,
        }
    }

    /// Variables of git's process.
    pub fn variables(&self) -> Vec<(&'static str, &str)> {
        match &self.way {
            Way::Password { user, password, .. } => vec![(USER, user), (PASSWORD, password)],
            Way::Key(_) => Vec::new(),
        }
    }

    /// What a host must not say back.
    pub fn hidden(&self) -> Hidden {
        match &self.way {
            Way::Password { user, password, .. } => Hidden::default().login(user, password),
            Way::Key(key) => Hidden::default().value(key),
        }
    }

    /// What a host's refusal means when this was used.
    pub fn explain(&self, words: &str) -> String {
        let Login { name, way } = self;
        // It was not even shown.
        if words.contains("Host key verification failed") {
            return words.to_owned();
        }
        let kind = match way {
            Way::Password { .. } => "vcs",
            Way::Key(_) => "ssh",
        };
        format!(
            "{words} (with the credential {name}: it is wrong or has expired, or may not read this repository; \
             `ocelot creds {kind} add {name}` changes it)"
        )
    }
}

/// What a host's refusal of who has no credential for this URL means.
pub fn explain_none(words: &str, url: &str) -> String {
    let add = match Place::of(url) {
        Some(Place { ssh: true, .. }) => "`ocelot creds ssh add NAME` gives it a key",
        Some(Place { ssh: false, .. }) => {
            "`ocelot creds vcs add NAME --field url=URL --field username=USER` gives it one"
        }
        None => return words.to_owned(),
    };
    if words.contains("Host key verification failed") {
        return words.to_owned();
    }
    format!("{words} (Ocelot has no credential for this address: {add})")
}

/// A credential that may be tried, nearest scope first.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'c> {
    /// What it is for.
    pub kind: Kind,
    /// Its fields.
    pub fields: &'c BTreeMap<String, String>,
}

/// Which of the candidates fits the URL best: one that names its host before a key that names none.
pub fn choose(url: &str, candidates: &[Candidate<'_>]) -> Option<usize> {
    let place = Place::of(url)?;
    let fits = |kind: Kind| matches!((kind, place.ssh), (Kind::Vcs, false) | (Kind::Ssh, true));
    let rank = |candidate: &Candidate<'_>| {
        match home(candidate) {
            _ if !fits(candidate.kind) => None,
            Some(home) => place.is_below(home).then_some(0),
            // A password is shown to the host that it is for and to no other: who may add a repository may name any host.
            None => place.ssh.then_some(1),
        }
    };
    let ranked = candidates.iter().enumerate().filter_map(|(at, candidate)| Some((rank(candidate)?, at)));
    ranked.min().map(|(_, at)| at)
}

impl Candidate<'_> {
    /// The login of the chosen credential.
    pub fn login(&self, name: &str, url: &str, value: &str) -> Login {
        let way = match self.kind {
            Kind::Vcs => Way::Password {
                user: user(self.fields),
                password: value.to_owned(),
                origin: Place::of(url).map(|place| place.origin()).unwrap_or_default(),
            },
            // ssh reads no key whose last line has no end.
            _ => Way::Key(format!("{}\n", value.trim_end())),
        };
        Login { name: name.to_owned(), way }
    }
}

/// The name under which a forge takes a token that belongs to nobody.
fn user(fields: &BTreeMap<String, String>) -> String {
    if let Some(user) = fields.get("username") {
        return user.clone();
    }
    let forge = fields.get("type").map(|kind| kind.to_ascii_lowercase());
    match forge.as_deref() {
        Some("github") => "x-access-token",
        Some("gitlab") => "oauth2",
        Some("bitbucket") => "x-token-auth",
        _ => "git",
    }
    .to_owned()
}

fn home<'c>(candidate: &Candidate<'c>) -> Option<&'c str> {
    home_of(candidate.fields)
}

/// The address that a credential with these fields is for.
pub(crate) fn home_of(fields: &BTreeMap<String, String>) -> Option<&str> {
    if let Some(url) = fields.get("url") {
        return Some(url);
    }
    let forge = fields.get("type")?.to_ascii_lowercase();
    match forge.as_str() {
        "github" => Some("https://github.com"),
        "gitlab" => Some("https://gitlab.com"),
        "bitbucket" => Some("https://bitbucket.org"),
        _ => None,
    }
}

/// The parts of a clone URL that say whom it reaches.
#[derive(Debug)]
struct Place<'u> {
    ssh: bool,
    plain: bool,
    scheme: &'u str,
    /// With its port.
    host: &'u str,
    path: &'u str,
}

impl<'u> Place<'u> {
    fn of(url: &'u str) -> Option<Place<'u>> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        Place::read(url).filter(|place| !place.host.is_empty() && place.host.chars().all(plain))
    }

    fn read(url: &'u str) -> Option<Place<'u>> {
        let Some((scheme, rest)) = url.split_once("://") else {
            // `git@host:path`.
            let (user, path) = url.split_once(':').filter(|(user, _)| !user.contains('/'))?;
            let host = user.rsplit('@').next().unwrap_or(user);
            return Some(Place { ssh: true, plain: false, scheme: "ssh", host, path });
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let ssh = matches!(scheme, "ssh" | "git+ssh");
        let known = ssh || matches!(scheme, "https" | "http");
        known.then_some(Place { ssh, plain: scheme == "http", scheme, host, path })
    }

    fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }

    /// Whether it lies below the address of a credential: a bare host, or a URL, with a path or not.
    fn is_below(&self, home: &str) -> bool {
        let (scheme, rest) =
            home.split_once("://").map_or((None, home), |(scheme, rest)| (Some(scheme), rest));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host.rsplit('@').next().unwrap_or(host);
        let scheme_fits = match scheme {
            None => !self.plain,
            Some("ssh") => self.ssh,
            Some(scheme) => self.ssh || scheme == self.scheme,
        };
        let same_host = host.eq_ignore_ascii_case(self.host)
            || (self.ssh && host.split(':').next() == self.host.split(':').next());
        let path = path.trim_end_matches('/');
        let below = self.path.trim_start_matches('/').strip_prefix(path);
        scheme_fits
            && same_host
            && below.is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = &'static [(&'static str, &'static str)];

    fn check(url: &str, credentials: &[(Kind, Fields)], want: Option<usize>) {
        let fields: Vec<BTreeMap<String, String>> = credentials
            .iter()
            .map(|(_, fields)| fields.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
            .collect();
        let candidates: Vec<Candidate<'_>> = credentials
            .iter()
            .zip(&fields)
            .map(|((kind, _), fields)| Candidate { kind: *kind, fields })
            .collect();
        assert_eq!(choose(url, &candidates), want, "{url} {credentials:?}");
    }

    #[test]
    fn who_is_told_what() {
        fn vcs(fields: Fields) -> (Kind, Fields) {
            (Kind::Vcs, fields)
        }
        fn ssh(fields: Fields) -> (Kind, Fields) {
            (Kind::Ssh, fields)
        }
        check("https://github.com/acme/app.git", &[ssh(&[]), vcs(&[])], None);
        check("https://github.com/acme/app.git", &[ssh(&[]), vcs(&[("type", "github")])], Some(1));
        check("git@github.com:acme/app.git", &[vcs(&[]), ssh(&[])], Some(1));
        check("ssh://git@github.com:22/acme/app", &[vcs(&[]), ssh(&[])], Some(1));
        check("https://github.com/acme/app", &[vcs(&[]), vcs(&[("type", "GITHUB")])], Some(1));
        check("https://evil.example/acme/app", &[vcs(&[("type", "GITHUB")])], None);
        check("https://github.com.evil.example/app", &[vcs(&[("url", "https://github.com")])], None);
        check("https://github.com@evil.example/app", &[vcs(&[("url", "https://github.com")])], None);
        check("https://git.example:8443/a", &[vcs(&[("url", "https://git.example")])], None);
        check("https://git.example/acme/app", &[vcs(&[("url", "git.example/acme")])], Some(0));
        check("https://git.example/acme2/app", &[vcs(&[("url", "git.example/acme")])], None);
        check("http://git.example/acme/app", &[vcs(&[])], None);
        check("http://git.example/acme/app", &[vcs(&[("url", "git.example")])], None);
        check("http://git.example/acme/app", &[vcs(&[("url", "http://git.example")])], Some(0));
        check("git@git.example:app", &[ssh(&[("url", "ssh://git@git.example")])], Some(0));
        check("git@git.example:app", &[ssh(&[("url", "other.example")])], None);
        check("/srv/app", &[vcs(&[]), ssh(&[])], None);
        check("file:///srv/app", &[vcs(&[]), ssh(&[])], None);
    }

    #[test]
    fn a_password_stands_in_no_argument() {
        let fields = BTreeMap::from([("type".to_owned(), "GITHUB".to_owned())]);
        let candidate = Candidate { kind: Kind::Vcs, fields: &fields };
        let login = candidate.login("CLONE", "https://me@github.com/acme/app", "canary");
        let setting = login.setting().unwrap();
        assert!(
            setting.starts_with("credential.https://github.com.helper=!f()") && !setting.contains("canary")
        );
        assert_eq!(login.variables(), [(USER, "x-access-token"), (PASSWORD, "canary")]);
        assert!(!format!("{login:?}").contains("canary"));
        assert!(login.explain("Authentication failed").contains("`ocelot creds vcs add CLONE`"));
    }
}
