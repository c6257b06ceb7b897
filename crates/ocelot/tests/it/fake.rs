//! A server that says what a test wants, in the order that it wants: for what a real one does only by chance.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::{Value, json};

/// What it answers.
pub(crate) enum Answer {
    Json(Value),
    /// The whole text, or the part of it that the request asks for.
    Text(&'static str),
    /// The beginning of a text, of which more was promised.
    Cut(&'static str),
    /// A stream of events that ends with them.
    Events(Vec<Value>),
    /// A stream of events that goes on in silence.
    Silence(Vec<Value>),
    Missing,
}

/// See the module. Lives until the end of the tests.
pub(crate) struct Fake {
    pub(crate) url: String,
}

impl Fake {
    /// `answer` gets `GET /path?query`.
    pub(crate) fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let answer = answer.clone();
                // Whoever goes away in the middle has what they wanted.
                std::thread::spawn(move || serve(connection, &*answer));
            }
        });
        Fake { url }
    }
}

fn serve(mut connection: TcpStream, answer: &dyn Fn(&str) -> Answer) -> std::io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(connection.try_clone()?);
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    let request = head.split(" HTTP/").next().unwrap_or_default();
    let events = |events: Vec<Value>| {
        let frame = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["kind"].as_str().unwrap());
        events.iter().map(frame).collect::<String>()
    };
    let answer = answer(request);
    let missing = usize::from(matches!(answer, Answer::Cut(_)));
    let (status, kind, body, stays) = match answer {
        Answer::Json(value) => ("200 OK", "application/json", value.to_string(), false),
        Answer::Text(text) => match text.get(begin(&head)..) {
            Some("") if begin(&head) > 0 => {
                ("416 Range Not Satisfiable", "application/problem+json", refused(416), false)
            }
            part => ("200 OK", "text/plain", part.unwrap_or_default().to_owned(), false),
        },
        Answer::Cut(text) => ("200 OK", "text/plain", text.to_owned(), false),
        Answer::Events(list) => ("200 OK", "text/event-stream", events(list), false),
        Answer::Silence(list) => ("200 OK", "text/event-stream", events(list), true),
        Answer::Missing => ("404 Not Found", "application/problem+json", refused(404), false),
    };
    let length = if stays { String::new() } else { format!("content-length: {}\r\n", body.len() + missing) };
    write!(
        connection,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{length}connection: close\r\n\r\n{body}"
    )?;
    connection.flush()?;
    if stays {
        // Until the other side goes.
        connection.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

/// Where the range begins that was asked for.
fn begin(head: &str) -> usize {
    let range =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    range.and_then(|range| range.split('-').next().and_then(|from| from.parse().ok())).unwrap_or(0)
}

fn refused(status: u16) -> String {
    json!({"type": "about:blank", "title": "No", "status": status, "code": "no", "detail": "nothing is here"})
        .to_string()
}

/// A build with these jobs.
pub(crate) fn build(status: &str, jobs: &Value) -> Value {
    json!({"number": 1, "repo": "git/app", "status": status, "event": "manual", "branch": "main", "commit": "a".repeat(40),
        "message": "m", "author": "a", "queued_at": "2026-01-01T00:00:00Z", "jobs": jobs})
}

/// A job; each stage is an id, a name, a status and the length of its log.
pub(crate) fn job(name: &str, status: &str, stages: &[(i64, &str, &str, i64)]) -> Value {
    let stages: Vec<Value> = stages
        .iter()
        .map(
            |(id, name, status, bytes)| json!({"id": id, "name": name, "status": status, "log_bytes": bytes}),
        )
        .collect();
    json!({"id": 1, "name": name, "status": status, "attempt": 1, "labels": {}, "attempts": [], "stages": stages})
}

pub(crate) fn stage_event(stage: i64, status: &str) -> Value {
    json!({"kind": "stage", "build": 1, "job": 1, "stage": stage, "name": "n", "status": status})
}

pub(crate) fn log_event(stage: i64, offset: i64, text: &str) -> Value {
    json!({"kind": "log", "build": 1, "stage": stage, "offset": offset, "bytes": text.len(), "text": text})
}

pub(crate) fn end_event(status: &str) -> Value {
    json!({"kind": "end", "build": 1, "status": status})
}
