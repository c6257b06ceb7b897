//! A host that gives out repositories over ssh: the distribution's sshd with keys and a configuration of its own,
//! and an agent with the one key that it takes.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use crate::DEADLINE;

const SSHD: &str = "/usr/sbin/sshd";

/// See the module. It serves every repository that its user can read; gone when dropped.
#[derive(Debug)]
pub struct SshHost {
    folder: TempDir,
    address: SocketAddr,
    agent: Child,
    over: Arc<AtomicBool>,
}

impl SshHost {
    /// Starts it on a free port of 127.0.0.1.
    pub fn start() -> SshHost {
        let folder = tempfile::tempdir().expect("a folder");
        make_key(&folder.path().join("host"));
        make_key(&folder.path().join("client"));
        let agent = agent(folder.path());
        let config = configuration(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let over = Arc::new(AtomicBool::new(false));
        let (log, is_over) = (folder.path().join("sshd.log"), Arc::clone(&over));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                answer(stream, &config, &log);
            }
        });
        SshHost { folder, address, agent, over }
    }

    /// Address of a repository of this machine.
    pub fn url(&self, repo: &Path) -> String {
        format!("ssh://{}@{}{}", user(), self.address, repo.display())
    }

    /// The value of `SSH_AUTH_SOCK` for whom the host lets in.
    pub fn agent(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    /// The private key of whom the host lets in.
    pub fn client_key(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("client")).expect("a key")
    }

    /// From now on the host shows another key, as one that somebody has put in its place would.
    pub fn change_key(&self) {
        make_key(&self.folder.path().join("host"));
    }
}

impl Drop for SshHost {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the listener up.
        let _ = TcpStream::connect(self.address);
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// One process for each connection, as an inetd has it: nothing must be waited for, and no port is lost.
fn answer(stream: TcpStream, config: &Path, log: &Path) {
    let output = stream.try_clone().expect("a second handle");
    let mut sshd = Command::new(SSHD);
    sshd.arg("-i").arg("-f").arg(config).arg("-E").arg(log);
    sshd.stdin(OwnedFd::from(stream)).stdout(OwnedFd::from(output)).stderr(Stdio::null());
    std::thread::spawn(move || sshd.status());
}

fn configuration(folder: &Path) -> PathBuf {
    assert!(Path::new(SSHD).exists(), "{SSHD} is missing: `apt-get install -y openssh-server`");
    // A service manager makes it elsewhere; started by root, sshd insists on it.
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all("/run/sshd").expect("/run/sshd");
    }
    let path = folder.join("sshd_config");
    let of = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nPermitRootLogin yes\n",
        of("host"),
        of("client.pub"),
    );
    fs::write(&path, text).expect("a file");
    path
}

fn make_key(path: &Path) {
    let _ = fs::remove_file(path);
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path));
}

/// An agent that holds the client's key.
fn agent(folder: &Path) -> Child {
    let socket = folder.join("agent");
    let quiet = File::create(folder.join("agent.log")).expect("a file");
    let agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(quiet).spawn();
    let agent = agent.expect("ssh-agent is missing: `apt-get install -y openssh-client`");
    let begin = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(begin.elapsed() < DEADLINE, "ssh-agent does not listen");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    run(Command::new("ssh-add").arg("-q").arg(folder.join("client")).env("SSH_AUTH_SOCK", &socket));
    agent
}

fn user() -> String {
    run(Command::new("id").arg("-un")).trim().to_owned()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
