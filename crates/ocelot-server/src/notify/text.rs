//! What is said of a build, before it is dressed for its place: every place makes its own words safe there. No I/O.

use std::fmt;

use ocelot_model::notify::{Occasion, occasions};
use ocelot_model::{Status, duration};
use ocelot_store::{Build, BuildDetail, Job, Stage};
use serde_json::{Value, json};

use crate::builds::insight::NewLines;

/// Most stages that are listed.
const STAGES_MAX: usize = 30;
const LINE_MAX: usize = 300;
/// New lines of one log.
const NEW_MAX: usize = 5;

/// Something to be said.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// For programs: `build.failed`.
    pub(super) kind: String,
    /// How the build stands; `None` when it is about none.
    pub(super) status: Option<Status>,
    /// `Build 12 failed`.
    pub(super) title: String,
    pub(super) repo: String,
    /// Why, for what is not a stage's fault.
    pub(super) reason: Option<String>,
    /// Branch, commit and the like, for people.
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) stages: Vec<StageLine>,
    /// Further stages, which are not listed.
    pub(super) more: usize,
    pub(super) link: String,
    /// All of it, for programs.
    pub(super) data: Value,
}

impl Message {
    /// Its stages, one after the other, and how many are left out.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.stages.iter().map(StageLine::to_string).chain(more)
    }
}

/// How one stage ended.
#[derive(Debug, Clone)]
pub(super) struct StageLine {
    /// Its name, after its job's where there are several.
    pub(super) name: String,
    pub(super) status: Status,
    pub(super) why: Option<String>,
    /// Lines of its log that no passed run had, those that say most first.
    pub(super) new_lines: Vec<String>,
}

/// Its name and how it ended in one line, and its new lines below, set in.
impl fmt::Display for StageLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.name, words(self.status))?;
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        self.new_lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// That a build stands so, after one that ended as `before`.
pub(super) fn of_build(
    detail: &BuildDetail,
    status: Status,
    before: Option<Status>,
    news: &[NewLines],
    link: String,
) -> Message {
    let build = &detail.build;
    let (stages, more) = stages(detail, news);
    Message {
        kind: format!("build.{status}"),
        status: Some(status),
        title: title(build, status, before),
        repo: build.repo.name.to_string(),
        reason: build.reason.as_deref().map(|reason| line(reason, 2 * LINE_MAX)),
        facts: facts(build, status),
        data: data(detail, status, before, news, &link),
        stages,
        more,
        link,
    }
}

/// That nothing happened.
pub(super) fn test(about: &str, by: &str, link: String) -> Message {
    let by = line(by, LINE_MAX);
    Message {
        kind: "test".to_owned(),
        status: None,
        title: "A test of Ocelot's notifications".to_owned(),
        repo: about.to_owned(),
        reason: Some("Nothing was built. What Ocelot has to say of builds arrives here.".to_owned()),
        facts: vec![("For", about.to_owned()), ("Asked for by", by.clone())],
        stages: Vec::new(),
        more: 0,
        data: json!({"repo": about, "by": by, "url": link}),
        link,
    }
}

fn title(build: &Build, status: Status, before: Option<Status>) -> String {
    let news = occasions(status, before);
    let what = match status {
        Status::Passed if news.contains(&Occasion::Fixed) => "is fixed: it passed",
        Status::Failed if news.contains(&Occasion::StillFailing) => "still fails",
        Status::Passed => "passed",
        Status::Failed => "failed",
        Status::Error => "ended in error",
        Status::TimedOut => "timed out",
        Status::Cancelled => "was cancelled",
        Status::Skipped => "was skipped",
        Status::Blocked => "waits for approval",
        Status::Queued => "is queued",
        Status::Running => "is running",
    };
    format!("Build {} {what}", build.number)
}

