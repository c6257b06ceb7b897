//! Prints the logs of a build's stages as they come: a heading where the stage changes; with several jobs,
//! whole lines with the stage's name in front, because they mix. Does no network.

use std::collections::BTreeMap;
use std::io::Write as _;

use anstream::{AutoStream, ColorChoice};
use ocelot_api::body::Build;
use ocelot_model::Status;
use owo_colors::OwoColorize as _;

use super::Look;
use super::clean::Clean;
use crate::cli::show;

/// A line that does not end is shown in pieces of this size where lines mix.
const LONGEST_LINE: usize = 64 << 10;

pub(super) struct Printer {
    raw: bool,
    colours: bool,
    only: Option<String>,
    several_jobs: bool,
    /// Whose heading was printed last.
    shown: Option<i64>,
    /// Something was printed that does not end in a line feed.
    in_line: bool,
    stages: BTreeMap<i64, Seen>,
}

struct Seen {
    label: String,
    wanted: bool,
    /// Bytes of the log that were printed.
    have: i64,
    clean: Clean,
    /// Begin of a line, where lines mix.
    line: String,
    /// It runs, or has run.
    begun: bool,
    /// Its end was printed.
    over: bool,
    /// Text of it came before it had begun, and was passed over.
    owed: bool,
}

impl Printer {
    pub(super) fn new(look: &Look) -> Printer {
        Printer {
            raw: look.raw,
            colours: AutoStream::choice(&std::io::stdout()) != ColorChoice::Never,
            only: look.only.clone(),
            several_jobs: false,
            shown: None,
            in_line: false,
            stages: BTreeMap::new(),
        }
    }

    /// Takes in the stages of a build.
    pub(super) fn learn(&mut self, build: &Build) {
        let jobs = build.jobs.as_deref().unwrap_or_default();
        self.several_jobs = jobs.len() > 1;
        for job in jobs {
            for stage in &job.stages {
                let full = format!("{}/{}", job.name, stage.name);
                let label = if self.several_jobs { full.clone() } else { stage.name.clone() };
                let is_meant =
                    |only: &String| *only == stage.name || *only == full || *only == stage.id.to_string();
                let wanted = self.only.as_ref().is_none_or(is_meant);
                self.stages.entry(stage.id).or_insert_with(|| Seen {
                    label: show::plain(&label),
                    wanted,
                    have: 0,
                    clean: Clean::new(self.colours),
                    line: String::new(),
                    begun: false,
                    over: false,
                    owed: false,
                });
            }
        }
    }

    pub(super) fn is_any_wanted(&self) -> bool {
        self.stages.is_empty() || self.stages.values().any(|seen| seen.wanted)
    }

    pub(super) fn knows(&self, stage: i64) -> bool {
        self.stages.contains_key(&stage)
    }

    /// Bytes of this stage's log that were printed.
    pub(super) fn have(&self, stage: i64) -> i64 {
        self.stages.get(&stage).map_or(0, |seen| seen.have)
    }

    pub(super) fn is_wanted(&self, stage: i64) -> bool {
        self.stages.get(&stage).is_some_and(|seen| seen.wanted)
    }

    pub(super) fn has_begun(&self, stage: i64) -> bool {
        self.stages.get(&stage).is_some_and(|seen| seen.begun)
    }

    pub(super) fn is_over(&self, stage: i64) -> bool {
        self.stages.get(&stage).is_some_and(|seen| seen.over)
    }

    /// Text was passed over, because the stage had not begun.
    pub(super) fn owe(&mut self, stage: i64) {
        if let Some(seen) = self.stages.get_mut(&stage) {
            seen.owed = true;
        }
    }

    pub(super) fn is_owed(&self, stage: i64) -> bool {
        self.stages.get(&stage).is_some_and(|seen| seen.owed && seen.wanted)
    }

    /// Wanted stages of a finished build: id, bytes that were printed, bytes that there are.
    pub(super) fn missing(&self, build: &Build) -> Vec<(i64, i64, i64)> {
        let stages = build.jobs.iter().flatten().flat_map(|job| &job.stages);
        let wanted = stages.filter(|stage| self.stages.get(&stage.id).is_some_and(|seen| seen.wanted));
        wanted.map(|stage| (stage.id, self.have(stage.id), stage.log_bytes)).collect()
    }

