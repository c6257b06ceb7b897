//! How things look on a terminal: tables, durations, times, colours. Writes to stdout and gives errors
//! of writing back, so that `| head` ends a command in peace.

use std::io::Write;

use comfy_table::{Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ocelot_api::body::{Attempt, Build, ConfigProblem, Insights, Job, Stage};
use ocelot_model::{Status, duration};
use owo_colors::{OwoColorize as _, Style};
use serde::Serialize;

/// Writes one line to stdout; colours only when it is a terminal and `NO_COLOR` is not set.
pub(crate) fn line(text: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(anstream::stdout().lock(), "{text}")
}

/// Writes a note for people to stderr. That nobody reads it is no reason to stop.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Writes a question to stderr; the answer is typed behind it.
pub(crate) fn question(text: &str) {
    let mut err = anstream::stderr().lock();
    let _ = write!(err, "{text}").and_then(|()| err.flush());
}

/// Writes `value` as JSON to stdout.
pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> anyhow::Result<()> {
    Ok(line(serde_json::to_string_pretty(value)?)?)
}

/// Writes rows below headings; `none` when there are no rows.
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    none: &str,
) -> std::io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings);
    let empty = table.add_rows(rows.into_iter().map(|row| row.map(|cell| plain(&cell)))).row_count() == 0;
    if empty {
        return line(none);
    }
    let mut out = anstream::stdout().lock();
    for row in table.lines() {
        // Columns are parted by two blanks; the first needs none before it.
        writeln!(out, "{}", row.strip_prefix(' ').unwrap_or(&row).trim_end())?;
    }
    Ok(())
}

/// Text from outside on one line, without what moves the cursor or turns the direction of writing.
pub(crate) fn plain(text: &str) -> String {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    text.chars().map(|c| if odd(c) { '\u{fffd}' } else { c }).collect()
}

/// In the time zone of this machine.
pub(crate) fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The word of a status, coloured.
pub(crate) fn status(status: Status) -> String {
    status.as_str().style(style(status)).to_string()
}

/// The colour of a status.
pub(crate) fn style(status: Status) -> Style {
    match status {
        Status::Passed => Style::new().green(),
        Status::Failed | Status::Error | Status::TimedOut => Style::new().red().bold(),
        Status::Running => Style::new().cyan(),
        Status::Blocked | Status::Queued | Status::Cancelled => Style::new().yellow(),
        Status::Skipped => Style::new().dimmed(),
    }
}

/// How long a build took, or that it is not over.
pub(crate) fn build_duration(build: &Build) -> String {
    match (build.duration_ms, build.status) {
        (Some(ms), _) => duration::took(ms),
        (None, Status::Running) => "running".to_owned(),
        (None, Status::Queued) => "waiting".to_owned(),
        (None, Status::Blocked) => "waiting for approval".to_owned(),
        (
            None,
            Status::Passed
            | Status::Failed
            | Status::Error
            | Status::TimedOut
            | Status::Cancelled
            | Status::Skipped,
        ) => "–".to_owned(),
    }
}

/// `attempt 1: error, its worker is gone`
pub(crate) fn attempt(attempt: &Attempt) -> String {
    let why = attempt.reason.as_deref().map_or_else(String::new, |why| format!(", {why}"));
    format!("attempt {}: {}{why}", attempt.number, attempt.status)
}

/// When a build may be over.
pub(crate) fn expected(insights: &Insights) -> Option<String> {
    let usual = duration::took(insights.expected_ms?);
    let at = insights.expected_at.map(|at| at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string());
    Some(match at {
        Some(at) => format!("takes {usual} as a rule, may be over at {at}"),
        None => format!("takes {usual} as a rule"),
    })
}

