//! Logs as plain text: of one stage by ranges, tail or search, and of a whole build.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use ocelot_api::Problem;
use ocelot_model::StageId;
use ocelot_model::access::Action;
use ocelot_store::{BuildDetail, StoreError};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Caller;
use super::builds::find;
use super::extract::{NoQuery, Query, Segments, number};
use super::logtext::{Reader, Shape, Writer, tail};
use super::problem::{Answer, Refusal};
use crate::App;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

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

/// The log of one stage. `Range` counts bytes of the log as it is stored, without timestamps.
#[utoipa::path(get, path = "/api/v1/builds/{number}/stages/{id}/log", tag = "logs",
    params(("number" = String, Path, description = "Build number"), ("id" = String, Path, description = "Stage id"), Asked),
    responses((status = 200, content_type = "text/plain", body = String), (status = 206, content_type = "text/plain", body = String),
        (status = 401, body = Problem), (status = 404, body = Problem), (status = 416, body = Problem)))]
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
    let total = app.store.log_state(stage).await?.bytes;
    let shape = Shape { timestamps: asked.timestamps, search: asked.search.filter(|text| !text.is_empty()) };
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let range = range.and_then(|text| read_range(text, total)).transpose()?;
    let (at, end) = match (range, asked.tail) {
        (Some(range), _) => range,
        (None, Some(lines)) => (tail(&app.store, stage, total, lines).await?, total),
        (None, None) => (0, total),
    };
    let plain = shape.is_plain();
    let reader = Reader { store: app.store, stage, at, end, writer: Writer::new(shape) };
    let mut response = Body::from_stream(stream::try_unfold(reader, step)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, TEXT);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
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

async fn step(mut reader: Reader) -> Result<Option<(Bytes, Reader)>, StoreError> {
    Ok(reader.next().await?.map(|data| (data.into(), reader)))
}

/// First byte and the byte after the last one. `None` for what is to be ignored: other units, several
/// ranges, nonsense.
fn read_range(text: &str, total: u64) -> Option<Answer<(u64, u64)>> {
    let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
    let read = |word: &str| word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse::<u64>().ok())?;
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

/// The logs of all stages of a build, newest attempt of each job, with a heading before each.
#[utoipa::path(get, path = "/api/v1/builds/{number}/log", tag = "logs", params(("number" = String, Path, description = "Build number")),
    responses((status = 200, content_type = "text/plain", body = String), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn build(
    State(app): State<App>,
    caller: Caller,
    Segments(build): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<Response> {
    let build = find(&app, &caller, &build, Action::ReadRepo).await?;
    let detail = app.store.find_build_detail(build).await?.ok_or_else(|| caller.not_found())?;
    let all = All { app, parts: parts(&detail).into_iter(), reader: None, at_line_start: true };
    let mut response = Body::from_stream(stream::try_unfold(all, All::step)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    Ok(response)
}

fn parts(detail: &BuildDetail) -> Vec<(String, StageId)> {
    let several = detail.jobs.len() > 1;
    let mut parts = Vec::new();
    for job in &detail.jobs {
        for stage in job.attempts.last().iter().flat_map(|attempt| &attempt.stages) {
            let of = if several { format!("{} / ", job.spec.name) } else { String::new() };
            parts.push((format!("=== {of}{} ({}) ===\n", stage.name, stage.status), stage.id));
        }
    }
    parts
}

/// All logs of a build, one after the other.
struct All {
    app: App,
    parts: std::vec::IntoIter<(String, StageId)>,
    reader: Option<Reader>,
    at_line_start: bool,
}

impl All {
    async fn step(mut self) -> Result<Option<(Bytes, All)>, StoreError> {
        if let Some(reader) = &mut self.reader {
            if let Some(data) = reader.next().await? {
                self.at_line_start = data.last().map_or(self.at_line_start, |last| *last == b'\n');
                return Ok(Some((data.into(), self)));
            }
            self.reader = None;
        }
        let Some((heading, stage)) = self.parts.next() else { return Ok(None) };
        let end = self.app.store.log_state(stage).await?.bytes;
        let writer = Writer::new(Shape::default());
        self.reader = Some(Reader { store: self.app.store.clone(), stage, at: 0, end, writer });
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
        for ignored in ["lines=0-1", "bytes=a-b", "bytes=5-2", "bytes=-", "bytes=0-1,3-4", "bytes=+1-2"] {
            check(ignored, "all");
        }
    }
}
