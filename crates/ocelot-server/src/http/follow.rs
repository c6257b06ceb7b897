//! Follows one build for one reader: reads what is new in the history and in the logs, and sends it.
//! Knows nothing of connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use ocelot_api::body as api;
use ocelot_model::{BuildNumber, StageId, Status};
use ocelot_store::{BuildDetail, EventBody, Store};
use tokio::time::Instant;

use super::body;
use super::cursor::Cursor;
use super::events::{LogWish, Out, Over, ROWS};
use super::live::{self, Live};
use super::past;
use crate::App;

/// Bytes of a log in one event.
const PIECE: usize = 32 << 10;

/// A stage whose log is followed.
#[derive(Debug, Clone, Copy, Default)]
struct Log {
    /// Bytes that were sent.
    sent: u64,
    /// Nothing more comes.
    done: bool,
}

/// One reader of one build.
#[derive(Debug)]
pub(super) struct Follow {
    store: Store,
    number: BuildNumber,
    repo: String,
    wish: LogWish,
    cursor: Option<Cursor>,
    seq: i64,
    logs: BTreeMap<StageId, Log>,
    ended: Option<Status>,
    live: Live,
    /// Logs that are followed while they grow.
    open: BTreeMap<StageId, Arc<live::Log>>,
    /// Logs with something new in them.
    waiting: BTreeMap<StageId, Woken>,
}

/// When a reader was told of something new: first, and again.
#[derive(Debug, Clone, Copy)]
struct Woken {
    first: Instant,
    last: Instant,
}

impl Follow {
    pub(super) fn new(app: &App, number: BuildNumber, wish: LogWish, cursor: Option<Cursor>) -> Follow {
        let (store, live) = (app.store.clone(), app.live.clone());
        let (repo, logs) = (String::new(), BTreeMap::new());
        let (open, waiting) = (BTreeMap::new(), BTreeMap::new());
        Follow { store, number, repo, wish, cursor, seq: 0, logs, ended: None, live, open, waiting }
    }

    /// The last change that was sent.
    pub(super) fn seq(&self) -> i64 {
        self.seq
    }

    /// Something is new in this log. It is sent when [`Follow::due`] says so.
    pub(super) fn woken(&mut self, stage: StageId) {
        if self.logs.get(&stage).is_some_and(|log| !log.done) {
            let now = Instant::now();
            self.waiting.entry(stage).or_insert(Woken { first: now, last: now }).last = now;
        }
    }

    /// When to call [`Follow::send_due`].
    pub(super) fn due(&mut self) -> Option<Instant> {
        let waiting: Vec<_> = self.waiting.iter().map(|(stage, woken)| (*stage, woken.first)).collect();
        waiting.into_iter().map(|(stage, first)| self.open(stage).due(first)).min()
    }

    /// Sends what is new in the logs whose time has come.
    pub(super) async fn send_due(&mut self, out: &Out) -> Result<(), Over> {
        let now = Instant::now();
        for (stage, woken) in self.waiting.clone() {
            let open = self.open(stage);
            if open.due(woken.first) > now {
                continue;
            }
            self.waiting.remove(&stage);
            self.log(out, stage, woken.first).await?;
            // What was told of after the look is not in it.
            if open.looked().is_none_or(|looked| looked < woken.last) {
                self.waiting.insert(stage, Woken { first: woken.last, last: woken.last });
            }
        }
        Ok(())
    }

    fn open(&mut self, stage: StageId) -> Arc<live::Log> {
        let (live, store) = (&self.live, &self.store);
        Arc::clone(self.open.entry(stage).or_insert_with(|| live.log(store, stage)))
    }