    /// A stage begins, or has run before we came.
    pub(super) fn begin(&mut self, stage: i64, status: Status) -> std::io::Result<()> {
        if let Some(seen) = self.stages.get_mut(&stage) {
            seen.begun = true;
        }
        if status == Status::Running && !self.several_jobs { self.heading(stage) } else { Ok(()) }
    }

    /// A stage is over, and all its text was printed. One that did well says so only where several mix; one that
    /// never ran says nothing.
    pub(super) fn end_stage(&mut self, stage: i64, status: Status) -> std::io::Result<()> {
        self.flush(stage)?;
        let several = self.several_jobs;
        let Some(seen) = self.stages.get_mut(&stage) else { return Ok(()) };
        seen.over = true;
        let told = match status {
            Status::Failed | Status::Error | Status::TimedOut => true,
            Status::Passed => several,
            Status::Cancelled => several && seen.have > 0,
            Status::Skipped | Status::Blocked | Status::Queued | Status::Running => false,
        };
        if !told || !seen.wanted || self.raw {
            return Ok(());
        }
        let text = format!("{}: {status}", seen.label);
        self.end_line()?;
        show::line(text.style(show::style(status)))
    }

    /// Log text of a stage, which stands for `bytes` bytes of the log.
    pub(super) fn text(&mut self, stage: i64, text: &[u8], bytes: i64) -> std::io::Result<()> {
        if !self.several_jobs && !text.is_empty() {
            self.heading(stage)?;
        }
        let Some(seen) = self.stages.get_mut(&stage) else { return Ok(()) };
        seen.have += bytes;
        if !seen.wanted {
            return Ok(());
        }
        if self.raw {
            return put(text);
        }
        let text = seen.clean.pass(text);
        if !self.several_jobs {
            self.in_line = if text.is_empty() { self.in_line } else { !text.ends_with('\n') };
            return put(text.as_bytes());
        }
        seen.line.push_str(&text);
        let mut out = String::new();
        while let Some(end) = seen.line.find('\n') {
            let line: String = seen.line.drain(..=end).collect();
            out.push_str(&prefixed(&seen.label, &line, self.colours));
        }
        if seen.line.len() > LONGEST_LINE {
            out.push_str(&prefixed(
                &seen.label,
                &format!("{}\n", std::mem::take(&mut seen.line)),
                self.colours,
            ));
        }
        put(out.as_bytes())
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) -> std::io::Result<()> {
        let all: Vec<i64> = self.stages.keys().copied().collect();
        for stage in all {
            self.flush(stage)?;
        }
        self.end_line()
    }

    /// Prints the begin of a line that never ended.
    fn flush(&mut self, stage: i64) -> std::io::Result<()> {
        match self.stages.get_mut(&stage) {
            Some(seen) if !seen.line.is_empty() => {
                let line = format!("{}\n", std::mem::take(&mut seen.line));
                put(prefixed(&seen.label, &line, self.colours).as_bytes())
            }
            _ => Ok(()),
        }
    }

    fn heading(&mut self, stage: i64) -> std::io::Result<()> {
        let Some(seen) = self.stages.get(&stage) else { return Ok(()) };
        if self.raw || self.shown == Some(stage) || !seen.wanted {
            return Ok(());
        }
        let text = format!("── {}", seen.label);
        self.shown = Some(stage);
        self.end_line()?;
        show::line(text.bold())
    }

    fn end_line(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.in_line) { put(b"\n") } else { Ok(()) }
    }
}

fn prefixed(label: &str, line: &str, colours: bool) -> String {
    // A colour that a line leaves open must not run into the next stage's line.
    let (line, end) = match line.strip_suffix('\n') {
        Some(line) => (line, "\n"),
        None => (line, ""),
    };
    let reset = if colours && line.contains('\u{1b}') { "\u{1b}[0m" } else { "" };
    format!("{label} | {line}{reset}{end}")
}

pub(super) fn put(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
