//! Logs as plain text: of one stage by ranges, tail or search, and of a whole build.

use std::fmt::Write as _;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use ocelot_model::StageId;
use ocelot_model::access::Action;
use ocelot_store::{BuildDetail, Job, StoreError};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Caller;
use super::builds::find;
use super::extract::{Query, Segments, number};
use super::logtext::{Reader, Search, Shape, Writer};
use super::problem::{Answer, Refusal};
use crate::App;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Stands in the log of a build for that of a stage, while the other stages can be read.
const MISSING: &str = "[this log is missing in the log store]\n";

/// Which part of a log, and how.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Put the time before each line.
    timestamps: bool,
    /// Only the last lines.
    tail: Option<u64>,
    /// Only lines with this text, any case.
    search: Option<String>,
}

/// The log of one stage.
///
/// `Range` counts bytes of the log as it is stored, so it holds for the whole log as it is only: together with
/// `timestamps`, `tail` or `search` it is ignored, and the answer has no `Accept-Ranges`. Of a log that was deleted, or removed
/// for its age, the answer is the note that stands in its place, whatever part was asked for.
#[utoipa::path(get, path = "/api/v1/builds/{number}/stages/{id}/log", tag = "logs",
    params(("number" = String, Path, description = "Build number"), ("id" = String, Path, description = "Stage id"), Asked,
        ("Range" = Option<String>, Header, description = "`bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT`")),
    responses((status = 200, content_type = "text/plain", body = String),
        (status = 206, content_type = "text/plain", body = String, description = "The bytes that were asked for"),
        (status = 416, description = "The range begins behind the end of the log"),
        (status = 502, description = "The log is missing in the log store")))]
pub(super) async fn stage(
    State(app): State<App>,
    caller: Caller,
    Segments((build, stage)): Segments<(String, String)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Answer<Response> {
    let build = find(&app, &caller, &build, Action::ReadRepo).await?;
    let stage = number(&stage).map(StageId).ok_or_else(|| caller.not_found())?;
    let found = app.store.find_stage(stage).await?;
    if found.is_none_or(|(of, _)| of.number != build) {
        return Err(caller.not_found());
    }
    let state = app.store.log_state(stage).await?;
    let total = state.bytes;
    // Whatever part of a log was asked for: when it was removed, the note is the answer.
    let (asked, headers) = if state.removed { <_>::default() } else { (asked, headers) };
    let search = match asked.search.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => {
            Some(Search::new(text).ok_or_else(|| Refusal::bad_request("search: this text is too long"))?)
        }
        None => None,
    };
    let shape = Shape { timestamps: asked.timestamps, search };
    let plain = shape.is_plain();
    let ranges = plain && asked.tail.is_none() && !state.removed;
    let range = if ranges { wanted_range(&headers, total).transpose()? } else { None };
    let (at, end) = match (range, asked.tail) {
        (Some(range), _) => range,
        (None, Some(lines)) => (app.store.log_tail(stage, total, lines).await?, total),
        (None, None) => (0, total),
    };
    if at < end {
        // Once the answer has begun, nothing can be said any more.
        app.store.read_log(stage, at, 1).await?;
    }
    let reader = Reader { store: app.store, stage, at, end, writer: Writer::new(shape) };
    let mut response = Body::from_stream(stream::try_unfold(reader, step)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, TEXT);
    if ranges {
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if plain {
        headers.insert(header::CONTENT_LENGTH, (end - at).into());
    }
    if range.is_some() {
        let value = format!("bytes {at}-{}/{total}", end - 1);
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&value).map_err(Refusal::internal)?);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Deletes the log of one stage for good, for one with a secret in it.
///
/// A note that says who did it and when stands in its place from then on. Twice is fine: the first note stays.
#[utoipa::path(delete, path = "/api/v1/builds/{number}/stages/{id}/log", tag = "logs",
    params(("number" = String, Path, description = "Build number"), ("id" = String, Path, description = "Stage id")),
    responses((status = 204), (status = 409, description = "The stage still writes to it")))]
pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Segments((build, stage)): Segments<(String, String)>,
) -> Answer<StatusCode> {
    let build = find(&app, &caller, &build, Action::AdminRepo).await?;
    let stage = number(&stage).map(StageId).ok_or_else(|| caller.not_found())?;
    let found = app.store.find_stage(stage).await?;
    if found.is_none_or(|(of, _)| of.number != build) {
        return Err(caller.not_found());
    }
    let when = app.store.now().await?.strftime("%Y-%m-%d %H:%M:%S UTC");
    let by = caller.name();
    app.store.remove_log(stage, &format!("[log deleted by {by} on {when}]"), &by).await?;
    tracing::info!(%build, %stage, %by, "log of stage {stage} of build {build} deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// The range of the request. A log has no version that `If-Range` could name, so with it the whole log is meant.
fn wanted_range(headers: &HeaderMap, total: u64) -> Option<Answer<(u64, u64)>> {
    if headers.contains_key(header::IF_RANGE) {
        return None;
    }
    read_range(headers.get(header::RANGE)?.to_str().ok()?, total)
}

async fn step(mut reader: Reader) -> Result<Option<(Bytes, Reader)>, StoreError> {
    Ok(reader.next().await?.map(|data| (data.into(), reader)))
}

/// First byte and the byte after the last one. `None` for what is to be ignored: other units, several
/// ranges, nonsense.
fn read_range(text: &str, total: u64) -> Option<Answer<(u64, u64)>> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
    // A number that is too large for us is behind every end.
    let read =
        |word: &str| word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().unwrap_or(u64::MAX));
    let (at, end) = match (first, last) {
        ("", "") => return None,
        ("", suffix) => (total.saturating_sub(read(suffix)?), total),
        (first, "") => (read(first)?, total),
        (first, last) => {
            let (first, last) = (read(first)?, read(last)?);
            if first > last {
                return None;
            }
            (first, last.saturating_add(1).min(total))
        }
    };
    if at < end {
        return Some(Ok((at, end)));
    }
    let words = format!("The log has {total} bytes; this range begins behind its end.");
    let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", words);
    let value =
        HeaderValue::from_str(&format!("bytes */{total}")).unwrap_or(HeaderValue::from_static("bytes */*"));
    Some(Err(refusal.with(header::CONTENT_RANGE, value)))
}

/// Which logs of a build.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Number of an attempt; default: the newest one of each job.
    attempt: Option<u32>,
}

/// The logs of all stages of a build, with a heading before each.
///
/// A job that was tried more than once says so, and how to get the logs of its earlier attempts.
#[utoipa::path(get, path = "/api/v1/builds/{number}/log", tag = "logs",
    params(("number" = String, Path, description = "Build number"), Which),
    responses((status = 200, content_type = "text/plain", body = String),
        (status = 404, description = "There is no such build, or none of its jobs had this attempt")))]
