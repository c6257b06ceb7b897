//! Event streams: how things stand, what happens, and going on after a break.

use std::time::{Duration, Instant};

use ocelot_model::Status;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::room::{Room, SMALL, answer};

const DEADLINE: Duration = Duration::from_secs(20);

/// One event as it arrived.
#[derive(Debug, Clone)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

impl Event {
    /// `job running`, `log 5+6 world!`, …
    fn short(&self) -> String {
        let data = &self.data;
        match self.name.as_str() {
            "log" => format!("log {}+{} {}", data["offset"], data["bytes"], data["text"].as_str().unwrap()),
            "stage" => {
                format!("stage {} {}", data["name"].as_str().unwrap(), data["status"].as_str().unwrap())
            }
            name => format!("{name} {}", data["status"].as_str().unwrap()),
        }
    }
}

/// Reads events one by one.
struct Stream {
    response: Response,
    text: String,
    /// The beginning of a character.
    cut: Vec<u8>,
}

impl Stream {
    async fn open(room: &Room, path: &str, last: Option<&str>) -> Stream {
        let mut request = room.request(Method::GET, path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { response, text: String::new(), cut: Vec::new() }
    }

    /// The next event; `None` when the stream is closed.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                let field =
                    |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                let Some(name) = field("event") else { continue };
                let data = serde_json::from_str(field("data").unwrap()).unwrap();
                return Some(Event { id: field("id").unwrap().to_owned(), name: name.to_owned(), data });
            }
            let piece = tokio::time::timeout(DEADLINE, self.response.chunk())
                .await
                .expect("nothing comes")
                .unwrap()?;
            self.cut.extend_from_slice(&piece);
            let whole = match std::str::from_utf8(&self.cut) {
                Ok(text) => text.len(),
                // A character whose rest is in the next piece.
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(error) => panic!("{error}"),
            };
            let rest = self.cut.split_off(whole);
            self.text.push_str(&String::from_utf8(std::mem::replace(&mut self.cut, rest)).unwrap());
        }
    }

    /// All events up to one that begins so.
    async fn until(&mut self, what: &str) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("no `{what}` in {events:?}"));
            events.push(event);
            if events.last().unwrap().short().starts_with(what) {
                return events;
            }
        }
    }
}

fn shorts(events: &[Event]) -> Vec<String> {
    events.iter().map(Event::short).collect()
}

/// The text of all log events, checked to be without gap or overlap.
fn text(events: &[Event], from: i64) -> String {
    let mut at = from;
    let logs = events.iter().filter(|event| event.name == "log");
    logs.map(|event| {
        assert_eq!(event.data["offset"], at, "{event:?}");
        at += event.data["bytes"].as_i64().unwrap();
        event.data["text"].as_str().unwrap()
    })
    .collect()
}

