//! The git checkout that one stands in. Reads only; a folder without git is no error here.

use std::path::PathBuf;
use std::process::Command;

use url::Url;

/// What git says about the current folder.
#[derive(Debug, Default)]
pub(crate) struct Checkout {
    /// Top folder.
    pub(crate) top: Option<PathBuf>,
    /// Address of the remote `origin`.
    pub(crate) origin: Option<String>,
    /// Current branch; absent on a detached head.
    pub(crate) branch: Option<String>,
    /// Current commit.
    pub(crate) commit: Option<String>,
}

impl Checkout {
    /// Asks git; what it does not know stays empty.
    pub(crate) fn here() -> Checkout {
        let Some(top) = git(&["rev-parse", "--show-toplevel"]) else { return Checkout::default() };
        Checkout {
            top: Some(PathBuf::from(top)),
            origin: git(&["remote", "get-url", "origin"]),
            branch: git(&["symbolic-ref", "--quiet", "--short", "HEAD"]),
            commit: git(&["rev-parse", "--verify", "--quiet", "HEAD"]),
        }
    }

    /// True when `clone_url` names this checkout's origin, or the checkout itself.
    pub(crate) fn comes_from(&self, clone_url: &str) -> bool {
        let want = place(clone_url);
        let top = self.top.as_ref().map(|top| top.to_string_lossy().into_owned());
        [self.origin.as_deref(), top.as_deref()].into_iter().flatten().any(|url| place(url) == want)
    }
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim_end_matches('\n');
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

/// Host and path of an address, the same for all the ways in which git writes it.
fn place(url: &str) -> String {
    // Blanks and the like are written with `%` in a URL.
    let path =
        Url::parse(url).ok().filter(|url| url.scheme() == "file").and_then(|url| url.to_file_path().ok());
    let path = path.and_then(|path| path.to_str().map(str::to_owned));
    let url = path.as_deref().unwrap_or(url);
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.trim_end_matches('/');
    let rest = rest.strip_suffix(".git").unwrap_or(rest).trim_end_matches('/');
    if scheme == "file" || (scheme.is_empty() && !rest.contains(':')) {
        return rest.to_owned();
    }
    let slash = rest.find('/').unwrap_or(rest.len());
    let rest = match rest[..slash].rfind('@') {
        Some(at) => &rest[at + 1..],
        None => rest,
    };
    // `host:path` without a scheme; with one, what follows the colon is a port.
    let rest = if scheme.is_empty() { rest.replacen(':', "/", 1) } else { rest.to_owned() };
    match rest.split_once('/') {
        Some((host, path)) => {
            let host = host.split(':').next().unwrap_or(host).to_lowercase();
            format!("{host}/{}", path.trim_start_matches('/'))
        }
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repository_has_many_addresses() {
        let check = |url: &str, want: &str| assert_eq!(place(url), want, "{url}");
        check("https://github.com/acme/app.git", "github.com/acme/app");
        check("https://me:secret@GitHub.com/acme/app/", "github.com/acme/app");
        check("git@github.com:acme/app.git", "github.com/acme/app");
        check("ssh://git@github.com:22/acme/app.git", "github.com/acme/app");
        check("file:///srv/git/app.git", "/srv/git/app");
        check("/srv/git/app", "/srv/git/app");
        check("file:///srv/my%20git/app.git/", "/srv/my git/app");
        check("/srv/my git/app", "/srv/my git/app");
    }
}
