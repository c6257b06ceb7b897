//! What must be true of every world once its builds are over, whatever happened to it.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use futures_util::StreamExt as _;
use ocelot_api::body::{Attempt, Build, Event, Stage};
use ocelot_api::client::{Happened, LogQuery};
use ocelot_model::Status;
use ocelot_testkit::{nothing_left, wait_for};

use super::world::World;

/// What a shell shows of a script before it runs ends with this.
const SHOWN: &[u8] = b"\x1b[0m\n";

impl World {
    /// Every build of this world is over, once; nothing was done twice, nothing is missing, nothing is left. Workers
    /// must be running, or stopped in peace.
    pub(super) async fn oracle(&self) {
        let mut begun = HashSet::new();
        for (line, _) in self.effects() {
            assert!(begun.insert(line.clone()), "`{line}` began twice:\n{:#?}", self.effects());
        }
        for number in &self.builds {
            let build = self.finished(*number).await;
            self.ended_once(&build).await;
            for job in build.jobs.iter().flatten() {
                let numbers: Vec<u32> = job.attempts.iter().map(|attempt| attempt.number).collect();
                let want: Vec<u32> = (1..=job.attempt).collect();
                assert_eq!(numbers, want, "attempts only rise: {build:#?}");
                for attempt in &job.attempts {
                    self.attempt_is_whole(&build, attempt, &begun).await;
                }
            }
        }
        self.nothing_is_left().await;
        self.database_is_whole();
    }

    /// Its history has one end, and it is what the build says.
    async fn ended_once(&self, build: &Build) {
        let mut events = self.admin().events(build.number, None);
        let mut ends = Vec::new();
        while let Some(event) = events.next().await {
            if let Happened::Event { event: Event::Build { status, .. }, .. } = event.unwrap()
                && status.is_terminal()
            {
                ends.push(status);
            }
        }
        assert_eq!(ends, [build.status], "{build:#?}");
    }

    async fn attempt_is_whole(&self, build: &Build, attempt: &Attempt, begun: &HashSet<String>) {
        assert!(attempt.status.is_terminal(), "{build:#?}");
        for stage in attempt.stages.iter().filter(|stage| stage.name != "setup") {
            assert!(stage.status.is_terminal(), "{build:#?}");
            let line = format!("{} {} {}", build.number, stage.name, attempt.number);
            // Only stages that write elsewhere what they do have such a file.
            let said = self.said(build.number, &stage.name, attempt.number);
            let log = self.log(build.number, stage).await;
            assert_eq!(log.len() as i64, stage.log_bytes, "{line}");
            let shown = log.windows(SHOWN.len()).position(|part| part == SHOWN);
            let rest = shown.map_or(&[][..], |at| &log[at + SHOWN.len()..]);
            if begun.contains(&line) && stage.status == Status::Passed {
                assert!(rest == said, "log of {line}: {} and {} bytes", rest.len(), said.len());
            } else if begun.contains(&line) {
                // What was killed may have been killed between its two writes; what came later is nobody's.
                let common = rest.len().min(said.len());
                let has = String::from_utf8_lossy(&rest[..common]);
                let want = String::from_utf8_lossy(&said[..common]);
                assert_eq!(has, want, "log of {line}");
            }
        }
    }

    pub(super) async fn log(&self, build: i64, stage: &Stage) -> Vec<u8> {
        let pieces = self.admin().stage_log(build, stage.id, LogQuery::default()).await.unwrap();
        let mut pieces = std::pin::pin!(pieces);
        let mut log = Vec::new();
        while let Some(piece) = pieces.next().await {
            log.extend_from_slice(&piece.unwrap());
        }
        log
    }

    /// No folder, container or process of an attempt.
    async fn nothing_is_left(&self) {
        for data in &self.places {
            let jobs = data.join("jobs");
            let count = || std::fs::read_dir(&jobs).map_or(0, Iterator::count);
            wait_for(&format!("an empty {}", jobs.display()), async || (count() == 0).then_some(())).await;
        }
        let left = || processes_of(self.folder.path());
        wait_for("the end of the jobs' processes", async || left().is_empty().then_some(())).await;
        if !self.instance().is_empty() && self.has_docker() {
            nothing_left(&self.instance());
        }
    }

    fn database_is_whole(&self) {
        if let Some(file) = self.database.strip_prefix("sqlite://") {
            for file in [Path::new(file), &Path::new(file).with_file_name("logs.db")] {
                assert_eq!(sqlite(file, "PRAGMA integrity_check"), "ok\n", "{}", file.display());
                assert_eq!(sqlite(file, "PRAGMA foreign_key_check"), "", "{}", file.display());
            }
        }
        for (what, query) in [
            ("rows of the queue", "SELECT count(*) FROM queue"),
            (
                "leases",
                "SELECT count(*) FROM attempts WHERE lease_until IS NOT NULL OR lease_token IS NOT NULL",
            ),
            ("jobs that wait or run", "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')"),
        ] {
            assert_eq!(self.sql(query).trim(), "0", "{what} are left");
        }
    }

    /// What the database itself answers.
    pub(super) fn sql(&self, query: &str) -> String {
        match self.database.strip_prefix("sqlite://") {
            Some(file) => sqlite(Path::new(file), query),
            None => ask(Command::new("psql").args([&self.database, "-Atc", query]), "postgresql"),
        }
    }
}

fn sqlite(file: &Path, query: &str) -> String {
    ask(Command::new("sqlite3").args(["-cmd", ".timeout 10000"]).arg(file).arg(query), "sqlite3")
}

fn ask(command: &mut Command, package: &str) -> String {
    let output =
        command.output().unwrap_or_else(|e| panic!("this needs `apt-get install -y {package}` ({e})"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Processes with something below this folder among their words, other than `ocelot` itself.
pub(super) fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let words = |entry: std::fs::DirEntry| {
        let words = std::fs::read(entry.path().join("cmdline")).ok()?;
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        (words.contains(&folder) && !words.contains(&format!("{} ", crate::OCELOT))).then_some(words)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(words).collect()
}