#[tokio::test]
async fn a_build_from_beginning_to_end() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let number = room.build("example").await;
    let path = format!("/api/v1/builds/{number}/events");
    let mut stream = Stream::open(&room, &path, None).await;
    let begin = shorts(&stream.until("stage test").await);
    assert_eq!(begin, ["build queued", "job queued", "stage setup queued", "stage test queued"]);
    let worker = room.worker().await;
    let job = room.claim(worker).await;
    stream.until("build running").await;
    let test = job.stages[1].0;
    room.stage(&job, test, Status::Running).await;
    stream.until("stage test running").await;
    let sent = Instant::now();
    room.log(test, 0, b"hello ").await;
    stream.until("log 0+6 hello ").await;
    println!("log bytes arrive after {:?}", sent.elapsed());
    // A character that is cut waits for its rest.
    room.log(test, 6, &"wörld".as_bytes()[..2]).await;
    stream.until("log 6+1 w").await;
    room.log(test, 8, &"wörld".as_bytes()[2..]).await;
    stream.until("log 7+5 örld").await;
    room.log_end(test, "hello wörld".as_bytes()).await;
    room.stage(&job, test, Status::Passed).await;
    room.finish(&job, Status::Passed).await;
    let rest = stream.until("end").await;
    assert_eq!(shorts(&rest).last().unwrap(), "end passed");
    assert!(shorts(&rest).contains(&"build passed".to_owned()), "{rest:?}");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_reader_goes_on_where_it_was() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let number = room.build("example").await;
    let path = format!("/api/v1/builds/{number}/events");
    let worker = room.worker().await;
    let job = room.claim(worker).await;
    let test = job.stages[1].0;
    let whole: Vec<u8> = (0..20_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    room.stage(&job, test, Status::Running).await;
    room.log(test, 0, &whole[..100_000]).await;
    let mut stream = Stream::open(&room, &path, None).await;
    let mut seen = stream.until("log 32768+").await;
    let last = seen.last().unwrap().id.clone();
    drop(stream);
    room.log(test, 100_000, &whole[100_000..]).await;
    room.log_end(test, &whole).await;
    room.stage(&job, test, Status::Passed).await;
    room.finish(&job, Status::Passed).await;
    let mut stream = Stream::open(&room, &path, Some(&last)).await;
    seen.extend(stream.until("end").await);
    assert!(text(&seen, 0).as_bytes() == whole, "the log differs");
    let last = seen.last().unwrap().id.clone();
    let mut stream = Stream::open(&room, &path, Some(&last)).await;
    assert_eq!(shorts(&stream.until("end").await), ["end passed"]);
}

/// Whoever is cut off after any event gets exactly the rest, however much has happened since they began.
#[tokio::test]
async fn every_event_can_be_the_last_one_that_arrived() {
    let room = Room::new().await;
    let yml = "image: busybox\njobs:\n  a: {stages: [{name: one, script: [a]}]}\n  b: {stages: [{name: two, script: [b]}]}\n";
    room.known("example", yml).await;
    let number = room.build("example").await;
    let path = format!("/api/v1/builds/{number}/events");
    let worker = room.worker().await;
    let a = room.claim(worker).await;
    room.stage(&a, a.stages[0].0, Status::Running).await;
    room.log(a.stages[0].0, 0, b"ready").await;
    let mut stream = Stream::open(&room, &path, None).await;
    let mut whole = stream.until("log 0+5").await;
    let begin = shorts(&whole);
    let want = [
        "build running",
        "job running",
        "stage setup running",
        "stage one queued",
        "job queued",
        "stage setup queued",
        "stage two queued",
        "log 0+5 ready",
    ];
    assert_eq!(begin, want);
    room.log_end(a.stages[0].0, b"ready").await;
    room.stage(&a, a.stages[0].0, Status::Passed).await;
    room.stage(&a, a.stages[1].0, Status::Running).await;
    room.log(a.stages[1].0, 0, b"hello").await;
    room.log_end(a.stages[1].0, b"hello").await;
    room.stage(&a, a.stages[1].0, Status::Failed).await;
    room.finish(&a, Status::Failed).await;
    let b = room.claim(worker).await;
    room.finish(&b, Status::Passed).await;
    whole.extend(stream.until("end").await);
    // Whoever comes late gets it in another order: a stage's end right after its log.
    let mut late = vec![whole[0].clone()];
    late.extend(Stream::open(&room, &path, Some(&whole[0].id)).await.until("end").await);
    for all in [whole, late] {
        for (at, last) in all.iter().enumerate() {
            let rest = Stream::open(&room, &path, Some(&last.id)).await.until("end").await;
            // Logs may come in other pieces and between other changes; everything else comes in order, once.
            let both: Vec<Event> = all[..=at].iter().chain(&rest).cloned().collect();
            assert_eq!(changes(&both), changes(&all), "after {}: {last:?}", at + 1);
            assert_eq!(text_of(&both), text_of(&all), "after {}: {last:?}", at + 1);
        }
    }
}

