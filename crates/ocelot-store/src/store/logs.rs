//! Logs, while they are written and after.

use std::time::Duration;

use ocelot_model::StageId;

use super::{Kind, Store};
use crate::{LogError, LogSlice, LogState, Mark, StoreError, calls};

impl Store {
    /// Takes bytes at `offset`; returns once they are durable, with the durable length. Overlap with equal bytes is fine.
    /// At most 1 MiB. The caller has checked the lease.
    pub async fn append_log(
        &self,
        stage: StageId,
        offset: u64,
        data: &[u8],
        marks: &[Mark],
    ) -> Result<u64, LogError> {
        each!(self, core => core.append_log(stage, offset, data, marks).await)
    }

    /// The end: checks length and SHA-256. Twice is fine.
    pub async fn finish_log(&self, stage: StageId, total: u64, sha256: &[u8]) -> Result<(), LogError> {
        each!(self, core => core.finish_log(stage, total, sha256).await)
    }

    /// Up to `max` bytes from `offset` (less at the end of what there is).
    pub async fn read_log(&self, stage: StageId, offset: u64, max: usize) -> Result<LogSlice, StoreError> {
        each!(self, core => core.read_log(stage, offset, max).await)
    }

    /// Where the last `lines` lines of the first `end` bytes begin.
    pub async fn log_tail(&self, stage: StageId, end: u64, lines: u64) -> Result<u64, StoreError> {
        each!(self, core => core.log_tail(stage, end, lines).await)
    }

    /// Line feeds before `end`; `None` when counting them means reading more than `at_most` bytes.
    pub async fn log_lines(&self, stage: StageId, end: u64, at_most: u64) -> Result<Option<u64>, StoreError> {
        each!(self, core => core.log_lines(stage, end, at_most).await)
    }

    /// How far it is.
    pub async fn log_state(&self, stage: StageId) -> Result<LogState, StoreError> {
        each!(self, core => core.log_state(stage).await)
    }

    /// Whether the log store can be written. Asked often it looks from time to time only.
    pub async fn ping_log_store(&self) -> Result<(), StoreError> {
        each!(self, core => core.ping_log_store().await)
    }

    /// Says once more that this server uses the log store; to be called every minute.
    pub async fn stay_at_log_store(&self) -> Result<(), StoreError> {
        each!(self, core => core.stay_at_log_store().await)
    }

    /// Finished logs behind `after` that are in the database only, at most `limit`.
    pub async fn logs_to_copy(&self, after: StageId, limit: u32) -> Result<Vec<StageId>, StoreError> {
        each!(self, core => core.logs_to_copy(after, limit).await)
    }

    /// Copies a finished log into the log store, where it is read from then on. Its bytes stay in the database too for as
    /// long as `hot` says. False when there was nothing to copy any more.
    pub async fn copy_log(&self, stage: StageId, hot: Duration) -> Result<bool, StoreError> {
        each!(self, core => core.copy_log(stage, hot).await)
    }

    /// Takes the bytes of up to `limit` copied logs out of the database; answers of how many.
    pub async fn drop_copied(&self, limit: u32) -> Result<usize, StoreError> {
        each!(self, core => core.drop_copied(limit).await)
    }

    /// Removes up to `limit` blobs of the log store in which no log lies; answers how many.
    pub async fn sweep_blobs(&self, limit: u32) -> Result<usize, StoreError> {
        each!(self, core => core.sweep_blobs(limit).await)
    }

    /// Gives blobs free whose logs are gone without a word, as after a server of the version before removed them. Looks at
    /// all of them.
    pub async fn free_blobs(&self) -> Result<(), StoreError> {
        each!(self, core => core.free_blobs().await)
    }

    /// Deletes the bytes of a log for good and leaves `note` in their place; an earlier note stays.
    /// [`StoreError::Conflict`] while its worker may still write to it.
    ///
    /// SQLite overwrites them in its files before this returns; PostgreSQL frees their space, which it overwrites when it uses
    /// it again.
    pub async fn remove_log(&self, stage: StageId, note: &str, by: &str) -> Result<(), StoreError> {
        each!(self, calls::LONG, core => core.remove_log(stage, note, by).await)
    }

    /// Takes bytes of deleted logs out of SQLite's journal, if readers kept them there; false while they still do. To be
    /// called again and again.
    pub async fn scrub(&self) -> Result<bool, StoreError> {
        each!(self, calls::LONG, core => core.scrub().await)
    }
}
