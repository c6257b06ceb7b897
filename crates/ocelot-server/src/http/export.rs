//! All history as a stream of rows. Only one page of it is in memory at a time.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use ocelot_model::access::{Action, Actor};
use ocelot_model::{BuildNumber, duration};
use ocelot_store::{Build, Exported, Looked, StoreError};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::auth::Caller;
use super::body;
use super::builds::{parse, time};
use super::extract::Query;
use super::problem::Answer;
use crate::App;
use crate::builds::chain;

/// Builds that are read at once.
const PAGE: u32 = 200;

const BUILDS: &[&str] = &[
    "number",
    "repo",
    "status",
    "event",
    "branch",
    "commit",
    "message",
    "author",
    "triggered_by",
    "queued_at",
    "started_at",
    "finished_at",
    "queue_ms",
    "duration_ms",
    "reason",
    "retry_of",
    "pull_request",
    "tag",
    "trusted",
    "upstream",
    "upstream_repo",
    "approved_by",
    "approved_at",
];
const JOBS: &[&str] = &[
    "build",
    "repo",
    "job",
    "attempt",
    "status",
    "worker",
    "started_at",
    "finished_at",
    "queue_ms",
    "duration_ms",
    "reason",
    "approved_by",
];
const STAGES: &[&str] = &[
    "build",
    "repo",
    "job",
    "attempt",
    "stage",
    "status",
    "exit_code",
    "started_at",
    "duration_ms",
    "reason",
];

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Builds,
    Jobs,
    Stages,
}

impl What {
    const fn columns(self) -> &'static [&'static str] {
        match self {
            What::Builds => BUILDS,
            What::Jobs => JOBS,
            What::Stages => STAGES,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            What::Builds => "builds",
            What::Jobs => "jobs",
            What::Stages => "stages",
        }
    }
}

impl std::str::FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<What, String> {
        let known = [What::Builds, What::Jobs, What::Stages].into_iter().find(|what| what.as_str() == text);
        known.ok_or_else(|| format!("`{text}` is none of builds, jobs and stages"))
    }
}

/// How a row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Ndjson,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        match text {
            "csv" => Ok(Format::Csv),
            "ndjson" => Ok(Format::Ndjson),
            other => Err(format!("`{other}` is neither csv nor ndjson")),
        }
    }
}

/// What is to be exported.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// `ndjson` (when left out) or `csv`.
    format: Option<String>,
    /// What a row is: `builds` (when left out), `jobs` (every attempt) or `stages` (of every attempt).
    what: Option<String>,
    /// Handle of a repository; without, all that the caller may read.
    repo: Option<String>,
    /// Builds that ended at this time (RFC 3339) or later.
    since: Option<String>,
    /// Builds that ended before this time (RFC 3339).
    until: Option<String>,
}

/// All builds that ended, or their jobs or stages, in the order in which the builds ended. To go on later, give the last row's
/// `finished_at` less a minute as `since`, and skip the numbers that are known. In CSV a text that begins with `=`, `+`, `-`, `@`, a
/// tabulator or a carriage return gets a `'` before it, so that no program takes it for a formula.
#[utoipa::path(get, path = "/api/v1/export", tag = "stats", params(Asked),
    responses((status = 200, description = "Rows, one a line", content_type = "application/x-ndjson", body = String),
        (status = 404, description = "There is no such repository, or the caller may not see it")))]
