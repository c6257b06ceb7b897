//! Runs git: arguments only (never a shell), a closed environment, bounded time and bounded output.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use ocelot_model::git::{KNOWN_HOSTS, SSH, is_no_access, words};
use ocelot_model::login::{KEY_FILE, SSH_OPTIONS, explain_none};
use ocelot_model::roots::CA_FILE;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::error::GitError;
use crate::url::{Access, CloneUrl};

/// The longest that one git process may take.
pub(crate) const TIME: Duration = Duration::from_secs(30);
/// The most that is read of what git prints.
const OUTPUT: u64 = 16 << 20;
/// The most that is read of what git complains.
const WORDS: u64 = 64 << 10;

/// git with nothing of the machine's or the user's configuration. `url` opens its own protocol only.
pub(crate) fn git(config: &Path, known_hosts: &Path, url: Option<&CloneUrl>) -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .envs(kept())
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", config)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_SSH_COMMAND", SSH)
        .env(KNOWN_HOSTS, known_hosts)
        .env("GIT_ALLOW_PROTOCOL", url.map_or("none", |url| url.scheme().protocol()))
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Its own group, so that what git starts can be ended with it.
        .process_group(0)
        .kill_on_drop(true);
    if let Some(ca) = url.and_then(CloneUrl::ca) {
        command.env(CA_FILE, ca);
    }
    if let Some(Access { login, key }) = url.and_then(CloneUrl::access) {
        if let Some(setting) = login.setting() {
            command.arg("-c").arg(setting);
        }
        command.envs(login.variables());
        if let Some(key) = key {
            command.env("GIT_SSH_COMMAND", format!("{SSH}{SSH_OPTIONS}")).env(KEY_FILE, key.path());
        }
    }
    command
}

/// Ends git's whole process group unless git has ended by itself: its helpers would wait for a silent host for ever.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Gone already is fine.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// What git and ssh need of our own environment: programs, keys, proxies, certificates.
fn kept() -> impl Iterator<Item = (String, String)> {
    const KEPT: [&str; 12] = [
        "PATH",
        "HOME",
        "SSH_AUTH_SOCK",
        "TMPDIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "http_proxy",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "no_proxy",
        "NO_PROXY",
    ];
    std::env::vars().filter(|(name, _)| KEPT.contains(&name.as_str()))
}

/// Runs to the end and gives what it printed; a bad end is an error in git's own words.
pub(crate) async fn run(mut command: Command, url: &CloneUrl) -> Result<Vec<u8>, GitError> {
    run_for(&mut command, TIME, url).await
}

/// [`run`] with another limit.
pub(crate) async fn run_for(
    command: &mut Command,
    limit: Duration,
    url: &CloneUrl,
) -> Result<Vec<u8>, GitError> {
    let output = tokio::time::timeout(limit, collect(command))
        .await
        .map_err(|_| GitError::Timeout { url: url.to_string(), seconds: limit.as_secs() })??;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(complaint(&output.stderr, url))
}

async fn collect(command: &mut Command) -> Result<Output, GitError> {
    let mut child = command.spawn().map_err(GitError::Io)?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(GitError::Io(std::io::Error::other("git has no output")));
    };
    let (stdout, stderr) =
        tokio::try_join!(bounded(out, OUTPUT), bounded(err, WORDS)).map_err(GitError::Io)?;
    if stdout.len() as u64 > OUTPUT {
        return Err(GitError::TooLarge("git's answer has more than 16 MiB".to_owned()));
    }
    let status = child.wait().await.map_err(GitError::Io)?;
    group.0 = None;
    Ok(Output { status, stdout, stderr })
}

/// Up to one byte more than `limit`; of what follows nothing is kept, but it is read, so that git can end.
async fn bounded(from: impl AsyncRead + Unpin, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut from = from.take(limit + 1);
    let mut data = Vec::new();
    from.read_to_end(&mut data).await?;
    if limit == WORDS {
        tokio::io::copy(&mut from.into_inner(), &mut tokio::io::sink()).await?;
    }
    Ok(data)
}

/// What was said on standard error as the error that it stands for.
pub(crate) fn complaint(stderr: &[u8], url: &CloneUrl) -> GitError {
    let said = String::from_utf8_lossy(stderr);
    let said = match url.access() {
        Some(access) => access.login.hidden().hide(&said),
        None => said.into_owned(),
    };
    let words = match words(&said) {
        words if words.is_empty() => "git failed without a word".to_owned(),
        words => words,
    };
    // The last one is all that `git init` says of it.
    let full = ["No space left on device", "Disk quota exceeded", "failed to write new configuration file"];
    if full.iter().any(|sign| words.contains(sign)) {
        return GitError::DiskFull(words);
    }
    let missing = ["not found", "does not appear to be a git repository", "does not exist"];
    if is_no_access(&words) {
        let words = match url.access() {
            Some(access) => access.login.explain(&words),
            None => explain_none(&words, url.as_str()),
        };
        return GitError::NoAccess { url: url.to_string(), words };
    }
    if missing.iter().any(|sign| words.contains(sign)) {
        return GitError::NotFound(url.to_string());
    }
    GitError::Failed(words)
}
