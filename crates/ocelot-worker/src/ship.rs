//! Sends the chunks of one attempt's logs and keeps each until the server says that it is durable. It knows
//! neither where the bytes come from nor what they mean.
//!
//! What is not acknowledged is sent again over the next connection, from the first such byte on. The window
//! bounds the memory: whoever pushes waits when it is full, and the output stays in the stage's file meanwhile.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use ocelot_api::proto::{LogAck, LogChunk};
use ocelot_model::causes;
use tokio::sync::{Notify, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;

use crate::backoff::Backoff;
use crate::connect::Client;
use crate::pump::now_us;

/// Bytes under way: sent, or ready to be sent, and not acknowledged.
const WINDOW: usize = 4 << 20;

/// The server no longer takes anything of this attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease is no longer valid")]
pub(crate) struct Stale;

/// The way of one attempt's logs to the server. Cheap to clone; sending stops when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Shipper {
    shared: Arc<Shared>,
    _sending: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to send.
    more: Notify,
    /// Something was acknowledged, or nothing ever will be.
    acked: watch::Sender<()>,
}

impl Shipper {
    /// Begins; connects when there is something to send.
    pub(crate) fn start(client: Client) -> Shipper {
        let shared = Shared { queue: Mutex::default(), more: Notify::new(), acked: watch::Sender::new(()) };
        let shared = Arc::new(shared);
        let sending = tokio::spawn(send_all(Arc::clone(&shared), client));
        Shipper { shared, _sending: Arc::new(AbortOnDropHandle::new(sending)) }
    }

    /// Takes a chunk; waits while the window is full.
    pub(crate) async fn push(&self, chunk: LogChunk) -> Result<(), Stale> {
        self.wait(|queue| queue.bytes < WINDOW).await?;
        self.shared.queue().push(chunk);
        self.shared.more.notify_one();
        Ok(())
    }

    /// Waits until the server has all of these stages' logs.
    pub(crate) async fn complete(&self, stages: &[i64]) -> Result<(), Stale> {
        self.wait(|queue| stages.iter().all(|stage| queue.complete.contains(stage))).await
    }

    /// Returns when the server has refused the attempt; otherwise never.
    pub(crate) async fn stale(&self) {
        // `wait` ends only by an error here.
        let _ = self.wait(|_| false).await;
    }

    async fn wait(&self, done: impl Fn(&Queue) -> bool) -> Result<(), Stale> {
        let mut acked = self.shared.acked.subscribe();
        loop {
            {
                let queue = self.shared.queue();
                if queue.stale {
                    return Err(Stale);
                }
                if done(&queue) {
                    return Ok(());
                }
            }
            // The sender is in `shared`, so this cannot fail.
            let _ = acked.changed().await;
        }
    }
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send_all(shared: Arc<Shared>, client: Client) {
    let mut backoff = Backoff::new();
    loop {
        let status = send(&shared, client.clone(), &mut backoff).await;
        // Stale, or nothing that a server would ever take.
        if matches!(
            status.code(),
            Code::FailedPrecondition | Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument
        ) {
            tracing::debug!("logs are refused: {}", status.message());
            shared.queue().stale = true;
            shared.acked.send_replace(());
            return;
        }
        tracing::debug!("logs: the stream ended: {}: {}", status.code(), causes::deepest(&status));
        backoff.wait().await;
    }
}

/// One stream, from the first chunk that is not acknowledged on. Answers why it ended.
async fn send(shared: &Shared, mut client: Client, backoff: &mut Backoff) -> tonic::Status {
    shared.queue().rewind();
    let first = loop {
        let next = shared.queue().next();
        match next {
            Some(chunk) => break stamped(chunk),
            None => shared.more.notified().await,
        }
    };
    // The first chunk goes with the call, so that no answer has to be waited for.
    let (sender, chunks) = mpsc::channel(4);
    let _ = sender.try_send(first);
    let mut acks = match client.ship_logs(ReceiverStream::new(chunks)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status,
    };
    loop {
        let waiting = shared.queue().has_next();
        tokio::select! {
            ack = acks.message() => match ack {
                Ok(Some(ack)) => {
                    backoff.reset();
                    shared.queue().acknowledge(&ack);
                    shared.acked.send_replace(());
                }
                Ok(None) => return tonic::Status::unavailable("the server ended the stream"),
                Err(status) => return status,
            },
            permit = sender.reserve(), if waiting => {
                // Without a reader of chunks the stream is about to end.
                let Ok(permit) = permit else { return last_word(acks).await };
                if let Some(chunk) = shared.queue().next() {
                    permit.send(stamped(chunk));
                }
            }
            () = shared.more.notified(), if !waiting => {}
        }
    }
}

/// With the time at which it is sent.
fn stamped(chunk: LogChunk) -> LogChunk {
    LogChunk { sent_at_us: now_us(), ..chunk }
}

/// Why a stream that takes no more chunks ends.
async fn last_word(mut acks: tonic::Streaming<LogAck>) -> tonic::Status {
    loop {
        match acks.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return tonic::Status::unavailable("the server ended the stream"),
            Err(status) => return status,
        }
    }
}

/// Chunks that are not acknowledged, in the order in which they were pushed. Pure.
#[derive(Debug, Default)]
struct Queue {
    unacked: VecDeque<LogChunk>,
    /// So many of `unacked`, from the front, went over the present connection.
    sent: usize,
    /// Of all in `unacked`.
    bytes: usize,
    complete: HashSet<i64>,
    stale: bool,
}

