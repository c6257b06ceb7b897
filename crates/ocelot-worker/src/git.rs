//! Calls the git program: arguments only, no shell, no prompts, no configuration but our own, no hooks.
//!
//! The only place that starts git. It never runs in a workspace that a job has used.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use ocelot_model::git::{KNOWN_HOSTS, SSH};
use ocelot_model::login::{KEY_FILE, Login, SSH_OPTIONS};
use ocelot_model::roots::CA_FILE;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// Longest part of git's words that is kept, in bytes, from the end.
const WORDS: usize = 16 << 10;

/// Which ways to other repositories a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ways<'a> {
    /// None: it works in one repository.
    None,
    /// A repository of this machine.
    Local,
    /// What a clone URL may use: `https` and `ssh`.
    Net {
        /// `http` too, because the URL that an admin gave is one.
        plain: bool,
        /// Keys of the hosts that were met over ssh.
        known_hosts: &'a Path,
        /// Who Ocelot is there.
        access: Option<Access<'a>>,
        /// The file with the authorities that the host is believed with; git's own when `None`.
        ca: Option<&'a Path>,
    },
}

/// Who Ocelot is for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access<'a> {
    /// The credential.
    pub(crate) login: &'a Login,
    /// The file with its key, over ssh.
    pub(crate) key: Option<&'a Path>,
}

impl Ways<'_> {
    fn protocols(self) -> &'static str {
        match self {
            Ways::None => "",
            Ways::Local => "file",
            Ways::Net { plain: false, .. } => "https:ssh",
            Ways::Net { plain: true, .. } => "https:ssh:http",
        }
    }
}

/// git said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub(crate) struct GitError {
    /// What it, ssh or the host said, in one line.
    pub(crate) words: String,
    /// The network or the machine is at fault, so that another try may help.
    pub(crate) infrastructure: bool,
}

impl GitError {
    /// There was no room for what it had to write.
    pub(crate) fn is_full_disk(&self) -> bool {
        self.words.contains("No space left")
    }

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
pub(crate) async fn git<S: AsRef<OsStr>>(
    folder: &Path,
    ways: Ways<'_>,
    args: &[S],
) -> Result<Said, GitError> {
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

fn command<S: AsRef<OsStr>>(folder: &Path, ways: Ways<'_>, args: &[S]) -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GIT_")) {
        command.env_remove(name);
    }
    command
        .current_dir(folder)
        .env_remove("SSH_ASKPASS")
        // The worker's own secret is nothing for programs that speak with other hosts.
        .env_remove("OCELOT_TOKEN")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_ALLOW_PROTOCOL", ways.protocols())
        .env("GIT_SSH_COMMAND", SSH)
        .env("GIT_HTTP_LOW_SPEED_LIMIT", "1")
        .env("GIT_HTTP_LOW_SPEED_TIME", "60")
        .env("LC_ALL", "C");
    if let Ways::Net { known_hosts, ca, .. } = ways {
        command.env(KNOWN_HOSTS, known_hosts);
        command.envs(ca.map(|ca| (CA_FILE, ca)));
    }
    let access = if let Ways::Net { access, .. } = ways { access } else { None };
    if let Some(Access { login, key }) = access {
        command.envs(login.variables());
        if let Some(key) = key {
            command.env("GIT_SSH_COMMAND", format!("{SSH}{SSH_OPTIONS}")).env(KEY_FILE, key);
        }
    }
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
    // After the empty one, which ends the list of those before it.
    if let Some(setting) = access.and_then(|access| access.login.setting()) {
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

fn failure(said: &str, status: std::process::ExitStatus) -> GitError {
    let words = ocelot_model::git::words(said);
    if words.is_empty() {
        return GitError::machine(format!("git ended with {status} and said nothing"));
    }
    GitError { infrastructure: is_infrastructure(said), words }
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
        "too slow",
        "broken pipe",
        "network is unreachable",
        "no route to host",
        "failed to connect",
        "couldn't connect",
        "early eof",
        "unexpected disconnect",
        "hung up unexpectedly",
        "rpc failed",
        "gnutls_handshake",
        "gnutls recv",
        "ssl_error",
        "error: 429",
        "error: 500",
        "error: 502",
        "error: 503",
        "error: 504",
        "no space left",
        "input/output error",
        "cannot allocate memory",
        "killed by signal",
        "died of signal",
    ]
    .iter()
    .any(|sign| words.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_it_is() {
        let check = |said: &str, want: bool| assert_eq!(is_infrastructure(said), want, "{said:?}");
        check("fatal: remote error: upload-pack: not our ref 0123\n", false);
        check("fatal: unable to access 'https://x/': Could not resolve host: x\n", true);
        check(
            "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.\n",
            false,
        );
        check("Host key verification failed.\nfatal: Could not read from remote repository.\n", false);
        check("ssh: connect to host x port 22: Connection refused\n", true);
        check("fatal: unable to access 'https://x/': Operation too slow. Less than 1 bytes/sec\n", true);
        check("fatal: repository 'https://x/gnutls/killed.git' not found\n", false);
        check("error: unable to write file x: No space left on device\n", true);
    }

    #[test]
    fn git_is_not_told_the_workers_secret() {
        let command = command(Path::new("/"), Ways::None, &["version"]);
        assert!(command.as_std().get_envs().any(|pair| pair == (OsStr::new("OCELOT_TOKEN"), None)));
    }

    #[tokio::test]
    async fn protocols_that_are_not_allowed_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}", dir.path().display());
        let net = |plain| Ways::Net { plain, known_hosts: dir.path(), access: None, ca: None };
        for ways in [Ways::None, net(false), net(true)] {
            let said = git(dir.path(), ways, &["ls-remote", "--end-of-options", &url]).await;
            let words = said.unwrap_err().words;
            assert!(words.contains("'file' not allowed"), "{words}");
        }
    }
}
