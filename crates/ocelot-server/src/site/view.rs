//! What the templates show, made from the store's rows. No I/O.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use ocelot_model::{Status, duration};
use ocelot_store::{Attempt, Build, Job, Stage};

use super::ansi::changes_direction;
use crate::builds::insight::Expected;

/// Logs that a page brings along at once; the others come when they are opened.
const OPEN_MAX: usize = 4;

/// A build in a line of a list, or at the head of its page.
pub(crate) struct BuildRow {
    pub(crate) number: i64,
    pub(crate) repo: String,
    pub(crate) status: Status,
    pub(crate) event: &'static str,
    pub(crate) branch: String,
    pub(crate) commit: String,
    pub(crate) short: String,
    pub(crate) subject: String,
    pub(crate) message: String,
    pub(crate) by: String,
    pub(crate) reason: Option<String>,
    pub(crate) queued: String,
    pub(crate) queued_at: String,
    pub(crate) ago: String,
    /// How long it waited for its first worker; empty while it does.
    pub(crate) waited: String,
    pub(crate) took: String,
    /// Milliseconds since 1970 from which the page counts on, while it runs.
    pub(crate) since: Option<i64>,
}

impl BuildRow {
    pub(crate) fn new(build: &Build, now: Timestamp) -> BuildRow {
        let person = build.triggered_by.clone().filter(|who| !who.is_empty());
        BuildRow {
            number: build.number.0,
            repo: build.repo.name.to_string(),
            status: build.status,
            event: build.event.as_str(),
            branch: shown(&build.branch),
            commit: build.commit.clone(),
            short: short(&build.commit),
            subject: shown(build.message.lines().next().unwrap_or_default()),
            message: shown(build.message.trim()),
            by: shown(&person.unwrap_or_else(|| build.author.clone())),
            reason: build.reason.as_deref().map(shown),
            queued: build.queued_at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            queued_at: build.queued_at.to_string(),
            ago: ago(build.queued_at, now),
            waited: build.waited_ms().map(duration::took).unwrap_or_default(),
            took: took(build.started_at, build.finished_at, now),
            since: running_since(build.status, build.started_at),
        }
    }
}

/// A job on a build's page.
pub(crate) struct JobView {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) allowed: bool,
    pub(crate) worker: Option<String>,
    pub(crate) needs: String,
    pub(crate) reason: Option<String>,
    /// It waits for a person, as its file says.
    pub(crate) waits: bool,
    /// Number of the newest attempt.
    pub(crate) attempt: u32,
    /// Older ones, oldest first.
    pub(crate) earlier: Vec<AttemptView>,
    pub(crate) stages: Vec<StageView>,
    pub(crate) open: bool,
}

/// An earlier attempt of a job: what became of it, and where its logs are.
pub(crate) struct AttemptView {
    pub(crate) number: u32,
    pub(crate) status: Status,
    pub(crate) worker: Option<String>,
    pub(crate) reason: Option<String>,
    /// Id and name of each stage that has a log.
    pub(crate) logs: Vec<(i64, String)>,
}

/// A stage on a build's page.
pub(crate) struct StageView {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) allowed: bool,
    pub(crate) reason: Option<String>,
    pub(crate) took: String,
    pub(crate) since: Option<i64>,
    pub(crate) log_bytes: i64,
    pub(crate) log_size: String,
    pub(crate) open: bool,
    pub(crate) log: LogView,
}

/// The lines that the page brings along, and where to go on.
#[derive(Default)]
pub(crate) struct LogView {
    pub(crate) html: String,
    /// Offset of the next line; without one, the last lines are to be fetched.
    pub(crate) next: Option<u64>,
    pub(crate) line: u64,
    pub(crate) style: String,
}

impl JobView {
    /// All jobs of a build, opened where a reader wants to look.
    pub(crate) fn all(jobs: &[Job], now: Timestamp) -> Vec<JobView> {
        let mut views: Vec<JobView> = jobs.iter().map(|job| JobView::new(job, now)).collect();
        open_the_telling_ones(&mut views);
        views
    }

    fn new(job: &Job, now: Timestamp) -> JobView {
        let (newest, earlier) =
            job.attempts.split_last().map_or((None, &[][..]), |(a, rest)| (Some(a), rest));
        let stages = newest.map(|attempt| {
            let stages = attempt.stages.iter();
            stages.map(|stage| StageView::new(stage, job.allows(attempt, stage), now)).collect()
        });
        JobView {
            id: job.id.0,
            name: shown(&job.spec.name),
            status: job.status,
            allowed: job.is_allowed(),
            worker: newest.and_then(|a| a.worker.as_deref()).map(shown),
            needs: shown(&job.spec.needs.join(", ")),
            reason: job.reason.as_deref().map(shown),
            waits: job.waits(),
            attempt: newest.map_or(1, |a| a.number),
            earlier: earlier.iter().map(AttemptView::new).collect(),
            stages: stages.unwrap_or_default(),
            open: false,
        }
    }
}

