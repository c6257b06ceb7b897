//! Calls the git program: arguments only, no shell, no prompts, no configuration but our own, no hooks.
//!
//! The only place that starts git. It never runs in a workspace that a job has used.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// Longest part of git's words that is kept, in bytes, from the end.
const WORDS: usize = 16 << 10;

/// Which ways to other repositories a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ways {
    /// None: it works in one repository.
    None,
    /// A repository of this machine.
    Local,
    /// What a clone URL may use: `https` and `ssh`.
    Secure,
    /// `http` too, because the URL that an admin gave is one.
    Plain,
}

impl Ways {
    fn protocols(self) -> &'static str {
        match self {
            Ways::None => "",
            Ways::Local => "file",
            Ways::Secure => "https:ssh",
            Ways::Plain => "https:ssh:http",
        }
    }
}

/// git said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub(crate) struct GitError {
    /// Its own last line, without `fatal:`.
    pub(crate) words: String,
    /// The network or the machine is at fault, so that another try may help.
    pub(crate) infrastructure: bool,
}

impl GitError {
    pub(crate) fn machine(words: impl Into<String>) -> GitError {
        GitError { words: words.into(), infrastructure: true }
    }

    pub(crate) fn definite(words: impl Into<String>) -> GitError {
        GitError { words: words.into(), infrastructure: false }
    }

    pub(crate) fn io(what: &str) -> impl FnOnce(std::io::Error) -> GitError {
        move |error| GitError::machine(format!("{what}: {error}"))
    }
}

/// What a call that worked has said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

/// Runs git in `folder` and waits for it. Dropped, it ends git and whatever git has started.
pub(crate) async fn git<S: AsRef<OsStr>>(folder: &Path, ways: Ways, args: &[S]) -> Result<Said, GitError> {
    let mut child = command(folder, ways, args).spawn().map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return GitError::machine("git is not installed on the worker: apt-get install git");
        }
        GitError::machine(format!("git cannot be started: {error}"))
    })?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(id as i32)));
    let (out, err) = tokio::join!(tail(child.stdout.take()), tail(child.stderr.take()));
    let status = wait(&mut child, group).await.map_err(GitError::io("git"))?;
    if status.success() { Ok(Said { out, err }) } else { Err(failure(&err, status)) }
}

fn command<S: AsRef<OsStr>>(folder: &Path, ways: Ways, args: &[S]) -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GIT_")) {
        command.env_remove(name);
    }
    command
        .current_dir(folder)
        .env_remove("SSH_ASKPASS")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_ALLOW_PROTOCOL", ways.protocols())
        .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15")
        .env("GIT_HTTP_LOW_SPEED_LIMIT", "1")
        .env("GIT_HTTP_LOW_SPEED_TIME", "60")
        .env("LC_ALL", "C");
    let ours = [
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        // What a crash of the machine damages is made anew: a mirror at the next checkout, a workspace by the next attempt.
        "core.fsync=none",
        "gc.auto=0",
        "maintenance.auto=false",
        "advice.detachedHead=false",
        "submodule.recurse=false",
        "credential.helper=",
        "init.defaultBranch=main",
    ];
    for setting in ours {
        command.arg("-c").arg(setting);
    }
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Its own group, so that what git starts can be ended with it.
        .process_group(0);
    command
}

/// Ends git's whole process group unless git has ended by itself.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Gone already is fine.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn wait(child: &mut Child, mut group: Group) -> std::io::Result<std::process::ExitStatus> {
    let status = child.wait().await?;
    group.0 = None;
    Ok(status)
}

/// The last bytes of what is read, as text.
async fn tail(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    let Some(mut pipe) = pipe else { return String::new() };
    let mut piece = vec![0; 8 << 10];
    while let Ok(length @ 1..) = pipe.read(&mut piece).await {
        kept.extend_from_slice(&piece[..length]);
        if kept.len() > 2 * WORDS {
            kept.drain(..kept.len() - WORDS);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn failure(words: &str, status: std::process::ExitStatus) -> GitError {
    let line = last_words(words);
    if line.is_empty() {
        return GitError::machine(format!("git ended with {status} and said nothing"));
    }
    GitError { infrastructure: is_infrastructure(words), words: line }
}

/// The most telling of git's lines: the last `fatal:` or `error:`, else the last one.
fn last_words(words: &str) -> String {
    let mut lines = words.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let telling = |line: &&str| {
        ["fatal: ", "error: ", "ERROR: ", "remote: "].iter().any(|mark| line.starts_with(mark))
            && !line.contains("Could not read from remote repository")
    };
    let last = lines.clone().next().unwrap_or_default();
    let line = lines.find(telling).unwrap_or(last);
    let line = line.strip_prefix("fatal: ").or_else(|| line.strip_prefix("error: ")).unwrap_or(line);
    line.chars().take(500).collect()
}

/// Whether git's words speak of the network or the disk, rather than of something that is not there or not
/// allowed.
fn is_infrastructure(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    [
        "could not resolve",
        "name or service not known",
        "temporary failure in name resolution",
        "connection refused",
        "connection reset",
        "connection timed out",
        "connection closed",
        "operation timed out",
        "timed out",
        "network is unreachable",
        "no route to host",
        "failed to connect",
        "couldn't connect",
        "early eof",
        "unexpected disconnect",
        "hung up unexpectedly",
        "rpc failed",
        "gnutls",
        "ssl_error",
        "error: 429",
        "error: 500",
        "error: 502",
        "error: 503",
        "error: 504",
        "no space left",
        "input/output error",
        "cannot allocate memory",
        "killed",
    ]
    .iter()
    .any(|sign| words.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_whose_fault() {
        let check = |said: &str, want: &str, infrastructure: bool| {
            assert_eq!(
                (last_words(said).as_str(), is_infrastructure(said)),
                (want, infrastructure),
                "{said:?}"
            );
        };
        check(
            "fatal: remote error: upload-pack: not our ref 0123\n",
            "remote error: upload-pack: not our ref 0123",
            false,
        );
        check(
            "fatal: unable to access 'https://x/': Could not resolve host: x\n",
            "unable to access 'https://x/': Could not resolve host: x",
            true,
        );
        check(
            "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.\n\nPlease make sure \
             you have the correct access rights\nand the repository exists.\n",
            "and the repository exists.",
            false,
        );
        check(
            "ERROR: Repository not found.\nfatal: Could not read from remote repository.\n",
            "ERROR: Repository not found.",
            false,
        );
        check("fatal: repository '/none' does not exist\n", "repository '/none' does not exist", false);
        check(
            "error: unable to write file x: No space left on device\n",
            "unable to write file x: No space left on device",
            true,
        );
    }

    #[tokio::test]
    async fn protocols_that_are_not_allowed_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}", dir.path().display());
        for ways in [Ways::None, Ways::Secure, Ways::Plain] {
            let said = git(dir.path(), ways, &["ls-remote", "--end-of-options", &url]).await;
            let words = said.unwrap_err().words;
            assert!(words.contains("'file' not allowed"), "{words}");
        }
    }
}