/// All but logs and the end.
fn changes(events: &[Event]) -> Vec<Value> {
    let changes = events.iter().filter(|event| event.name != "log" && event.name != "end");
    changes.map(|event| event.data.clone()).collect()
}

/// Bytes of every log by stage, each checked to be without gap or overlap.
fn text_of(events: &[Event]) -> std::collections::BTreeMap<i64, String> {
    let mut logs = std::collections::BTreeMap::<i64, String>::new();
    for event in events.iter().filter(|event| event.name == "log") {
        let log = logs.entry(event.data["stage"].as_i64().unwrap()).or_default();
        assert_eq!(event.data["offset"], log.len(), "{event:?}");
        log.push_str(event.data["text"].as_str().unwrap());
    }
    logs
}

#[tokio::test]
async fn a_build_that_is_over_is_told_whole() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let number = room.build("example").await;
    let worker = room.worker().await;
    let job = room.claim(worker).await;
    // The worker was lost: this log has no end.
    room.log(job.stages[0].0, 0, b"hel").await;
    room.finish(&job, Status::Error).await;
    for (wish, want) in [("", "log 0+3 hel"), ("?log=offsets", "log 0+3 "), ("?log=none", "end")] {
        let mut stream = Stream::open(&room, &format!("/api/v1/builds/{number}/events{wish}"), None).await;
        let all = shorts(&stream.until("end").await);
        assert!(all.iter().any(|event| event.starts_with(want)), "{all:?}");
        assert_eq!(all.iter().any(|event| event.starts_with("log")), wish != "?log=none", "{all:?}");
        assert!(stream.next().await.is_none());
    }
}

#[tokio::test]
async fn all_builds_that_one_may_read() {
    let room = Room::new().await;
    room.known("open", SMALL).await;
    room.known("secret", SMALL).await;
    let token = room.token(ocelot_model::access::Role::Read, &["git/open"]).await;
    let request = room.plain(Method::GET, "/api/v1/events").bearer_auth(&token);
    let mut stream = Stream { response: request.send().await.unwrap(), text: String::new(), cut: Vec::new() };
    room.build("secret").await;
    let number = room.build("open").await;
    let first = stream.next().await.unwrap();
    assert_eq!(first.data["build"], number.0, "{first:?}");
    let mut again = Stream::open(&room, "/api/v1/events", Some("0")).await;
    assert_eq!(again.next().await.unwrap().data["repo"], "git/secret");
}

#[tokio::test]
async fn who_is_not_known_any_more_is_told_nothing_more() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let (token, secret) =
        room.app.store.create_token("x", ocelot_model::access::Role::Read, &[], None, "tests").await.unwrap();
    let request = room.plain(Method::GET, "/api/v1/events").bearer_auth(&secret);
    let mut stream = Stream { response: request.send().await.unwrap(), text: String::new(), cut: Vec::new() };
    room.build("example").await;
    assert_eq!(stream.next().await.unwrap().name, "build");
    room.app.store.revoke_token(token.id, "tests").await.unwrap();
    // Something happens all the time; long before the next comment is due, it is not told any more.
    let deadline = Instant::now() + Duration::from_secs(12);
    loop {
        room.build("example").await;
        if stream.next().await.is_none() {
            break;
        }
        assert!(Instant::now() < deadline, "a revoked token is still told");
    }
}