impl Queue {
    fn push(&mut self, chunk: LogChunk) {
        // What follows a refusal or an end is of no use to anybody.
        if !self.complete.contains(&chunk.stage_id) {
            self.bytes += chunk.data.len();
            self.unacked.push_back(chunk);
        }
    }

    fn has_next(&self) -> bool {
        self.sent < self.unacked.len()
    }

    fn next(&mut self) -> Option<LogChunk> {
        let chunk = self.unacked.get(self.sent)?.clone();
        self.sent += 1;
        Some(chunk)
    }

    /// A new connection: nothing went over it yet.
    fn rewind(&mut self) {
        self.sent = 0;
    }

    fn acknowledge(&mut self, ack: &LogAck) {
        if !ack.refused.is_empty() {
            tracing::warn!(
                stage = ack.stage_id,
                "the server refused the log of stage {}: {}",
                ack.stage_id,
                ack.refused
            );
        }
        let first =
            self.unacked.iter().find(|chunk| chunk.stage_id == ack.stage_id).map(|chunk| chunk.offset);
        let lost = !ack.complete && first.is_some_and(|first| first > ack.durable);
        if lost {
            tracing::warn!(
                stage = ack.stage_id,
                "the server has lost a part of the log of stage {}",
                ack.stage_id
            );
        }
        if ack.complete || lost || !ack.refused.is_empty() {
            self.complete.insert(ack.stage_id);
        }
        let complete = &self.complete;
        let safe = |chunk: &LogChunk| {
            let end = chunk.offset + chunk.data.len() as u64;
            chunk.stage_id == ack.stage_id
                && (complete.contains(&chunk.stage_id) || (!chunk.end && end <= ack.durable))
        };
        let (mut index, sent) = (0, self.sent);
        self.unacked.retain(|chunk| {
            let keep = !safe(chunk);
            if !keep {
                self.bytes -= chunk.data.len();
                self.sent -= usize::from(index < sent);
            }
            index += 1;
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(stage_id: i64, offset: u64, data: &'static str, end: bool) -> LogChunk {
        let total = if end { offset + data.len() as u64 } else { 0 };
        LogChunk { stage_id, offset, data: data.into(), end, total, ..LogChunk::default() }
    }

    fn queue() -> Queue {
        let mut queue = Queue::default();
        queue.push(chunk(1, 0, "aaaa", false));
        queue.push(chunk(1, 4, "bb", true));
        queue.push(chunk(2, 0, "ccc", false));
        queue.push(chunk(2, 3, "", true));
        queue
    }

    fn ack(stage_id: i64, durable: u64, complete: bool) -> LogAck {
        LogAck { stage_id, durable, complete, refused: String::new() }
    }

    /// Sends `sent` chunks, takes `acks`, and says what the next connection would send.
    fn check(sent: usize, acks: &[LogAck], want: &[(i64, u64)]) {
        let mut queue = queue();
        for _ in 0..sent {
            assert!(queue.next().is_some());
        }
        for ack in acks {
            queue.acknowledge(ack);
        }
        queue.rewind();
        let again: Vec<_> = std::iter::from_fn(|| queue.next()).map(|c| (c.stage_id, c.offset)).collect();
        assert_eq!(again, want, "after {sent} sent and {acks:?}");
        let bytes: usize = queue.unacked.iter().map(|chunk| chunk.data.len()).sum();
        assert_eq!(queue.bytes, bytes);
    }

    #[test]
    fn what_is_not_durable_is_sent_again() {
        check(0, &[], &[(1, 0), (1, 4), (2, 0), (2, 3)]);
        check(4, &[], &[(1, 0), (1, 4), (2, 0), (2, 3)]);
        check(2, &[ack(1, 4, false)], &[(1, 4), (2, 0), (2, 3)]);
        check(2, &[ack(1, 3, false)], &[(1, 0), (1, 4), (2, 0), (2, 3)]);
    }

    #[test]
    fn the_end_is_kept_until_the_log_is_complete() {
        check(2, &[ack(1, 6, false)], &[(1, 4), (2, 0), (2, 3)]);
        check(2, &[ack(1, 6, true)], &[(2, 0), (2, 3)]);
        check(4, &[ack(2, 3, true), ack(1, 6, true)], &[]);
    }

    #[test]
    fn a_server_that_has_more_is_not_sent_it_again() {
        // After a restart the log is read from its first byte, and the first answer says what is there.
        let mut queue = queue();
        queue.next();
        queue.acknowledge(&ack(1, 6, true));
        assert_eq!(queue.next().map(|c| (c.stage_id, c.offset)), Some((2, 0)));
    }

    #[test]
    fn a_server_that_lost_what_it_had_gets_no_more() {
        check(2, &[ack(1, 4, false), ack(1, 2, false)], &[(2, 0), (2, 3)]);
    }

    #[test]
    fn a_refused_stage_is_given_up() {
        let mut queue = queue();
        queue.acknowledge(&LogAck {
            stage_id: 1,
            refused: "its log was deleted".into(),
            ..LogAck::default()
        });
        queue.push(chunk(1, 6, "more", false));
        assert_eq!(queue.next().map(|c| c.stage_id), Some(2));
        assert!(queue.complete.contains(&1));
    }
}
