//! One PostgreSQL for all tests of this binary: made in a folder of its own, gone when the tests end, however they end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::DEADLINE;

/// The running database server.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    fsync: &'static str,
    /// Its input is held open by this process alone: when it ends, even by a kill, the guard reads the end and stops
    /// the server.
    _guard: Child,
}

impl Postgres {
    /// Started with the first test that asks.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Postgres::start("off"))
    }

    /// One of the caller's own, to be treated badly.
    pub fn own() -> Postgres {
        Postgres::start("off")
    }

    /// Kills all of its processes, as the end of electricity would.
    pub fn kill9(&self) {
        self.signal(Signal::KILL);
    }

    /// All of its processes stand still: connections stay open, and nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// They go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts it again after a kill, with the same data.
    pub fn restart(&self) {
        run(&self.folder, self.fsync);
    }

    /// To the first process first, so that it makes no others.
    fn signal(&self, signal: Signal) {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("a running server");
        let first: i32 = pid.lines().next().and_then(|pid| pid.parse().ok()).expect("a process id");
        let first = Pid::from_raw(first).expect("a process id");
        kill_process(first, signal).expect("a signal to our own process");
        for child in children(first) {
            // It may have ended by itself.
            let _ = kill_process(child, signal);
        }
        if signal == Signal::KILL {
            let begin = Instant::now();
            while test_kill_process(first).is_ok() || !children(first).is_empty() {
                assert!(begin.elapsed() < DEADLINE, "a killed PostgreSQL does not end");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// One that waits for the disk, as a real one does: for those who measure.
    pub fn durable() -> Postgres {
        Postgres::start("on")
    }

    /// The address of a database in it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.folder.display())
    }

    /// Makes a database with a name of its own; answers its address.
    pub fn database(&self) -> String {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let name = format!("app{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let createdb = programs().join("createdb").display().to_string();
        as_postgres(&createdb, &["-h", &self.folder.display().to_string(), "-U", "postgres", &name]);
        self.url(&name)
    }

    fn start(fsync: &'static str) -> Postgres {
        let programs = programs();
        let folder = PathBuf::from(as_postgres("mktemp", &["-d", "/tmp/ocelot-pg-XXXXXX"]).trim());
        let data = folder.join("data").display().to_string();
        let initdb = programs.join("initdb").display().to_string();
        as_postgres(
            &initdb,
            &["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        );
        let pg_ctl = programs.join("pg_ctl").display().to_string();
        let guard = guard(&pg_ctl, &data, &folder);
        run(&folder, fsync);
        Postgres { folder, fsync, _guard: guard }
    }
}

fn run(folder: &Path, fsync: &str) {
    let options = format!(
        "-c listen_addresses= -c unix_socket_directories={} -c fsync={fsync} -c max_connections=400",
        folder.display()
    );
    let pg_ctl = programs().join("pg_ctl").display().to_string();
    let (data, log) = (folder.join("data").display().to_string(), folder.join("log").display().to_string());
    as_postgres(&pg_ctl, &["start", "-w", "-s", "-D", &data, "-l", &log, "-o", &options]);
}

/// Processes that this one has started.
fn children(parent: Pid) -> Vec<Pid> {
    let of = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // `pid (name) state parent …`; a name may have spaces.
        let after: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        (after.get(1)?.parse() == Ok(parent.as_raw_nonzero().get()))
            .then(|| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))?
    };
    std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(of).collect()
}

fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    found.retain(|bin| bin.join("initdb").exists());
    found.sort();
    found.pop().expect("PostgreSQL is missing: apt-get install -y postgresql")
}

/// PostgreSQL refuses to be root, so root acts as the user that its package made.
fn command(program: &str, args: &[&str]) -> Command {
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("/proc")) == 0;
    let mut command = if root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", program]);
        command
    } else {
        Command::new(program)
    };
    command.args(args).current_dir("/tmp");
    command
}

fn as_postgres(program: &str, args: &[&str]) -> String {
    // The server outlives `pg_ctl` and must not keep a pipe of ours open, so errors go where ours go.
    let wants_output = program == "mktemp";
    let stdout = if wants_output { Stdio::piped() } else { Stdio::null() };
    let child = command(program, args).stdin(Stdio::null()).stdout(stdout).spawn().expect("a process");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "{program} failed");
    String::from_utf8(output.stdout).expect("text")
}

fn guard(pg_ctl: &str, data: &str, folder: &Path) -> Child {
    let script = r#"trap '' INT TERM HUP; cat >/dev/null; "$1" stop -s -m immediate -D "$2"; rm -rf "$3""#;
    let folder = folder.display().to_string();
    command("sh", &["-c", script, "sh", pg_ctl, data, &folder])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}