#[tokio::test]
async fn what_is_not_public_any_more_is_told_to_nobody() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let public = async |public: bool| {
        let change =
            room.request(Method::PATCH, "/api/v1/repos/git/example").json(&json!({"public": public}));
        assert_eq!(answer(change).await.0, StatusCode::OK);
    };
    public(true).await;
    let number = room.build("example").await;
    let open = async |path: &str| {
        let response = room.plain(Method::GET, path).send().await.unwrap();
        Stream { response, text: String::new(), cut: Vec::new() }
    };
    let mut one = open(&format!("/api/v1/builds/{number}/events")).await;
    let mut all = open("/api/v1/events").await;
    assert_eq!(one.next().await.unwrap().name, "build");
    room.build("example").await;
    assert_eq!(all.next().await.unwrap().name, "build");
    public(false).await;
    let ended = tokio::spawn(async move { while one.next().await.is_some() {} });
    // Something happens all the time; long before the next comment is due, it is not told any more.
    let deadline = Instant::now() + Duration::from_secs(12);
    while !ended.is_finished() {
        room.build("example").await;
        assert!(Instant::now() < deadline, "a stranger still follows a build");
    }
    let path = room.repository("open", &[("ocelot.yml", SMALL)]);
    let (status, _) = room.post("/api/v1/repos", &json!({"clone_url": path, "public": true})).await;
    assert_eq!(status, StatusCode::CREATED);
    loop {
        let closed = room.build("example").await.0;
        let last = room.build("open").await.0;
        let mut told = false;
        loop {
            let event = all.next().await.expect("something is public still");
            told |= event.data["build"] == closed;
            if event.data["build"] == last {
                break;
            }
        }
        if !told {
            break;
        }
        assert!(Instant::now() < deadline, "a stranger still hears of what is not public any more");
    }
}

#[tokio::test]
async fn a_slow_reader_slows_nobody() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let number = room.build("example").await;
    let worker = room.worker().await;
    let job = room.claim(worker).await;
    let path = format!("/api/v1/builds/{number}/events");
    let slow = Stream::open(&room, &path, None).await;
    let mut fast = Stream::open(&room, &path, None).await;
    let test = job.stages[1].0;
    let chunk = vec![b'x'; 1 << 20];
    for n in 0..16 {
        room.log(test, n << 20, &chunk).await;
    }
    fast.until(&format!("log {}+", (16 << 20) - (32 << 10))).await;
    drop(slow);
}

#[tokio::test]
async fn more_of_a_log_than_there_is_is_refused() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let number = room.build("example").await;
    let worker = room.worker().await;
    let job = room.claim(worker).await;
    let stage = job.stages[0].0;
    room.log(stage, 0, b"hello").await;
    let path = format!("/api/v1/builds/{number}/events");
    for (id, want) in [("1.0.STAGE:5", 200), ("1.0.STAGE:6", 416), ("1.0.999:1", 416)] {
        let id = id.replace("STAGE", &stage.to_string());
        let response = room.request(Method::GET, &path).header("last-event-id", &id).send().await.unwrap();
        assert_eq!(response.status().as_u16(), want, "{id}");
    }
}

#[tokio::test]
async fn many_followers_of_one_log_each_get_all_of_it() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let number = room.build("example").await;
    let worker = room.worker().await;
    let job = room.claim(worker).await;
    let test = job.stages[1].0;
    let path = format!("/api/v1/builds/{number}/events");
    room.log(test, 0, b"from before\n").await;
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut stream = Stream::open(&room, &path, None).await;
        readers.push(tokio::spawn(async move { stream.until("end").await }));
    }
    let mut whole = b"from before\n".to_vec();
    // Small pieces, and some that are larger than what is kept for readers that are behind.
    for n in 0..60 {
        let piece = format!("{n} {}\n", "\u{1f600}x".repeat(if n % 20 == 7 { 180_000 } else { 10 }));
        room.log(test, whole.len() as u64, piece.as_bytes()).await;
        whole.extend_from_slice(piece.as_bytes());
    }
    room.log_end(test, &whole).await;
    room.stage(&job, test, Status::Passed).await;
    room.finish(&job, Status::Passed).await;
    for reader in readers {
        let events = reader.await.unwrap();
        let largest =
            events.iter().filter(|event| event.name == "log").map(|event| event.data["bytes"].as_i64());
        assert!(largest.max().flatten().unwrap() <= 64 << 10);
        assert!(text_of(&events)[&test.0].as_bytes() == whole);
    }
}
