//! One PostgreSQL for all tests of this binary: made in a folder of its own, gone when the tests end, however they end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The running database server.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
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

    fn start(fsync: &str) -> Postgres {
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
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c fsync={fsync} -c max_connections=400",
            folder.display()
        );
        let log = folder.join("log").display().to_string();
        as_postgres(&pg_ctl, &["start", "-w", "-s", "-D", &data, "-l", &log, "-o", &options]);
        Postgres { folder, _guard: guard }
    }
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
