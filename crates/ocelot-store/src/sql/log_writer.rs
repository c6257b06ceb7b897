//! The one writer of logs in this process: gathers what arrives while a commit is under way and commits it together.
//!
//! An answer goes out only after the commit. What it knows of a log (length, running SHA-256) is checked against the
//! database each time, since another server may have written to it.

use std::collections::HashMap;

use ocelot_model::StageId;
use sha2::{Digest as _, Sha256};
use sqlx::Pool;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::super::{Db, WRITE, notify};
use super::Conn;
use super::logs::{raw_bytes, stored_bytes};
use crate::calls;
use crate::chunk::{self, Chunk};
use crate::wake::Wakes;
use crate::{LogError, Mark, StoreError, Wake};

/// Raw bytes in one commit, about.
const BATCH: usize = 8 << 20;
/// Logs whose running hash is kept.
const REMEMBERED: usize = 512;
/// Pieces that wait at most; who has more to give waits.
const WAITING: usize = 64;

/// Bytes that arrived, compressed already in case they fit.
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) data: Vec<u8>,
    pub(super) marks: Vec<Mark>,
    pub(super) chunks: Vec<Chunk>,
}

enum What {
    Append(Piece),
    Finish { total: u64, sha256: Vec<u8> },
}

struct Order {
    stage: StageId,
    what: What,
    answer: oneshot::Sender<Result<u64, LogError>>,
}