fn facts(build: &Build, status: Status) -> Vec<(&'static str, String)> {
    let took = build.took_ms().filter(|_| status.is_terminal()).map(duration::took);
    let short: String = build.commit.chars().take(7).collect();
    let first = line(build.message.lines().next().unwrap_or_default(), LINE_MAX);
    let facts = [
        ("Repository", Some(build.repo.name.to_string())),
        // Of a tag, the branch says the same.
        ("Branch", Some(line(&build.branch, LINE_MAX)).filter(|_| build.tag.is_none())),
        ("Tag", build.tag.as_deref().map(|tag| line(tag, LINE_MAX))),
        ("Pull request", build.pull_request.map(|number| number.to_string())),
        ("Commit", Some(format!("{short} {first}"))),
        ("Author", Some(line(&build.author, LINE_MAX)).filter(|author| !author.is_empty())),
        ("Duration", took),
        ("Log", Some(format!("ocelot logs {}", build.number)).filter(|_| build.started_at.is_some())),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The stages of the newest attempts, and jobs that failed outside of any; those that failed first when there are many. And how
/// many are left out.
fn stages(detail: &BuildDetail, news: &[NewLines]) -> (Vec<StageLine>, usize) {
    let several = detail.jobs.len() > 1;
    let all: Vec<StageLine> = detail.jobs.iter().flat_map(|job| of_job(job, several, news)).collect();
    listed(all)
}

fn listed(mut all: Vec<StageLine>) -> (Vec<StageLine>, usize) {
    let more = all.len().saturating_sub(STAGES_MAX);
    if more > 0 {
        all.sort_by_key(|one| !is_bad(one.status));
        all.truncate(STAGES_MAX);
    }
    (all, more)
}

fn of_job(job: &Job, several: bool, news: &[NewLines]) -> Vec<StageLine> {
    let Some(attempt) = job.attempts.last() else { return Vec::new() };
    let name = |name: &str| {
        let name = if several { format!("{} / {name}", job.spec.name) } else { name.to_owned() };
        line(&name, LINE_MAX)
    };
    // Nobody wants to hear of a setup that went well, or never began.
    let shown = |stage: &&Stage| stage.name != "setup" || is_bad(stage.status);
    let mut lines: Vec<StageLine> = attempt
        .stages
        .iter()
        .filter(shown)
        .map(|stage| {
            let allowed = job.allows(attempt, stage);
            let code = stage.exit_code.filter(|_| stage.status == Status::Failed);
            let why = code.map(|code| format!("exit code {code}")).or_else(|| stage.reason.clone());
            let why =
                if allowed { Some(format!("{}, which is allowed", why.unwrap_or_default())) } else { why };
            StageLine {
                name: name(&stage.name),
                status: stage.status,
                why: why.map(|why| line(&why, LINE_MAX)),
                new_lines: new_lines(news, stage),
            }
        })
        .collect();
    if is_bad(job.status) && !lines.iter().any(|one| is_bad(one.status)) {
        let why = job.reason.as_deref().map(|why| line(why, LINE_MAX));
        let name = line(&job.spec.name, LINE_MAX);
        lines.push(StageLine { name, status: job.status, why, new_lines: Vec::new() });
    }
    lines
}

fn new_lines(news: &[NewLines], stage: &Stage) -> Vec<String> {
    let of_it = news.iter().filter(|new| new.stage == stage.id).flat_map(|new| &new.lines);
    of_it.take(NEW_MAX).map(|(_, words)| line(words, LINE_MAX)).collect()
}

const fn is_bad(status: Status) -> bool {
    matches!(status, Status::Failed | Status::Error | Status::TimedOut)
}

/// What programs read. The names are those of `GET /api/v1/builds/{number}`.
fn data(
    detail: &BuildDetail,
    status: Status,
    before: Option<Status>,
    news: &[NewLines],
    link: &str,
) -> Value {
    let build = &detail.build;
    let jobs: Vec<Value> = detail.jobs.iter().map(|job| job_data(job, news)).collect();
    json!({
        "number": build.number.0,
        "url": link,
        "repo": build.repo.name.to_string(),
        "status": status,
        "before": before,
        "occasions": occasions(status, before),
        "event": build.event,
        "branch": build.branch,
        "tag": build.tag,
        "pull_request": build.pull_request,
        "commit": build.commit,
        "message": line(build.message.lines().next().unwrap_or_default(), LINE_MAX),
        "author": build.author,
        "reason": build.reason,
        "queued_at": build.queued_at,
        "started_at": build.started_at,
        "finished_at": build.finished_at,
        "duration_ms": build.took_ms(),
        "jobs": jobs,
    })
}

fn job_data(job: &Job, news: &[NewLines]) -> Value {
    let stages = job.attempts.last().map(|attempt| &attempt.stages);
    let left_out = stages.map_or(0, |all| all.len().saturating_sub(STAGES_MAX * 10));
    let stages: Vec<Value> = stages
        .into_iter()
        .flatten()
        .take(STAGES_MAX * 10)
        .map(|stage| {
            json!({"name": stage.name, "status": stage.status, "exit_code": stage.exit_code,
                   "duration_ms": stage.duration_ms, "reason": stage.reason, "new_lines": new_lines(news, stage)})
        })
        .collect();
    json!({"name": job.spec.name, "status": job.status, "reason": job.reason, "stages": stages,
           "stages_left_out": left_out})
}

fn words(status: Status) -> String {
    status.as_str().replace('_', " ")
}

/// One line: no line breaks, nothing that cannot be seen or that turns other text round; cut.
pub(super) fn line(text: &str, max: usize) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut line = String::new();
    for c in text.trim().chars() {
        if line.len() + c.len_utf8() > max {
            line.push('…');
            break;
        }
        line.push(if hides(c) { ' ' } else { c });
    }
    line
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A build that failed, for the tests of places.
    pub(in crate::notify) fn sample() -> Message {
        let line = |name: &str, status, why: Option<&str>| StageLine {
            name: name.to_owned(),
            status,
            why: why.map(str::to_owned),
            new_lines: Vec::new(),
        };
        Message {
            kind: "build.failed".to_owned(),
            status: Some(Status::Failed),
            title: "Build 12 failed".to_owned(),
            repo: "github/acme/app".to_owned(),
            reason: None,
            facts: vec![("Repository", "github/acme/app".to_owned()), ("Branch", "main".to_owned())],
            stages: vec![
                line("lint", Status::Passed, None),
                line("test", Status::Failed, Some("exit code 1")),
                line("deploy", Status::Skipped, None),
            ],
            more: 0,
            link: "https://ci.example/builds/12".to_owned(),
            data: json!({}),
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let mut all = vec![sample().stages.remove(0); STAGES_MAX];
        assert_eq!(listed(all.clone()).1, 0);
        all.extend(sample().stages);
        let (stages, more) = listed(all);
        assert_eq!((stages.len(), more, stages[0].name.as_str()), (STAGES_MAX, 3, "test"));
        let message = Message { stages, more, ..sample() };
        assert_eq!(message.lines().last().unwrap(), "and 3 more");
    }

    #[test]
    fn lines() {
        let check = |text: &str, want: &str| assert_eq!(line(text, 10), want);
        check(" a\r\nb\tc ", "a  b c");
        check("\u{202e}abc\u{200b}d\0", " abc d ");
        check("äääääää", "äääää…");
    }
}