pub(super) async fn build(
    State(app): State<App>,
    caller: Caller,
    Segments(build): Segments<String>,
    Query(which): Query<Which>,
) -> Answer<Response> {
    let build = find(&app, &caller, &build, Action::ReadRepo).await?;
    let detail = app.store.find_build_detail(build).await?.ok_or_else(|| caller.not_found())?;
    let parts = parts(&detail, which.attempt);
    if let Some(attempt) = which.attempt.filter(|_| parts.is_empty()) {
        let words = format!("No job of build {build} had an attempt {attempt}.");
        return Err(Refusal::new(StatusCode::NOT_FOUND, "no_such_attempt", words));
    }
    let all = All { app, parts: parts.into_iter(), reader: None, at_line_start: true };
    let mut response = Body::from_stream(stream::try_unfold(all, All::step)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    Ok(response)
}

/// A line of ours, and the log that follows it.
type Part = (String, Option<StageId>);

fn parts(detail: &BuildDetail, number: Option<u32>) -> Vec<Part> {
    let several = detail.jobs.len() > 1;
    let mut parts = Vec::new();
    for job in &detail.jobs {
        let attempt = match number {
            None => job.attempts.last(),
            Some(number) => job.attempts.iter().find(|attempt| attempt.number == number),
        };
        let Some(attempt) = attempt else { continue };
        if job.attempts.len() > 1 {
            parts.push((format!("=== {} ===\n", tries(job, attempt.number)), None));
        }
        let of = if several { format!("{} / ", job.spec.name) } else { String::new() };
        for stage in &attempt.stages {
            let allowed = if job.allows(attempt, stage) { ", allowed" } else { "" };
            let heading = format!("=== {of}{} ({}{allowed}) ===\n", stage.name, stage.status);
            parts.push((heading, Some(stage.id)));
        }
    }
    parts
}

/// `job a, attempt 2; attempt 1: error, its worker was silent (?attempt=1)`
fn tries(job: &Job, shown: u32) -> String {
    let mut words = format!("job {}, attempt {shown}", job.spec.name);
    for other in job.attempts.iter().filter(|attempt| attempt.number != shown) {
        let why =
            other.reason.as_deref().map_or_else(String::new, |why| format!(", {}", why.replace('\n', " ")));
        let _ = write!(words, "; attempt {0}: {1}{why} (?attempt={0})", other.number, other.status);
    }
    words
}

/// All logs of a build, one after the other.
struct All {
    app: App,
    parts: std::vec::IntoIter<Part>,
    reader: Option<Reader>,
    at_line_start: bool,
}

impl All {
    async fn step(mut self) -> Result<Option<(Bytes, All)>, StoreError> {
        if let Some(reader) = &mut self.reader {
            let data = match reader.next().await {
                Err(StoreError::LogMissing(why)) => {
                    tracing::error!("{why}");
                    self.reader = None;
                    let note = if self.at_line_start { MISSING.to_owned() } else { format!("\n{MISSING}") };
                    self.at_line_start = true;
                    return Ok(Some((note.into(), self)));
                }
                other => other?,
            };
            if let Some(data) = data {
                self.at_line_start = data.last().map_or(self.at_line_start, |last| *last == b'\n');
                return Ok(Some((data.into(), self)));
            }
            self.reader = None;
        }
        let Some((heading, stage)) = self.parts.next() else { return Ok(None) };
        if let Some(stage) = stage {
            let end = self.app.store.log_state(stage).await?.bytes;
            let writer = Writer::new(Shape::default());
            self.reader = Some(Reader { store: self.app.store.clone(), stage, at: 0, end, writer });
        }
        let heading = if self.at_line_start { heading } else { format!("\n{heading}") };
        self.at_line_start = true;
        Ok(Some((heading.into(), self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `first-last`, `416`, or `all` for what is ignored.
    fn check(text: &str, want: &str) {
        let got = match read_range(text, 10) {
            Some(Ok((at, end))) => format!("{at}-{}", end - 1),
            Some(Err(refusal)) => refusal.problem.status.to_string(),
            None => "all".to_owned(),
        };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn ranges() {
        check("bytes=0-0", "0-0");
        check("bytes=2-", "2-9");
        check("bytes=-3", "7-9");
        check("bytes=-30", "0-9");
        check("bytes=5-99", "5-9");
        check("bytes=10-", "416");
        check("bytes=-0", "416");
        check("Bytes=0-99999999999999999999", "0-9");
        check("bytes=99999999999999999999-", "416");
        check("bytes=-99999999999999999999", "0-9");
        for ignored in ["lines=0-1", "bytes=a-b", "bytes=5-2", "bytes=-", "bytes=0-1,3-4", "bytes=+1-2"] {
            check(ignored, "all");
        }
    }
}
