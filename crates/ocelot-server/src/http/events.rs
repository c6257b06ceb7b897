//! Event streams: what happens to one build with its logs, or to all builds, as it happens.
//!
//! A stream holds no state but its [`Cursor`], which is also the id of every event: who comes back
//! with it goes on where they were. Wake-ups only say where to look. A slow reader makes its own
//! stream wait and nobody else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event as Frame, Sse};
use axum::response::{IntoResponse, Response};
use ocelot_api::body as api;
use ocelot_model::access::Action;
use ocelot_model::{BuildNumber, RepoId};
use ocelot_store::{Repo, StoreError, Wake};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::auth::{Caller, identify};
use super::body;
use super::builds::find;
use super::cursor::Cursor;
use super::extract::{NoQuery, Query, Segments};
use super::follow::Follow;
use super::origin::same_origin;
use super::problem::{Answer, Refusal};
use crate::App;

/// A comment goes out this often, so that proxies keep the connection and the dead are noticed.
const COMMENT: Duration = Duration::from_secs(15);
/// A token that was revoked is told nothing more after this time.
const KNOWN: Duration = Duration::from_secs(1);
/// Events that wait for a slow reader.
const WAITING: usize = 8;
/// Rows of the history that are read at once.
pub(super) const ROWS: u32 = 200;

/// The reader is gone, or the stream cannot go on.
#[derive(Debug)]
pub(super) struct Over;

impl From<StoreError> for Over {
    fn from(error: StoreError) -> Over {
        tracing::warn!(%error, "an event stream ends; its reader comes back");
        Over
    }
}

/// Where events go.
#[derive(Debug)]
pub(super) struct Out(mpsc::Sender<Result<Frame, Infallible>>);

impl Out {
    /// Waits until the reader has taken what came before.
    pub(super) async fn send(&self, event: &api::Event, id: Option<String>) -> Result<(), Over> {
        let name = match event {
            api::Event::Build { .. } => "build",
            api::Event::Job { .. } => "job",
            api::Event::Stage { .. } => "stage",
            api::Event::Log { .. } => "log",
            api::Event::End { .. } => "end",
        };
        let frame = Frame::default().event(name).json_data(event).map_err(|_| Over)?;
        self.frame(match id {
            Some(id) => frame.id(id),
            None => frame,
        })
        .await
    }

    async fn frame(&self, frame: Frame) -> Result<(), Over> {
        self.0.send(Ok(frame)).await.map_err(|_| Over)
    }
}

/// What a stream of one build carries besides statuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LogWish {
    /// The text of the logs.
    #[default]
    Text,
    /// Only how far they are.
    Offsets,
    /// Nothing.
    None,
}

/// How to follow a build.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// `text` (default), `offsets` (log events without text) or `none`.
    #[param(inline)]
    log: LogWish,
}

/// Follows one build: `build`, `job`, `stage`, `log` events and one `end`. Begins with how things stand.
#[utoipa::path(get, path = "/api/v1/builds/{number}/events", tag = "events",
    params(("number" = String, Path, description = "Build number"), Asked, ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that arrived")),
    responses((status = 200, content_type = "text/event-stream", body = api::Event), (status = 416, description = "`Last-Event-ID` names an event, or bytes of a log, that are not there yet")))]
pub(super) async fn build(
    State(app): State<App>,
    caller: Caller,
    Segments(number): Segments<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Answer<Response> {
    same_origin(&headers, &app.public_url)?;
    let number = find(&app, &caller, &number, Action::ReadRepo).await?;
    let cursor = resume(&app, &headers).await?;
    if let Some(cursor) = &cursor {
        has_logs(&app, cursor).await?;
    }
    let (out, answer) = stream();
    let watch = Watch::new(app, caller, headers, Some(number));
    tokio::spawn(follow_build(watch, out, number, asked.log, cursor));
    Ok(answer)
}

/// Follows all builds that the caller may read, without logs. Begins with what happens next.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that arrived")),
    responses((status = 200, content_type = "text/event-stream", body = api::Event), (status = 416, description = "`Last-Event-ID` names an event that has not happened yet")))]
