//! A worker's words about stages and attempts, checked before anything is done with them. Pure.

use ocelot_api::proto::{AttemptResult, StageReport};
use ocelot_model::build::Outcome;
use ocelot_model::{StageId, Status as Word};
use ocelot_store::{Lease, StageUpdate};
use tonic::Status;

use super::session::from_proto;

/// Longest reason, in characters.
const REASON_MAX: usize = 4_000;
/// Stages of one attempt at most.
const STAGES_MAX: usize = 10_000;

/// The lease that a call must carry.
pub(super) fn lease(lease: Option<&ocelot_api::proto::Lease>) -> Result<Lease, Status> {
    lease.map(from_proto).ok_or_else(|| Status::invalid_argument("no lease"))
}

/// How a stage stands.
pub(super) fn stage(report: &StageReport) -> Result<StageUpdate, Status> {
    let status = word(&report.status)?;
    if status != Word::Running && !status.is_terminal() {
        return Err(Status::invalid_argument(format!("a worker cannot report a stage as {status}")));
    }
    match report.exit_code {
        Some(code) if !(0..=255).contains(&code) => {
            return Err(Status::invalid_argument(format!("{code} is no exit code: they are 0 to 255")));
        }
        Some(_) if status == Word::Running => {
            return Err(Status::invalid_argument("a running stage has no exit code"));
        }
        Some(_) | None => {}
    }
    let duration = i64::try_from(report.duration_ms)
        .map_err(|_| Status::invalid_argument(format!("{} ms is no duration", report.duration_ms)))?;
    Ok(StageUpdate {
        id: StageId(report.stage_id),
        status,
        exit_code: report.exit_code,
        duration_ms: status.is_terminal().then_some(duration),
        reason: reason(&report.reason),
    })
}

/// How an attempt ended, and how its stages did. Stages that never began are left to the server.
pub(super) fn attempt(result: &AttemptResult) -> Result<(Outcome, Vec<StageUpdate>), Status> {
    let status = word(&result.status)?;
    if !matches!(status, Word::Passed | Word::Failed | Word::Error | Word::TimedOut | Word::Cancelled) {
        return Err(Status::invalid_argument(format!("an attempt cannot end as {status}")));
    }
    if result.stages.len() > STAGES_MAX {
        return Err(Status::invalid_argument(format!("an attempt has at most {STAGES_MAX} stages")));
    }
    let unended = [Word::Queued.as_str(), Word::Running.as_str()];
    let ended = result.stages.iter().filter(|report| !unended.contains(&report.status.as_str()));
    let stages = ended.map(stage).collect::<Result<Vec<_>, _>>()?;
    let outcome = Outcome { status, reason: reason(&result.reason), infrastructure: result.infrastructure };
    Ok((outcome, stages))
}

fn word(text: &str) -> Result<Word, Status> {
    text.parse().map_err(|error: ocelot_model::status::UnknownStatus| {
        let shown: String = error.0.chars().take(40).collect();
        Status::invalid_argument(ocelot_model::status::UnknownStatus(shown).to_string())
    })
}

/// Reasons are text from outside: bounded, and without what a database cannot hold.
fn reason(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.chars().filter(|c| *c != '\0').take(REASON_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &str, exit_code: Option<i32>, want: &str) {
        let report = StageReport { status: status.into(), exit_code, ..StageReport::default() };
        let got = stage(&report).map_or_else(|e| e.message().to_owned(), |update| update.status.to_string());
        assert!(got.contains(want), "{got}");
    }

    #[test]
    fn words_about_stages() {
        check("running", None, "running");
        check("passed", Some(0), "passed");
        check("skipped", None, "skipped");
        check("queued", None, "cannot report a stage as queued");
        check("won", None, "`won` is no status");
        check("failed", Some(-1), "-1 is no exit code");
        check("failed", Some(i32::MAX), "is no exit code");
        check("running", Some(0), "has no exit code");
    }

    #[test]
    fn words_about_attempts() {
        let check = |status: &str, want: bool| {
            let result = AttemptResult { status: status.into(), ..AttemptResult::default() };
            assert_eq!(attempt(&result).is_ok(), want, "{status}");
        };
        check("passed", true);
        check("timed_out", true);
        check("skipped", false);
        check("running", false);
        check("", false);
    }
}