    /// How things stand, or for a reader who comes back what they missed; then the logs so far.
    pub(super) async fn begin(&mut self, out: &Out) -> Result<(), Over> {
        let (seq, shown) = match &self.cursor {
            None => (self.store.last_event().await?, Some(0)),
            Some(cursor) => (cursor.seq, cursor.shown),
        };
        self.seq = seq;
        let detail = self.picture().await?;
        if let Some(shown) = shown {
            let picture = past::picture(&self.store, &detail, seq).await?;
            for (event, at) in picture.iter().zip(1..).skip(shown) {
                let middle = Cursor { seq, shown: Some(at), ..Cursor::default() };
                let id = if at < picture.len() { middle.to_string() } else { self.id() };
                out.send(event, Some(id)).await?;
            }
        }
        self.events(out).await?;
        if detail.build.status.is_terminal() {
            self.ended = Some(detail.build.status);
        }
        self.all_logs(out).await
    }

    /// Loads the build and follows the logs of its newest attempts.
    async fn picture(&mut self) -> Result<BuildDetail, Over> {
        let detail = self.store.find_build_detail(self.number).await?.ok_or(Over)?;
        self.repo = detail.build.repo.name.to_string();
        for stage in
            detail.jobs.iter().filter_map(|job| job.attempts.last()).flat_map(|attempt| &attempt.stages)
        {
            let cursor = self.cursor.as_ref();
            self.logs.entry(stage.id).or_insert_with(|| match cursor.map(|cursor| cursor.offset(stage.id)) {
                Some(Some(sent)) => Log { sent, done: false },
                Some(None) => Log { sent: 0, done: true },
                None => Log::default(),
            });
        }
        Ok(detail)
    }