impl AttemptView {
    fn new(attempt: &Attempt) -> AttemptView {
        let logs = attempt.stages.iter().filter(|stage| stage.log_bytes > 0);
        AttemptView {
            number: attempt.number,
            status: attempt.status,
            worker: attempt.worker.as_deref().map(shown),
            reason: attempt.reason.as_deref().map(shown),
            logs: logs.map(|stage| (stage.id.0, shown(&stage.name))).collect(),
        }
    }
}

/// Opens what a reader comes for: what runs or went wrong; else the last stage with a log. Not all of it where there is
/// much of it: a page must stay small.
fn open_the_telling_ones(jobs: &mut [JobView]) {
    let mut left = OPEN_MAX;
    let telling = |stage: &StageView| {
        let bad = matches!(stage.status, Status::Failed | Status::Error | Status::TimedOut);
        stage.status == Status::Running || (bad && !stage.allowed)
    };
    for stage in jobs.iter_mut().flat_map(|job| &mut job.stages).filter(|stage| telling(stage)).take(OPEN_MAX)
    {
        stage.open = true;
        left -= 1;
    }
    if left == OPEN_MAX
        && let Some(last) = jobs.last_mut().and_then(|job| job.stages.iter_mut().rfind(|s| s.log_bytes > 0))
    {
        last.open = true;
    }
    let few = jobs.len() <= OPEN_MAX;
    for job in jobs {
        job.open = few || job.stages.iter().any(|stage| stage.open);
    }
}

/// `298 passed`, `1 failed` …, each with the id of the first of these jobs; those that failed as they may are counted
/// apart.
pub(crate) fn counts(jobs: &[JobView]) -> Vec<(String, i64)> {
    let mut parts = Vec::new();
    for status in Status::ALL {
        for (allowed, more) in [(false, ""), (true, " (allowed)")] {
            let same: Vec<&JobView> =
                jobs.iter().filter(|job| job.status == status && job.allowed == allowed).collect();
            if let Some(first) = same.first() {
                parts.push((format!("{} {}{more}", same.len(), words(status.as_str())), first.id));
            }
        }
    }
    parts
}

impl StageView {
    fn new(stage: &Stage, allowed: bool, now: Timestamp) -> StageView {
        let running = stage.status == Status::Running;
        StageView {
            id: stage.id.0,
            name: shown(&stage.name),
            status: stage.status,
            allowed,
            reason: stage.reason.as_deref().map(shown),
            took: match stage.duration_ms {
                Some(_) if matches!(stage.status, Status::Skipped | Status::Cancelled) => String::new(),
                Some(ms) => duration::took(ms),
                None if running => took(stage.started_at, None, now),
                None => String::new(),
            },
            since: running_since(stage.status, stage.started_at),
            log_bytes: stage.log_bytes,
            log_size: size(stage.log_bytes),
            open: false,
            log: LogView::default(),
        }
    }
}

/// Text from outside as it may stand on a page: what would hide itself or turn other text round is named instead.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if changes_direction(letter) || (letter.is_control() && !matches!(letter, '\n' | '\t' | '\r')) {
            let _ = write!(out, "[U+{:04X}]", letter as u32);
        } else {
            out.push(letter);
        }
    }
    out
}

fn running_since(status: Status, started: Option<Timestamp>) -> Option<i64> {
    started.filter(|_| status == Status::Running).map(Timestamp::as_millisecond)
}

fn took(started: Option<Timestamp>, finished: Option<Timestamp>, now: Timestamp) -> String {
    started.map_or_else(String::new, |from| duration::took(duration::between(from, finished.unwrap_or(now))))
}

/// A commit id as people write it.
pub(crate) fn short(commit: &str) -> String {
    commit.chars().take(7).collect()
}

/// `usually 3 min 5 s, may be over at 14:03 UTC`.
pub(crate) fn expected(expected: Expected) -> String {
    let usual = duration::took(expected.ms);
    match expected.at {
        Some(at) => format!("usually {usual}, may be over at {}", at.strftime("%H:%M UTC")),
        None => format!("usually {usual}"),
    }
}

/// `just now`, `5 min ago`, `3 h ago`; older than a day: the date.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let gone = now.duration_since(then);
    match gone {
        g if g < SignedDuration::from_secs(45) => "just now".to_owned(),
        g if g < SignedDuration::from_mins(60) => format!("{} min ago", (g.as_secs() / 60).max(1)),
        g if g < SignedDuration::from_hours(24) => format!("{} h ago", g.as_secs() / 3600),
        _ => then.strftime("%Y-%m-%d %H:%M").to_string(),
    }
}

/// `812 B`, `14 KiB`, `3.2 MiB`.
fn size(bytes: i64) -> String {
    let bytes = bytes.max(0);
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20),
    }
}

/// `timed_out` as people write it.
pub(crate) fn words(text: &str) -> String {
    text.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_named() {
        assert_eq!(shown("a\u{202e}b\u{1b}[0m\nc"), "a[U+202E]b[U+001B][0m\nc");
    }

    #[test]
    fn sizes_read_well() {
        let check = |bytes, want| assert_eq!(size(bytes), want);
        check(812, "812 B");
        check(14 << 10, "14 KiB");
        check((3 << 20) + 210_000, "3.2 MiB");
    }
}