/// The first characters of a commit id, as git shows it.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// Why a build ended as it did: the lines of its `ocelot.yml` that are wrong, or the stages that went wrong by name.
pub(crate) fn reason(build: &Build) -> Option<String> {
    let jobs = build.jobs.as_deref().unwrap_or_default();
    let stages = culprits(build).map(|(job, stage)| {
        let notes = notes(stage).join(", ");
        let notes = if notes.is_empty() { notes } else { format!(": {notes}") };
        plain(&format!("{} {}{notes}", label(jobs, job, stage), how(stage)))
    });
    let lines: Vec<String> = own_reason(build).into_iter().chain(stages).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// What is wrong with the whole build, and not said by one of its stages.
pub(crate) fn own_reason(build: &Build) -> Option<String> {
    if !build.problems.is_empty() {
        let lines: Vec<String> = build.problems.iter().map(problem).collect();
        return Some(lines.join("\n"));
    }
    build.reason.as_deref().filter(|reason| !culprits(build).any(|(_, stage)| says(stage, reason))).map(plain)
}

/// True when what is said of a stage says this already: a job names its stage, and a build its job, before the same words.
pub(crate) fn says(stage: &Stage, reason: &str) -> bool {
    notes(stage).iter().any(|note| reason.contains(note.as_str()))
}

/// The stages for which a build did not end well, with their jobs.
pub(crate) fn culprits(build: &Build) -> impl Iterator<Item = (&Job, &Stage)> {
    let jobs = build.jobs.iter().flatten().filter(|job| !build.status.is_good() && !job.allowed);
    let stages = jobs.flat_map(|job| job.stages.iter().map(move |stage| (job, stage)));
    let bad = |stage: &Stage| matches!(stage.status, Status::Failed | Status::Error | Status::TimedOut);
    stages.filter(move |(_, stage)| bad(stage) && !stage.allowed)
}

/// `test`, or `linux/test` where there are several jobs.
pub(crate) fn label(jobs: &[Job], job: &Job, stage: &Stage) -> String {
    if jobs.len() > 1 { format!("{}/{}", job.name, stage.name) } else { stage.name.clone() }
}

/// What became of a stage, in words.
pub(crate) fn how(stage: &Stage) -> String {
    let took = stage.duration_ms.map_or_else(|| "some time".to_owned(), duration::took);
    let allowed = if stage.allowed { " (allowed)" } else { "" };
    match stage.status {
        Status::Passed => format!("took {took} to pass"),
        Status::Failed => format!("took {took} to fail{allowed}"),
        Status::Error => format!("took {took} to end in an error"),
        Status::TimedOut => format!("ran out of time after {took}{allowed}"),
        Status::Cancelled => "was cancelled".to_owned(),
        Status::Skipped => "was skipped".to_owned(),
        Status::Running => "is running".to_owned(),
        Status::Queued | Status::Blocked => "waits".to_owned(),
    }
}

/// Exit code and reason of a stage, where they say something.
pub(crate) fn notes(stage: &Stage) -> Vec<String> {
    let code = stage.exit_code.filter(|code| *code != 0).map(|code| format!("exit code {code}"));
    let reason = stage.reason.clone().filter(|reason| code.as_ref() != Some(reason));
    code.into_iter().chain(reason).collect()
}

fn problem(problem: &ConfigProblem) -> String {
    let ConfigProblem { file, line, column, message, hint, .. } = problem;
    let hint = hint.as_deref().map_or_else(String::new, |hint| format!(" ({hint})"));
    plain(&format!("{file}:{line}:{column}: {message}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts() {
        let mut one = Attempt {
            number: 1,
            status: Status::Error,
            worker: None,
            reason: Some("its worker is gone".to_owned()),
            stages: Vec::new(),
        };
        assert_eq!(attempt(&one), "attempt 1: error, its worker is gone");
        one.reason = None;
        assert_eq!(attempt(&one), "attempt 1: error");
    }

    #[test]
    fn text_from_outside_cannot_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2J\u{202e}b\n"), "a\u{fffd}[2J\u{fffd}b\u{fffd}");
    }
}