/// The way to the writer.
pub(crate) struct LogWriter {
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl LogWriter {
    pub(super) fn start(pool: Pool<Db>, wakes: Wakes) -> LogWriter {
        let (sender, receiver) = mpsc::channel(WAITING);
        let task = tokio::spawn(write(pool, wakes, receiver));
        LogWriter { orders: Mutex::new(Some(sender)), task: Mutex::new(Some(task)) }
    }

    pub(super) async fn append(&self, stage: StageId, piece: Piece) -> Result<u64, LogError> {
        self.order(stage, What::Append(piece)).await
    }

    pub(super) async fn finish(&self, stage: StageId, total: u64, sha256: &[u8]) -> Result<u64, LogError> {
        self.order(stage, What::Finish { total, sha256: sha256.to_vec() }).await
    }

    async fn order(&self, stage: StageId, what: What) -> Result<u64, LogError> {
        let closed = || LogError::Store(StoreError::Unavailable("the log store is closed".into()));
        let orders = self.orders.lock().await.clone().ok_or_else(closed)?;
        let (answer, answered) = oneshot::channel();
        orders.send(Order { stage, what, answer }).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Takes no more, and ends when all that was taken is committed.
    pub(super) async fn close(&self) {
        self.orders.lock().await.take();
        let task = self.task.lock().await.take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

/// What is known of a log that is being written.
#[derive(Clone, Default)]
struct Known {
    bytes: u64,
    hash: Sha256,
    complete: bool,
    /// A note stands in its place.
    removed: bool,
    /// It lies in the log store; its bytes may be gone from here.
    copied: bool,
    /// Of the whole log, once it is complete.
    sha256: Vec<u8>,
}

async fn write(pool: Pool<Db>, wakes: Wakes, mut orders: mpsc::Receiver<Order>) {
    let mut known: HashMap<StageId, Known> = HashMap::new();
    while let Some(first) = orders.recv().await {
        let mut batch = vec![first];
        let mut size = 0;
        while size < BATCH {
            let Ok(next) = orders.try_recv() else { break };
            if let What::Append(piece) = &next.what {
                size += piece.data.len();
            }
            batch.push(next);
        }
        if known.len() > REMEMBERED {
            known.clear();
        }
        let results =
            calls::timed("log_commit", calls::SHORT, commit(&pool, &wakes, &mut known, &batch)).await;
        match results {
            Ok(results) => {
                for (order, result) in batch.into_iter().zip(results) {
                    // Whoever asked may be gone; the bytes are durable all the same.
                    let _ = order.answer.send(result);
                }
            }
            Err(error) => {
                // What was committed is uncertain: everything is read again.
                known.clear();
                let text = error.to_string();
                for order in batch {
                    let _ = order.answer.send(Err(StoreError::Unavailable(text.clone()).into()));
                }
            }
        }
    }
}

async fn commit(
    pool: &Pool<Db>,
    wakes: &Wakes,
    known: &mut HashMap<StageId, Known>,
    batch: &[Order],
) -> Result<Vec<Result<u64, LogError>>, StoreError> {
    let mut tx = pool.begin_with(WRITE).await?;
    let mut results = Vec::with_capacity(batch.len());
    let mut changed: Vec<Wake> = Vec::new();
    for order in batch {
        let log = current(&mut tx, known, order.stage).await?;
        let before = (log.bytes, log.complete);
        let result = match &order.what {
            // What comes late for a log that was deleted is taken and thrown away: its sender has to get rid of it too.
            What::Append(piece) if log.removed => Ok(piece.offset + piece.data.len() as u64),
            What::Finish { total, .. } if log.removed => Ok(*total),
            What::Append(piece) => append(&mut tx, order.stage, log, piece).await,
            What::Finish { total, sha256 } => finish(&mut tx, order.stage, log, *total, sha256).await,
        };
        // A refusal concerns this piece alone; a failing database concerns the whole batch.
        let result = match result {
            Err(LogError::Store(error)) => return Err(error),
            other => other,
        };
        if before != (log.bytes, log.complete) && !changed.contains(&Wake::Log(order.stage)) {
            changed.push(Wake::Log(order.stage));
        }
        results.push(result);
    }
    for text in if changed.is_empty() { Vec::new() } else { wakes.to_texts(&changed) } {
        notify(&mut tx, &text).await?;
    }
    tx.commit().await?;
    wakes.send(&changed);
    Ok(results)
}

/// What is known of a log, brought up to date with the database.
async fn current<'a>(
    conn: &mut Conn,
    known: &'a mut HashMap<StageId, Known>,
    stage: StageId,
) -> Result<&'a mut Known, StoreError> {
    sqlx::query("INSERT INTO stage_logs (stage_id, bytes) VALUES ($1, 0) ON CONFLICT (stage_id) DO NOTHING")
        .bind(stage.0)
        .execute(&mut *conn)
        .await?;
    let (bytes, complete, removed, sha256, copied): (i64, bool, bool, Option<Vec<u8>>, bool) =
        sqlx::query_as(concat!(
            "SELECT bytes, complete, removed, sha256, blob IS NOT NULL FROM stage_logs WHERE stage_id = $1",
            for_update!()
        ))
        .bind(stage.0)
        .fetch_one(&mut *conn)
        .await?;
    let log = known.entry(stage).or_default();
    (log.complete, log.removed, log.copied) = (complete, removed, copied);
    log.sha256 = sha256.unwrap_or_default();
    if log.bytes != bytes as u64 {
        log.bytes = bytes as u64;
        // Nothing is added to one that is complete, and its bytes may lie elsewhere.
        if !complete {
            log.hash = stored_hash(conn, stage, log.bytes).await?;
        }
    }
    Ok(log)
}

async fn stored_hash(conn: &mut Conn, stage: StageId, bytes: u64) -> Result<Sha256, StoreError> {
    let mut hash = Sha256::new();
    let mut at = 0;
    while at < bytes {
        let some = raw_bytes(conn, stage, at, 1 << 20).await?;
        if some.is_empty() {
            return Err(StoreError::Corrupt(format!("the log of stage {stage} has a hole at {at}")));
        }
        hash.update(&some);
        at += some.len() as u64;
    }
    Ok(hash)
}

async fn append(conn: &mut Conn, stage: StageId, log: &mut Known, piece: &Piece) -> Result<u64, LogError> {
    if piece.offset > log.bytes {
        return Err(LogError::Gap { durable: log.bytes });
    }
    let seen = ((log.bytes - piece.offset) as usize).min(piece.data.len());
    // What was checked as a whole and copied is not read again, to be compared with bytes that nobody asked for.
    if seen > 0 && !log.copied && !stored_bytes(conn, stage, piece.offset, &piece.data[..seen]).await? {
        return Err(LogError::Conflict(format!("other bytes stand at {}", piece.offset)));
    }
    let new = &piece.data[seen..];
    if new.is_empty() {
        return Ok(log.bytes);
    }
    if log.complete {
        return Err(LogError::Conflict("bytes after its end".into()));
    }
    let cut;
    let chunks = if seen == 0 {
        &piece.chunks
    } else {
        cut = chunk::cut(new, &chunk::window(&piece.marks, seen, piece.data.len()))?;
        &cut
    };
    let mut at = log.bytes as i64;
    for chunk in chunks {
        sqlx::query(
            "INSERT INTO log_chunks (stage_id, start_at, len, marks, data) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(stage.0)
        .bind(at)
        .bind(chunk.len as i64)
        .bind(&chunk.marks)
        .bind(&chunk.data)
        .execute(&mut *conn)
        .await?;
        at += chunk.len as i64;
    }
    sqlx::query("UPDATE stage_logs SET bytes = $1 WHERE stage_id = $2")
        .bind(at)
        .bind(stage.0)
        .execute(conn)
        .await?;
    log.hash.update(new);
    log.bytes = at as u64;
    Ok(log.bytes)
}

async fn finish(
    conn: &mut Conn,
    stage: StageId,
    log: &mut Known,
    total: u64,
    sha256: &[u8],
) -> Result<u64, LogError> {
    if total > log.bytes {
        return Err(LogError::Gap { durable: log.bytes });
    }
    if total < log.bytes {
        return Err(LogError::Conflict(format!("it ends at {total}, but {} bytes are stored", log.bytes)));
    }
    let same = if log.complete { log.sha256 == sha256 } else { log.hash.clone().finalize()[..] == *sha256 };
    if !same {
        return Err(LogError::Conflict("its SHA-256 differs".into()));
    }
    if !log.complete {
        sqlx::query("UPDATE stage_logs SET complete = true, sha256 = $1 WHERE stage_id = $2")
            .bind(sha256)
            .bind(stage.0)
            .execute(conn)
            .await?;
        log.complete = true;
        log.sha256 = sha256.to_vec();
    }
    Ok(log.bytes)
}
