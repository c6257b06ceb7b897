//! Logs that are followed while they grow. What is new in one is read from the database once, and at most four times a
//! second, for however many readers. Sends nothing: each reader takes what it has not had.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use ocelot_model::StageId;
use ocelot_store::{LogState, Store, StoreError};
use tokio::time::Instant;

/// A log is looked at this often, unless nobody did for longer.
const PACE: Duration = Duration::from_millis(250);
/// Bytes that are read at once.
const READ: usize = 128 << 10;
const LONGEST_CHARACTER: usize = 4;
/// Pieces of one log that are kept, for readers that are a little behind.
const KEPT: usize = 4;

/// All logs that are followed here. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Mutex<HashMap<StageId, Weak<Log>>>>);

impl Live {
    /// The log of this stage, the same one for all who ask while anybody has it.
    pub(super) fn log(&self, store: &Store, stage: StageId) -> Arc<Log> {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = logs.get(&stage).and_then(Weak::upgrade) {
            return log;
        }
        logs.retain(|_, log| log.strong_count() > 0);
        let seen = tokio::sync::Mutex::default();
        let log = Arc::new(Log { store: store.clone(), stage, looked: Mutex::default(), seen });
        logs.insert(stage, Arc::downgrade(&log));
        log
    }
}

/// One log that is followed.
#[derive(Debug)]
pub(super) struct Log {
    store: Store,
    stage: StageId,
    /// When `seen` was true for the last time.
    looked: Mutex<Option<Instant>>,
    seen: tokio::sync::Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    state: LogState,
    /// The last pieces that were read, without a gap between them.
    pieces: VecDeque<(u64, Bytes)>,
}

impl Log {
    /// When it was looked at last.
    pub(super) fn looked(&self) -> Option<Instant> {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When who was woken at this time should look: at once when somebody else just did, or nobody for a while.
    pub(super) fn due(&self, woken: Instant) -> Instant {
        match self.looked() {
            Some(looked) if looked < woken => looked + PACE,
            Some(_) | None => woken,
        }
    }

    /// How far it is, as it was at this time or later.
    pub(super) async fn state(&self, since: Instant) -> Result<LogState, StoreError> {
        let mut seen = self.seen.lock().await;
        if self.looked().is_none_or(|looked| looked < since) {
            let now = Instant::now();
            let state = self.store.log_state(self.stage).await?;
            if state.removed {
                seen.pieces.clear();
            }
            seen.state = state;
            *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
        Ok(seen.state)
    }

    /// Up to `max` bytes from `at`.
    pub(super) async fn read(&self, at: u64, max: usize) -> Result<Bytes, StoreError> {
        let mut seen = self.seen.lock().await;
        let found = seen.find(at, max);
        // A character may be cut where a piece ends, and who is far behind reads alone.
        let cut = found.as_ref().is_some_and(|found| found.len() < LONGEST_CHARACTER);
        if cut || seen.state.removed || seen.pieces.front().is_some_and(|(first, _)| at < *first) {
            drop(seen);
            return Ok(self.store.read_log(self.stage, at, max).await?.data.into());
        }
        if let Some(found) = found {
            return Ok(found);
        }
        let end = seen.pieces.back().map(|(from, data)| from + data.len() as u64);
        if end != Some(at) {
            seen.pieces.clear();
        }
        let data: Bytes = self.store.read_log(self.stage, at, READ).await?.data.into();
        if !data.is_empty() {
            seen.pieces.push_back((at, data.clone()));
        }
        if seen.pieces.len() > KEPT {
            seen.pieces.pop_front();
        }
        Ok(data.slice(..max.min(data.len())))
    }
}

impl Seen {
    fn find(&self, at: u64, max: usize) -> Option<Bytes> {
        let (from, data) =
            self.pieces.iter().find(|(from, data)| (*from..from + data.len() as u64).contains(&at))?;
        let from = (at - from) as usize;
        Some(data.slice(from..data.len().min(from + max)))
    }
}
