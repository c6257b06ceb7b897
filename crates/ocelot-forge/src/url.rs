//! Which URLs may be cloned. Decides by the text alone and asks nobody.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ocelot_model::login::Login;

use crate::key_file::KeyFile;

/// A URL that passed [`check`]; the only thing that git is ever given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneUrl {
    text: String,
    scheme: Scheme,
    access: Option<Arc<Access>>,
    ca: Option<Arc<KeyFile>>,
}

/// Who Ocelot is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) login: Login,
    /// Of a login over ssh.
    pub(crate) key: Option<KeyFile>,
}

/// How git reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `https://`.
    Https,
    /// `http://`.
    Http,
    /// `ssh://` or `user@host:path`.
    Ssh,
    /// `file://` or an absolute path.
    File,
}

impl Scheme {
    /// The word for it in `GIT_ALLOW_PROTOCOL`.
    pub(crate) const fn protocol(self) -> &'static str {
        match self {
            Scheme::Https => "https",
            Scheme::Http => "http",
            Scheme::Ssh => "ssh",
            Scheme::File => "file",
        }
    }
}

impl CloneUrl {
    pub(crate) fn with(self, access: Access) -> CloneUrl {
        CloneUrl { access: Some(Arc::new(access)), ..self }
    }

    /// The host is believed with the authorities in this file.
    pub(crate) fn believed(self, ca: KeyFile) -> CloneUrl {
        CloneUrl { ca: Some(Arc::new(ca)), ..self }
    }

    /// The file with them.
    pub(crate) fn ca(&self) -> Option<&Path> {
        self.ca.as_deref().map(KeyFile::path)
    }

    pub(crate) fn access(&self) -> Option<&Access> {
        self.access.as_deref()
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How git reaches it.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl fmt::Display for CloneUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What the server's configuration allows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allowed {
    pub(crate) local: bool,
    pub(crate) insecure_http: bool,
}

/// Checks a URL; the error says what is wrong and what to do.
pub(crate) fn check(text: &str, allowed: Allowed) -> Result<CloneUrl, String> {
    if text.is_empty() || text.len() > 2048 || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("a clone URL has 1 to 2048 characters, without blanks and control characters".to_owned());
    }
    let scheme = scheme(text, allowed)?;
    Ok(CloneUrl { text: text.to_owned(), scheme, access: None, ca: None })
}

fn scheme(text: &str, allowed: Allowed) -> Result<Scheme, String> {
    if text.starts_with('/') {
        return local(text, text, allowed);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return scp(text);
    };
    match scheme.to_ascii_lowercase().as_str() {
        "https" => web(text, rest).map(|_| Scheme::Https),
        "http" => {
            let host = web(text, rest)?;
            if allowed.insecure_http || is_loopback(host) {
                return Ok(Scheme::Http);
            }
            Err(format!(
                "`{text}` is plain http, which anyone on the way can read and change; use https, or start the server with --insecure-http"
            ))
        }
        "ssh" => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or(host);
            if host.is_empty() || path.is_empty() || rest.starts_with('-') || host.starts_with('-') {
                return Err(format!("`{text}` needs a host and a path: ssh://git@host/owner/name.git"));
            }
            Ok(Scheme::Ssh)
        }
        "file" => local(text, rest, allowed),
        other => {
            Err(format!("`{other}://` cannot be cloned; use https://, ssh:// or git@host:owner/name.git"))
        }
    }
}

fn local(text: &str, path: &str, allowed: Allowed) -> Result<Scheme, String> {
    if !path.starts_with('/') {
        return Err(format!("`{text}` is no absolute path"));
    }
    if allowed.local {
        return Ok(Scheme::File);
    }
    Err(format!(
        "`{text}` lies on the server's own disk; start the server with --allow-local-repos (OCELOT_ALLOW_LOCAL_REPOS=true) to permit that"
    ))
}

/// The host of a web address without user and password.
fn web<'a>(text: &str, rest: &'a str) -> Result<&'a str, String> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err("a clone URL must not hold a user or password".to_owned());
    }
    if authority.is_empty() || path.is_empty() || authority.starts_with('-') {
        return Err(format!("`{text}` needs a host and a path: https://host/owner/name.git"));
    }
    Ok(authority)
}

/// `user@host:path`.
fn scp(text: &str) -> Result<Scheme, String> {
    let parts = text.split_once(':').and_then(|(left, path)| Some((left.split_once('@')?, path)));
    match parts {
        // `ext::sh -c …` and the like have two colons in a row.
        Some(((user, host), path))
            if plain(user) && plain(host) && !path.is_empty() && !path.starts_with([':', '-']) =>
        {
            Ok(Scheme::Ssh)
        }
        _ => Err(format!(
            "`{text}` is no clone URL; write https://host/owner/name.git, ssh://git@host/owner/name.git or git@host:owner/name.git"
        )),
    }
}

fn plain(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with('-')
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_url(text: &str, want: Result<Scheme, &str>) {
        let none = Allowed::default();
        match (check(text, none), want) {
            (Ok(url), Ok(scheme)) => assert_eq!(url.scheme, scheme, "{text}"),
            (Err(why), Err(words)) => assert!(why.contains(words), "{text}: {why}"),
            (got, want) => panic!("{text}: {got:?}, wanted {want:?}"),
        }
    }

    #[test]
    fn what_may_be_cloned() {
        check_url("https://github.com/acme/app.git", Ok(Scheme::Https));
        check_url("HTTPS://github.com/acme/app.git", Ok(Scheme::Https));
        check_url("ssh://git@github.com:22/acme/app.git", Ok(Scheme::Ssh));
        check_url("git@github.com:acme/app.git", Ok(Scheme::Ssh));
        check_url("http://127.0.0.1:3000/app.git", Ok(Scheme::Http));
        check_url("http://[::1]:3000/app.git", Ok(Scheme::Http));
        check_url("http://localhost/app.git", Ok(Scheme::Http));
    }

    #[test]
    fn what_may_not() {
        check_url("http://example.com/app.git", Err("--insecure-http"));
        check_url("http://127.0.0.1.example.com/app.git", Err("--insecure-http"));
        check_url("https://me:secret@host/app.git", Err("user or password"));
        check_url("https://host", Err("a host and a path"));
        check_url("file:///srv/app.git", Err("--allow-local-repos"));
        check_url("/srv/app.git", Err("--allow-local-repos"));
        check_url("file://srv/app.git", Err("no absolute path"));
        check_url("ext::sh -c id", Err("without blanks"));
        check_url("ext::id", Err("no clone URL"));
        check_url("git@host::x", Err("no clone URL"));
        check_url("--upload-pack=id", Err("no clone URL"));
        check_url("-oProxyCommand=id@host:x", Err("no clone URL"));
        check_url("git@-oProxyCommand=id:x", Err("no clone URL"));
        check_url("ssh://-oProxyCommand=id/x", Err("a host and a path"));
        check_url("ssh://git@-oProxyCommand=id/x", Err("a host and a path"));
        check_url("git://host/app.git", Err("cannot be cloned"));
        check_url("relative/path", Err("no clone URL"));
        check_url("", Err("1 to 2048"));
        check_url("https://host/a\nb", Err("control characters"));
    }

    #[test]
    fn local_paths_when_the_server_allows_them() {
        let allowed = Allowed { local: true, insecure_http: false };
        for text in ["/srv/app.git", "file:///srv/app.git"] {
            assert_eq!(check(text, allowed).map(|url| url.scheme), Ok(Scheme::File), "{text}");
        }
    }
}