    /// Sends what is new in the history.
    pub(super) async fn events(&mut self, out: &Out) -> Result<(), Over> {
        loop {
            let rows = self.store.events_after(self.seq, Some(self.number), ROWS).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                let over = self.notice(&row.what).await?;
                if let Some(stage) = over {
                    // The end of a stage is told after its log, which still has the ids of before.
                    self.log(out, stage, Instant::now()).await?;
                }
                self.seq = row.seq;
                let event = body::event(row, &self.repo);
                out.send(&event, Some(self.id())).await?;
            }
        }
    }

    /// What a change means for this reader; the stage that is over, if it is that.
    async fn notice(&mut self, what: &EventBody) -> Result<Option<StageId>, Over> {
        match what {
            EventBody::Build { status, .. } => {
                self.ended = Some(*status).filter(|status| status.is_terminal());
                Ok(None)
            }
            // A further attempt has stages of its own.
            EventBody::Job { .. } => self.picture().await.map(|_| None),
            EventBody::Stage { stage, status, .. } => {
                if !self.logs.contains_key(stage) {
                    self.picture().await?;
                }
                Ok(Some(*stage).filter(|_| status.is_terminal()))
            }
        }
    }

    /// Looks at everything, after wake-ups may have been missed.
    pub(super) async fn everything(&mut self, out: &Out) -> Result<(), Over> {
        self.events(out).await?;
        self.all_logs(out).await
    }

    async fn all_logs(&mut self, out: &Out) -> Result<(), Over> {
        let open: Vec<StageId> = self.logs.iter().filter(|(_, log)| !log.done).map(|(id, _)| *id).collect();
        for stage in open {
            self.log(out, stage, Instant::now()).await?;
        }
        Ok(())
    }

    /// Sends what was new in one log at this time.
    async fn log(&mut self, out: &Out, stage: StageId, since: Instant) -> Result<(), Over> {
        let Some(mut log) = self.logs.get(&stage).copied().filter(|log| !log.done) else { return Ok(()) };
        let open = self.open(stage);
        let durable = open.state(since).await?;
        if durable.removed && log.sent > 0 {
            return self.note(out, stage, durable.bytes).await;
        }
        while log.sent < durable.bytes && self.wish != LogWish::None {
            let (bytes, text) = match self.wish {
                LogWish::Text => {
                    let mut data = open.read(log.sent, PIECE).await?;
                    let last = log.sent + data.len() as u64 >= durable.bytes;
                    let keep = if last && (durable.complete || self.ended.is_some()) {
                        data.len()
                    } else {
                        whole(&data)
                    };
                    data.truncate(keep);
                    (data.len() as u64, String::from_utf8_lossy(&data).into_owned())
                }
                LogWish::Offsets | LogWish::None => (durable.bytes - log.sent, String::new()),
            };
            if bytes == 0 {
                break;
            }
            let (build, offset, bytes_sent) = (self.number.0, log.sent as i64, bytes as i64);
            log.sent += bytes;
            self.logs.insert(stage, log);
            let event = api::Event::Log { build, stage: stage.0, offset, bytes: bytes_sent, text };
            out.send(&event, Some(self.id())).await?;
        }
        log.done = durable.complete && (log.sent >= durable.bytes || self.wish == LogWish::None);
        self.logs.insert(stage, log);
        if log.done {
            self.open.remove(&stage);
        }
        Ok(())
    }

    /// Sends the note in the place of a log that was removed to a reader who has seen a part of it: the log begins anew.
    async fn note(&mut self, out: &Out, stage: StageId, length: u64) -> Result<(), Over> {
        self.logs.insert(stage, Log { sent: length, done: true });
        if self.wish == LogWish::None {
            return Ok(());
        }
        let data = self.store.read_log(stage, 0, PIECE).await?.data;
        let text = if self.wish == LogWish::Text {
            String::from_utf8_lossy(&data).into_owned()
        } else {
            String::new()
        };
        let (build, bytes) = (self.number.0, length as i64);
        let event = api::Event::Log { build, stage: stage.0, offset: 0, bytes, text };
        out.send(&event, Some(self.id())).await
    }

    /// Sends `end` once the build is over and its logs are sent.
    pub(super) async fn over(&mut self, out: &Out) -> Result<bool, Over> {
        let Some(status) = self.ended else { return Ok(false) };
        // Between the last look and the end something may have come.
        self.everything(out).await?;
        let id = Cursor { over: true, ..self.place() }.to_string();
        out.send(&api::Event::End { build: self.number.0, status }, Some(id)).await?;
        Ok(true)
    }

    /// The place of this reader, as an event's id.
    fn id(&self) -> String {
        self.place().to_string()
    }

    fn place(&self) -> Cursor {
        let open = self.logs.iter().find(|(_, log)| !log.done).map(|(id, _)| id.0);
        let floor = open.or_else(|| self.logs.keys().last().map(|id| id.0 + 1)).unwrap_or(0);
        let mut cursor = Cursor { seq: self.seq, floor, ..Cursor::default() };
        let mut before_was_whole = false;
        for (id, log) in self.logs.range(StageId(floor)..) {
            match cursor.whole.last_mut() {
                Some((_, last)) if log.done && before_was_whole => *last = *id,
                _ if log.done => cursor.whole.push((*id, *id)),
                _ if log.sent > 0 => drop(cursor.sent.insert(*id, log.sent)),
                _ => {}
            }
            before_was_whole = log.done;
        }
        cursor
    }
}

/// How much of `data` can be sent now: a character that is cut at the end waits for its rest.
fn whole(data: &[u8]) -> usize {
    let from = data.len().saturating_sub(4);
    match std::str::from_utf8(&data[from..]) {
        Ok(_) => data.len(),
        Err(_) => (from..data.len())
            .rev()
            .find(|at| data[*at] >= 0xC0)
            .filter(|at| data.len() - at < length(data[*at]))
            .unwrap_or(data.len()),
    }
}

/// Bytes of the character that begins so.
fn length(first: u8) -> usize {
    match first {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn a_cut_character_waits() {
        let check = |data: &[u8], want: usize| assert_eq!(whole(data), want, "{data:?}");
        check(b"", 0);
        check(b"abc", 3);
        check("aé".as_bytes(), 3);
        check(&"aé".as_bytes()[..2], 1);
        check(&"a\u{1f600}".as_bytes()[..4], 1);
        check(b"abc\xff", 4);
        check(b"\xff\xff\xff\xff\xff", 5);
        check(b"\x80\x80\x80\x80\x80", 5);
    }
}
