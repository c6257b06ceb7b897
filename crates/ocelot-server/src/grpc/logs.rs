//! Log bytes of attempts: stored, then acknowledged.
//!
//! Chunks of one stage keep their order; stages do not wait for each other. What of one stage arrived while a commit was
//! under way is committed together. A full queue of a stage stops the reading, so memory is bounded.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ocelot_api::LOG_CHUNK_MAX;
use ocelot_api::proto::{LogAck, LogChunk};
use ocelot_model::StageId;
use ocelot_store::{LogError, Mark, crash};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::{Status, Streaming};

use super::refusal;
use super::rights::Rights;
use crate::App;

/// Chunks of one stage that wait at most.
const WAITING: usize = 4;
/// An older byte counts as this old: a day.
const OLDEST_US: i64 = 86_400_000_000;
/// Chunks smaller than this are put together before they are stored.
const SMALL: usize = 256 << 10;

/// Where answers go.
pub(super) type Acks = mpsc::Sender<Result<LogAck, Status>>;

/// Reads chunks until the stream ends; each stage has a queue of its own.
pub(super) async fn receive(app: App, rights: Rights, chunks: Streaming<LogChunk>, acks: Acks) {
    let mut stages = JoinSet::new();
    let end = tokio::select! {
        end = read(&app, rights, chunks, &acks, &mut stages) => end,
        () = acks.closed() => return,
        () = app.shutdown.cancelled() => Err(Status::unavailable("the server stops; send the rest to the next one")),
    };
    // What was read is stored and acknowledged first. The queues are closed: `read` is over.
    while stages.join_next().await.is_some() {}
    if let Err(status) = end {
        let _ = acks.send(Err(status)).await;
    }
}

async fn read(
    app: &App,
    mut rights: Rights,
    mut chunks: Streaming<LogChunk>,
    acks: &Acks,
    stages: &mut JoinSet<()>,
) -> Result<(), Status> {
    let mut queues: HashMap<i64, mpsc::Sender<Piece>> = HashMap::new();
    loop {
        let chunk = tokio::select! {
            chunk = chunks.message() => chunk.map_err(too_large)?,
            // A stage that ended by itself has said why; the rest of the stream is of no use.
            Some(_) = stages.join_next(), if !stages.is_empty() => return Ok(()),
        };
        let Some(chunk) = chunk else { return Ok(()) };
        if chunk.data.len() > LOG_CHUNK_MAX || chunk.marks.len() > LOG_CHUNK_MAX {
            return Err(Status::resource_exhausted("a log chunk holds at most 1 MiB"));
        }
        // Asked here, so that no queue is made for a stage that the caller has no right to.
        rights.check(app, &chunk).await?;
        let queue = queues.entry(chunk.stage_id).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(WAITING);
            stages.spawn(store_all(app.clone(), receiver, acks.clone()));
            sender
        });
        if queue.send(Piece::new(chunk)).await.is_err() {
            return Ok(());
        }
    }
}

fn too_large(status: Status) -> Status {
    match status.code() {
        tonic::Code::OutOfRange => Status::resource_exhausted(status.message()),
        _ => status,
    }
}

/// A chunk that has arrived.
#[derive(Debug, Default)]
struct Piece {
    chunk: LogChunk,
    /// When its first byte was written, by this server's clock; `None` when the worker does not say when it sent it.
    written: Option<Instant>,
}

impl Piece {
    /// How old it is is told by the worker's clock alone, and from here on by this one's: that they differ does no harm. Only
    /// the way over the network is left out.
    fn new(chunk: LogChunk) -> Piece {
        let age = chunk.marks.first().filter(|_| chunk.sent_at_us > 0);
        let age = age.map(|mark| chunk.sent_at_us.saturating_sub(mark.time_us).clamp(0, OLDEST_US) as u64);
        let written = age.and_then(|us| Instant::now().checked_sub(Duration::from_micros(us)));
        Piece { chunk, written }
    }
}

/// Stores the chunks of one stage in their order, until the reader ends or something cannot be stored.
async fn store_all(app: App, mut chunks: mpsc::Receiver<Piece>, acks: Acks) {
    let mut next = None;
    let mut counted = None;
    while let Some(first) = take(&mut next, &mut chunks).await {
        let (piece, follower) = gather(first, &mut chunks);
        next = follower;
        let answer = store(&app, &piece, &mut counted).await;
        let over = answer.is_err();
        if acks.send(answer).await.is_err() || over {
            return;
        }
    }
}

async fn take(next: &mut Option<Piece>, chunks: &mut mpsc::Receiver<Piece>) -> Option<Piece> {
    match next.take() {
        Some(piece) => Some(piece),
        None => chunks.recv().await,
    }
}