pub(super) async fn export(
    State(app): State<App>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Answer<Response> {
    let readable = caller.readable_ids(&app).await?;
    let repo = match &asked.repo {
        Some(handle) => Some(caller.repo(&app, handle, Action::ReadRepo).await?),
        None => None,
    };
    let format = parse::<Format>("format", asked.format.as_ref())?.unwrap_or(Format::Ndjson);
    let what = parse::<What>("what", asked.what.as_ref())?.unwrap_or(What::Builds);
    let reader = Reader {
        app,
        actor: caller.0,
        exported: Exported {
            repos: repo.map(|repo| vec![repo.id]).or(readable),
            since: time("since", asked.since.as_ref())?,
            until: time("until", asked.until.as_ref())?,
        },
        what,
        format,
        at: At::Begin,
    };
    let mut response = Body::from_stream(stream::try_unfold(reader, Reader::step)).into_response();
    let (kind, name) = match format {
        Format::Csv => {
            ("text/csv; charset=utf-8", format!("attachment; filename=\"ocelot-{}.csv\"", what.as_str()))
        }
        Format::Ndjson => {
            ("application/x-ndjson", format!("attachment; filename=\"ocelot-{}.ndjson\"", what.as_str()))
        }
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

enum At {
    Begin,
    After(Option<Looked>),
    End,
}

struct Reader {
    app: App,
    /// Who reads: what they may not see is not in it.
    actor: Actor,
    exported: Exported,
    what: What,
    format: Format,
    at: At,
}

impl Reader {
    /// The next piece. An error ends the answer in its middle, which the reader sees: nobody takes a part for the whole.
    async fn step(mut self) -> Result<Option<(Bytes, Reader)>, StoreError> {
        let after = match self.at {
            At::End => return Ok(None),
            At::Begin => {
                self.at = At::After(None);
                if self.format == Format::Csv {
                    let head = self.what.columns().join(",") + "\r\n";
                    return Ok(Some((head.into(), self)));
                }
                None
            }
            At::After(after) => after,
        };
        if self.app.shutdown.is_cancelled() {
            return Err(StoreError::Unavailable("the server stops".to_owned()));
        }
        let builds = self.app.store.ended_builds(&self.exported, after, PAGE).await?;
        let Some(last) = builds.last().and_then(Looked::at) else { return Ok(None) };
        self.at = if builds.len() < PAGE as usize { At::End } else { At::After(Some(last)) };
        let rows = self.rows(builds).await?;
        let text: String = rows.into_iter().map(|row| self.write(&row)).collect();
        Ok(Some((text.into(), self)))
    }

    async fn rows(&self, builds: Vec<Build>) -> Result<Vec<Map<String, Value>>, StoreError> {
        let store = &self.app.store;
        let numbers: Vec<BuildNumber> = builds.iter().map(|build| build.number).collect();
        let repos: Vec<String> = builds.iter().map(|build| build.repo.name.to_string()).collect();
        let place = |number: BuildNumber| numbers.iter().position(|own| *own == number).unwrap_or_default();
        let mut rows: Vec<(usize, Value)> = match self.what {
            What::Builds => {
                let mut above = chain::above(&self.app, &self.actor, &numbers).await?;
                let row = |build: Build| {
                    let above = above.remove(&build.number);
                    let mut row =
                        serde_json::to_value(body::follows(body::build(build), above)).unwrap_or_default();
                    row["upstream_repo"] = row["upstream_build"]["repo"].clone();
                    row
                };
                builds.into_iter().map(row).enumerate().collect()
            }
            What::Jobs => {
                let jobs = store.past_jobs(&numbers).await?;
                let row = |job: ocelot_store::PastJob| {
                    let took =
                        job.started_at.zip(job.finished_at).map(|(from, to)| duration::between(from, to));
                    let at = place(job.build);
                    let row = json!({"build": job.build.0, "repo": repos[at], "job": job.job, "attempt": job.attempt,
                        "status": job.status, "worker": job.worker, "started_at": job.started_at,
                        "finished_at": job.finished_at, "queue_ms": job.queue_ms, "duration_ms": took, "reason": job.reason,
                        "approved_by": job.approved_by});
                    (at, row)
                };
                jobs.into_iter().map(row).collect()
            }
            What::Stages => {
                let stages = store.past_stages(&numbers).await?;
                let row = |s: ocelot_store::PastStage| {
                    let at = place(s.build);
                    let row = json!({"build": s.build.0, "repo": repos[at], "job": s.job, "attempt": s.attempt,
                        "stage": s.stage, "status": s.status, "exit_code": s.exit_code, "started_at": s.started_at,
                        "duration_ms": s.duration_ms, "reason": s.reason});
                    (at, row)
                };
                stages.into_iter().map(row).collect()
            }
        };
        rows.sort_by_key(|(at, _)| *at);
        let objects = rows.into_iter().filter_map(|(_, row)| match row {
            Value::Object(row) => Some(row),
            _ => None,
        });
        Ok(objects.collect())
    }

    fn write(&self, row: &Map<String, Value>) -> String {
        let null = Value::Null;
        let values = self.what.columns().iter().map(|name| (*name, row.get(*name).unwrap_or(&null)));
        match self.format {
            Format::Csv => values.map(|(_, value)| cell(value)).collect::<Vec<_>>().join(",") + "\r\n",
            Format::Ndjson => {
                let pairs: Vec<String> = values.map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}\n", pairs.join(","))
            }
        }
    }
}

/// A cell of CSV (RFC 4180) that no program takes for a formula.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text,
        other => return other.to_string(),
    };
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.clone() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_no_formulas() {
        for (value, want) in [
            (json!(null), ""),
            (json!(-5), "-5"),
            (json!(true), "true"),
            (json!("plain text"), "plain text"),
            (json!("a, \"b\"\nc"), "\"a, \"\"b\"\"\nc\""),
            (json!("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0"),
            (json!("-1+1"), "'-1+1"),
            (json!("@SUM(1,2)"), "\"'@SUM(1,2)\""),
            (json!("\t=1"), "'\t=1"),
            (json!("+49"), "'+49"),
            (json!("a=b"), "a=b"),
        ] {
            assert_eq!(cell(&value), want);
        }
    }
}