pub(super) async fn all(
    State(app): State<App>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    same_origin(&headers, &app.public_url)?;
    caller.readable(&app).await?;
    let cursor = resume(&app, &headers).await?;
    let watch = Watch::new(app, caller, headers, None);
    let seq = match cursor {
        Some(cursor) => cursor.seq,
        None => watch.app.store.last_event().await?,
    };
    let (out, answer) = stream();
    tokio::spawn(follow_all(watch, out, seq));
    Ok(answer)
}

fn stream() -> (Out, Response) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut response = Sse::new(ReceiverStream::new(receiver)).into_response();
    // Proxies must not collect it.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    (Out(sender), response)
}

async fn resume(app: &App, headers: &HeaderMap) -> Answer<Option<Cursor>> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let bad = || Refusal::bad_request("Last-Event-ID: give back the id of the last event, as it was");
    let cursor: Cursor = value.to_str().ok().and_then(Cursor::parse).ok_or_else(bad)?;
    if cursor.seq > app.store.last_event().await? {
        let words = "Last-Event-ID: this event has not happened yet";
        return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", words));
    }
    Ok(Some(cursor))
}

/// Nobody has had more of a log than there is, unless it was removed since.
async fn has_logs(app: &App, cursor: &Cursor) -> Answer<()> {
    for (stage, sent) in &cursor.sent {
        let state = app.store.log_state(*stage).await?;
        if *sent > state.bytes && !state.removed {
            let words = format!("Last-Event-ID: the log of stage {stage} has {} bytes only", state.bytes);
            return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", words));
        }
    }
    Ok(())
}

/// Waits for something to look at, on behalf of one reader.
struct Watch {
    app: App,
    wakes: broadcast::Receiver<Wake>,
    caller: Caller,
    headers: HeaderMap,
    /// What is followed; `None` is every build that the reader may read.
    build: Option<BuildNumber>,
    /// Handles of repositories that the reader may read, and the others, as they were a moment ago.
    names: HashMap<RepoId, Option<String>>,
    comment_at: Instant,
    /// Until then the reader is taken for whom they were.
    known_until: Instant,
}

impl Watch {
    /// Listens from now on: what is read afterwards misses nothing.
    fn new(app: App, caller: Caller, headers: HeaderMap, build: Option<BuildNumber>) -> Watch {
        let wakes = app.store.wakes();
        let now = Instant::now();
        let names = HashMap::new();
        Watch {
            app,
            wakes,
            caller,
            headers,
            build,
            names,
            comment_at: now + COMMENT,
            known_until: now + KNOWN,
        }
    }

    /// The next wake-up; `None` at this time. Sends comments meanwhile, and ends when the reader's rights did.
    async fn next(&mut self, out: &Out, due: Option<Instant>) -> Result<Option<Wake>, Over> {
        tokio::select! {
            () = tokio::time::sleep_until(due.unwrap_or(self.comment_at)), if due.is_some() => Ok(None),
            wake = self.wakes.recv() => {
                if Instant::now() >= self.known_until {
                    self.still_known().await?;
                }
                match wake {
                    Ok(wake) => Ok(Some(wake)),
                    Err(RecvError::Lagged(_)) => Ok(Some(Wake::All)),
                    Err(RecvError::Closed) => Err(Over),
                }
            }
            () = out.0.closed() => Err(Over),
            () = self.app.shutdown.cancelled() => {
                // Not all at once when the server is back.
                let pause = Duration::from_millis(rand::random_range(500..5_000));
                let _ = out.0.try_send(Ok(Frame::default().retry(pause).comment("the server stops")));
                Err(Over)
            }
            () = tokio::time::sleep_until(self.comment_at) => {
                self.comment_at = Instant::now() + COMMENT;
                out.frame(Frame::default().comment("")).await?;
                self.still_known().await?;
                Ok(Some(Wake::All))
            }
        }
    }

