//! What the templates show, made from the store's rows. No I/O.

use jiff::{SignedDuration, Timestamp};
use ocelot_model::Status;
use ocelot_store::{Attempt, Build, Job, Stage};

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
    pub(crate) ago: String,
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
            branch: build.branch.clone(),
            commit: build.commit.clone(),
            short: build.commit.chars().take(7).collect(),
            subject: build.message.lines().next().unwrap_or_default().to_owned(),
            message: build.message.trim().to_owned(),
            by: person.unwrap_or_else(|| build.author.clone()),
            reason: build.reason.clone(),
            queued: build.queued_at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            ago: ago(build.queued_at, now),
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
    pub(crate) attempt: u32,
    pub(crate) worker: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) stages: Vec<StageView>,
}

/// A stage on a build's page.
pub(crate) struct StageView {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) reason: Option<String>,
    pub(crate) took: String,
    pub(crate) since: Option<i64>,
    pub(crate) log_bytes: i64,
    pub(crate) log_size: String,
    pub(crate) open: bool,
    pub(crate) log: Option<LogView>,
}

/// The lines that the page brings along, and where to go on.
pub(crate) struct LogView {
    pub(crate) html: String,
    pub(crate) next: u64,
    pub(crate) line: u64,
    pub(crate) style: String,
}

impl JobView {
    pub(crate) fn new(job: &Job, now: Timestamp) -> JobView {
        let newest: Option<&Attempt> = job.attempts.last();
        let mut stages: Vec<StageView> =
            newest.map(|a| a.stages.iter().map(|s| StageView::new(s, now)).collect()).unwrap_or_default();
        open_the_telling_one(&mut stages);
        JobView {
            id: job.id.0,
            name: job.spec.name.clone(),
            status: job.status,
            attempt: newest.map_or(1, |a| a.number),
            worker: newest.and_then(|a| a.worker.clone()),
            reason: job.reason.clone(),
            stages,
        }
    }
}

/// Opens what a reader comes for: all that runs or went wrong; else the last stage with a log.
fn open_the_telling_one(stages: &mut [StageView]) {
    for stage in stages.iter_mut() {
        stage.open =
            matches!(stage.status, Status::Running | Status::Failed | Status::Error | Status::TimedOut);
    }
    if !stages.iter().any(|stage| stage.open)
        && let Some(last) = stages.iter_mut().rfind(|stage| stage.log_bytes > 0)
    {
        last.open = true;
    }
}

impl StageView {
    fn new(stage: &Stage, now: Timestamp) -> StageView {
        let running = stage.status == Status::Running;
        StageView {
            id: stage.id.0,
            name: stage.name.clone(),
            status: stage.status,
            reason: stage.reason.clone(),
            took: match stage.duration_ms {
                Some(_) if matches!(stage.status, Status::Skipped | Status::Cancelled) => String::new(),
                Some(ms) => duration(ms),
                None if running => took(stage.started_at, None, now),
                None => String::new(),
            },
            since: running_since(stage.status, stage.started_at),
            log_bytes: stage.log_bytes,
            log_size: size(stage.log_bytes),
            open: false,
            log: None,
        }
    }
}

fn running_since(status: Status, started: Option<Timestamp>) -> Option<i64> {
    started.filter(|_| status == Status::Running).map(Timestamp::as_millisecond)
}

fn took(started: Option<Timestamp>, finished: Option<Timestamp>, now: Timestamp) -> String {
    started.map_or_else(String::new, |from| {
        duration(finished.unwrap_or(now).duration_since(from).as_millis() as i64)
    })
}

/// `40 ms`, `1.4 s`, `12 s`, `3 m 5 s`, `1 h 2 m`.
pub(crate) fn duration(ms: i64) -> String {
    let ms = ms.max(0);
    let s = ms / 1000;
    match s {
        0 => format!("{ms} ms"),
        1..10 => format!("{}.{} s", s, ms % 1000 / 100),
        10..60 => format!("{s} s"),
        60..3600 => format!("{} m {} s", s / 60, s % 60),
        _ => format!("{} h {} m", s / 3600, s / 60 % 60),
    }
}

/// `just now`, `5 m ago`, `3 h ago`; older than a day: the date.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let gone = now.duration_since(then);
    match gone {
        g if g < SignedDuration::from_secs(45) => "just now".to_owned(),
        g if g < SignedDuration::from_mins(60) => format!("{} m ago", (g.as_secs() / 60).max(1)),
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
    fn durations_read_well() {
        let check = |ms, want| assert_eq!(duration(ms), want);
        check(-5, "0 ms");
        check(40, "40 ms");
        check(1_449, "1.4 s");
        check(59_999, "59 s");
        check(185_000, "3 m 5 s");
        check(3_720_000, "1 h 2 m");
    }

    #[test]
    fn sizes_read_well() {
        let check = |bytes, want| assert_eq!(size(bytes), want);
        check(812, "812 B");
        check(14 << 10, "14 KiB");
        check((3 << 20) + 210_000, "3.2 MiB");
    }
}