/// Puts small chunks that have arrived already and follow each other together. Answers one that does not fit.
fn gather(first: Piece, chunks: &mut mpsc::Receiver<Piece>) -> (Piece, Option<Piece>) {
    if first.chunk.end || first.chunk.data.len() >= SMALL {
        return (first, None);
    }
    let Piece { chunk: mut whole, written } = first;
    let mut data = Vec::new();
    let follower = loop {
        let Ok(piece) = chunks.try_recv() else { break None };
        let next = &piece.chunk;
        let have = data.len().max(whole.data.len());
        let follows = next.offset == whole.offset + have as u64 && next.lease == whole.lease;
        if !follows || have + next.data.len() > LOG_CHUNK_MAX {
            break Some(piece);
        }
        if data.is_empty() {
            data.extend_from_slice(&whole.data);
        }
        whole
            .marks
            .extend(next.marks.iter().map(|m| ocelot_api::proto::Mark { at: m.at + have as u32, ..*m }));
        data.extend_from_slice(&next.data);
        if next.end {
            (whole.end, whole.total, whole.sha256) = (true, next.total, next.sha256.clone());
            break None;
        }
    };
    if !data.is_empty() {
        whole.data = data.into();
    }
    (Piece { chunk: whole, written }, follower)
}

/// `counted` is how much of this log was durable before.
async fn store(app: &App, piece: &Piece, counted: &mut Option<u64>) -> Result<LogAck, Status> {
    let chunk = &piece.chunk;
    let stage = StageId(chunk.stage_id);
    let mut ack =
        LogAck { stage_id: chunk.stage_id, durable: chunk.offset, complete: false, refused: String::new() };
    if !chunk.data.is_empty() {
        let marks: Vec<Mark> = chunk.marks.iter().map(|m| Mark { at: m.at, time_us: m.time_us }).collect();
        let before = match *counted {
            Some(before) => before,
            None => match app.store.log_state(stage).await.map_err(|error| refusal(&error))? {
                // What comes for it is thrown away.
                state if state.removed => u64::MAX,
                state => state.bytes,
            },
        };
        let stored = app.store.append_log(stage, chunk.offset, &chunk.data, &marks).await;
        let Some(durable) = answer(&mut ack, stored)? else { return Ok(ack) };
        if durable > before {
            crate::metrics::log_durable(durable - before, piece.written);
        }
        *counted = Some(durable.max(before));
        ack.durable = durable;
        crash::point("log-stored");
    }
    if chunk.end {
        let ended = app.store.finish_log(stage, chunk.total, &chunk.sha256).await;
        if answer(&mut ack, ended)?.is_some() {
            ack.durable = chunk.total;
            ack.complete = true;
        }
    }
    Ok(ack)
}

/// Puts a refusal into the answer; a gap is no refusal, it says where to go on.
fn answer<T>(ack: &mut LogAck, result: Result<T, LogError>) -> Result<Option<T>, Status> {
    match result {
        Ok(value) => return Ok(Some(value)),
        Err(LogError::Gap { durable }) => ack.durable = durable,
        Err(error @ LogError::Conflict(_)) => {
            tracing::warn!(%error, stage = ack.stage_id, "a worker's log is refused");
            ack.refused = error.to_string();
        }
        Err(LogError::Store(error)) => return Err(refusal(&error)),
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chunks as `offset:text`, with `.` at the end of the last one; what is stored as one, and what is left over.
    fn check(chunks: &[&str], want: (&str, Option<&str>)) {
        let (sender, mut receiver) = mpsc::channel(16);
        let mut chunks = chunks.iter().map(|text| Piece::new(chunk(text)));
        let first = chunks.next().unwrap_or_default();
        chunks.for_each(|chunk| sender.try_send(chunk).unwrap_or_default());
        let (whole, follower) = gather(first, &mut receiver);
        assert_eq!((show(&whole).as_str(), follower.as_ref().map(show).as_deref()), want);
    }

    /// How old the first byte of a chunk is when it arrives, in whole seconds.
    fn age(sent_at_us: i64, written_us: i64) -> Option<u64> {
        let marks = vec![ocelot_api::proto::Mark { at: 0, time_us: written_us }];
        let piece = Piece::new(LogChunk { sent_at_us, marks, ..LogChunk::default() });
        piece.written.map(|written| written.elapsed().as_secs())
    }

    #[test]
    fn age_is_told_by_the_workers_clock_alone() {
        // In 1970, in its future, and in a worker that does not say.
        assert_eq!(age(7_000_000, 4_000_000), Some(3));
        assert_eq!(age(4_000_000, 7_000_000), Some(0));
        assert_eq!(age(0, 7_000_000), None);
    }

    fn chunk(text: &str) -> LogChunk {
        let (offset, data) = text.split_once(':').unwrap_or_default();
        let end = data.ends_with('.');
        let data = data.trim_end_matches('.').to_owned();
        LogChunk { offset: offset.parse().unwrap_or_default(), data: data.into(), end, ..LogChunk::default() }
    }

    fn show(piece: &Piece) -> String {
        let chunk = &piece.chunk;
        let text = String::from_utf8_lossy(&chunk.data);
        format!("{}:{text}{}", chunk.offset, if chunk.end { "." } else { "" })
    }

    #[test]
    fn small_chunks_that_follow_each_other_become_one() {
        check(&["0:ab", "2:cd", "4:e"], ("0:abcde", None));
        check(&["0:ab", "2:cd.", "0:x"], ("0:abcd.", None));
        check(&["0:ab", "2:."], ("0:ab.", None));
        check(&["5:ab"], ("5:ab", None));
    }

    #[test]
    fn a_gap_or_an_overlap_stays_as_it_came() {
        check(&["0:ab", "3:cd"], ("0:ab", Some("3:cd")));
        check(&["0:ab", "1:bc"], ("0:ab", Some("1:bc")));
    }
}