    /// Ends the stream of who signed out, whose token was revoked, or who may not read the build any more.
    async fn still_known(&mut self) -> Result<(), Over> {
        self.known_until = Instant::now() + KNOWN;
        self.names.clear();
        match self.identify().await {
            Err(refusal) if refusal.problem.status == 503 => Ok(()),
            known => known.map_err(|_| Over),
        }
    }

    async fn identify(&self) -> Answer<()> {
        let caller = identify(&self.app, &self.headers).await?;
        if caller.0 != self.caller.0 {
            return Err(caller.not_found());
        }
        match self.build {
            Some(build) => find(&self.app, &caller, &build.to_string(), Action::ReadRepo).await.map(drop),
            None => Ok(()),
        }
    }

    /// Handle of a repository that the reader may read.
    async fn name(&mut self, id: RepoId) -> Result<Option<String>, Over> {
        if let Some(known) = self.names.get(&id) {
            return Ok(known.clone());
        }
        let found: Option<Repo> = match self.app.store.load_repo(id).await {
            Ok(repo) => Some(repo),
            Err(StoreError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let name =
            found.filter(|repo| self.caller.may(Action::ReadRepo, repo)).map(|repo| repo.name.to_string());
        self.names.insert(id, name.clone());
        Ok(name)
    }
}

async fn follow_build(mut watch: Watch, out: Out, number: BuildNumber, log: LogWish, cursor: Option<Cursor>) {
    let _viewer = (log != LogWish::None).then(Viewer::new);
    let mut follow = Follow::new(&watch.app, number, log, cursor);
    let work = async {
        follow.begin(&out).await?;
        loop {
            if follow.over(&out).await? {
                return Ok::<(), Over>(());
            }
            loop {
                let due = follow.due();
                match watch.next(&out, due).await? {
                    None => follow.send_due(&out).await?,
                    Some(Wake::Events(seq)) if seq > follow.seq() => follow.events(&out).await?,
                    Some(Wake::All) => follow.everything(&out).await?,
                    Some(Wake::Log(stage)) => {
                        follow.woken(stage);
                        continue;
                    }
                    Some(
                        Wake::Events(_)
                        | Wake::Queue
                        | Wake::Cancel(_)
                        | Wake::Worker(_)
                        | Wake::Outbox
                        | Wake::Deliveries,
                    ) => continue,
                }
                break;
            }
        }
    };
    let _ = work.await;
}

/// Counts as one who follows logs for as long as it lives.
struct Viewer;

impl Viewer {
    fn new() -> Viewer {
        metrics::gauge!("ocelot_log_viewers").increment(1.0);
        Viewer
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        metrics::gauge!("ocelot_log_viewers").decrement(1.0);
    }
}

async fn follow_all(mut watch: Watch, out: Out, mut seq: i64) {
    let work = async {
        loop {
            loop {
                let rows = watch.app.store.events_after(seq, None, ROWS).await?;
                let Some(last) = rows.last() else { break };
                seq = last.seq;
                for row in rows {
                    let id = row.seq.to_string();
                    if let Some(name) = watch.name(row.repo).await? {
                        out.send(&body::event(row, &name), Some(id)).await?;
                    }
                }
            }
            loop {
                match watch.next(&out, None).await? {
                    Some(Wake::Events(to)) if to > seq => break,
                    Some(Wake::All) => {
                        watch.names.clear();
                        break;
                    }
                    None
                    | Some(
                        Wake::Events(_)
                        | Wake::Log(_)
                        | Wake::Queue
                        | Wake::Cancel(_)
                        | Wake::Worker(_)
                        | Wake::Outbox
                        | Wake::Deliveries,
                    ) => {}
                }
            }
        }
    };
    let _: Result<(), Over> = work.await;
}
