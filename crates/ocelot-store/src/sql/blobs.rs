//! Finished logs go into the log store: copied first, then taken out of the database in small parts.
//!
//! Every blob has a row in `log_blobs` before its first byte and until its last one is gone, so that a stop at any point leaves
//! none that nobody knows of. A log lies in a blob from the commit that says so; until then its chunks are the log.

use std::sync::Arc;
use std::time::Duration;

use ocelot_model::StageId;

use super::super::WRITE;
use super::logs::slice;
use super::{Core, now};
use crate::log_store::Upload;
use crate::log_store::blob::{BLOCK, Builder, Index};
use crate::raw::us;
use crate::{LogSlice, StoreError, secret};

/// A copy that takes longer is given up.
const COPIED_WITHIN: Duration = Duration::from_mins(30);
/// Nobody writes a blob any more that was begun so long ago.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);

impl Core {
    pub(crate) async fn logs_to_copy(&self, after: StageId, limit: u32) -> Result<Vec<StageId>, StoreError> {
        let ids: Vec<i64> = sqlx::query_scalar(
            "SELECT stage_id FROM stage_logs
             WHERE complete AND NOT removed AND blob IS NULL AND bytes > 0 AND stage_id > $1
             ORDER BY stage_id LIMIT $2",
        )
        .bind(after.0)
        .bind(i64::from(limit))
        .fetch_all(&self.pools.write_logs)
        .await?;
        Ok(ids.into_iter().map(StageId).collect())
    }

    pub(crate) async fn copy_log(&self, stage: StageId, hot: Duration) -> Result<bool, StoreError> {
        self.adopt_log_store().await?;
        let (thousand, random) = (stage.0 / 1000, secret::hex(&secret::random::<16>()));
        let name = format!("{}/{thousand}/{stage}-{random}.zst", self.instance);
        let began = now(&mut *self.pools.write_logs.acquire().await?).await?;
        sqlx::query("INSERT INTO log_blobs (name, stage_id, began_at) VALUES ($1, $2, $3)")
            .bind(&name)
            .bind(stage.0)
            .bind(began)
            .execute(&self.pools.write_logs)
            .await?;
        let copied = match tokio::time::timeout(COPIED_WITHIN, self.copy(stage, &name)).await {
            Ok(copied) => copied,
            Err(_) => Err(StoreError::LogStore("it is too slow".to_owned())),
        };
        let done = match copied {
            Ok(true) => self.point_to(stage, &name, hot).await,
            other => other,
        };
        if !matches!(done, Ok(true)) {
            // When this fails too, the sweep does it.
            let _ = self.remove_blob(&name).await;
        }
        done
    }

    /// Writes the blob and reads its index back. False when the log was removed meanwhile.
    async fn copy(&self, stage: StageId, name: &str) -> Result<bool, StoreError> {
        let Some((bytes, sha256)) = self.to_copy(stage).await? else { return Ok(false) };
        let mut upload = self.log_store.upload(name);
        let length = match self.fill(&mut upload, stage, bytes as u64, &sha256).await {
            Ok(length) => length,
            Err(error) => {
                upload.abort().await;
                // What was not there any more was the log that a note has taken the place of.
                return if self.to_copy(stage).await?.is_none() { Ok(false) } else { Err(error) };
            }
        };
        upload.finish().await?;
        // What cannot be read back is no copy.
        match self.log_store.index(name).await? {
            Some(index) if index.raw() == length => Ok(true),
            _ => Err(StoreError::LogStore("what was written to it cannot be read".to_owned())),
        }
    }

    /// Length and SHA-256 of a log that is to be copied.
    async fn to_copy(&self, stage: StageId) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT bytes, coalesce(sha256, '') FROM stage_logs
             WHERE stage_id = $1 AND complete AND NOT removed AND blob IS NULL",
        )
        .bind(stage.0)
        .fetch_optional(&self.pools.read_logs)
        .await?)
    }

    /// Writes all bytes of the blob. The log must be what its worker said at its end.
    async fn fill(
        &self,
        upload: &mut Upload,
        stage: StageId,
        bytes: u64,
        sha256: &[u8],
    ) -> Result<u64, StoreError> {
        let mut builder = Builder::new();
        upload.write(Builder::header()).await?;
        let mut at = 0;
        while at < bytes {
            let raw = slice(&mut *self.pools.read_logs.acquire().await?, stage, at, BLOCK).await?;
            if raw.data.is_empty() {
                return Err(StoreError::Corrupt(format!("the log of stage {stage} has a hole at {at}")));
            }
            at += raw.data.len() as u64;
            let packed = tokio::task::spawn_blocking(move || {
                let stored = builder.block(&raw.data, &raw.marks);
                stored.map(|stored| (builder, stored))
            });
            let stored;
            (builder, stored) = packed.await.map_err(|error| StoreError::Corrupt(error.to_string()))??;
            upload.write(stored).await?;
        }
        let (end, length, hash) = builder.finish();
        if length != bytes || hash != *sha256 {
            return Err(StoreError::Corrupt(format!(
                "the log of stage {stage} is not what its worker wrote; it stays in the database"
            )));
        }
        upload.write(end).await?;
        Ok(length)
    }

    /// From this commit on the log lies in the blob. False when it was removed meanwhile, or another server was faster.
    async fn point_to(&self, stage: StageId, name: &str, hot: Duration) -> Result<bool, StoreError> {
        let mut tx = self.pools.write_logs.begin_with(WRITE).await?;
        let until = now(&mut tx).await?.saturating_add(us(hot));
        let pointed = sqlx::query(
            "UPDATE stage_logs SET blob = $1, hot_until = $2
             WHERE stage_id = $3 AND complete AND NOT removed AND blob IS NULL",
        )
        .bind(name)
        .bind(until)
        .bind(stage.0)
        .execute(&mut *tx)
        .await?;
        let stored =
            sqlx::query("UPDATE log_blobs SET stored = true WHERE name = $1 AND NOT stored AND began_at > 0")
                .bind(name)
                .execute(&mut *tx)
                .await?;
        let done = pointed.rows_affected() == 1 && stored.rows_affected() == 1;
        if done {
            tx.commit().await?;
        } else {
            tx.rollback().await?;
        }
        Ok(done)
    }

    /// Takes the chunks of copied logs out of the database; answers of how many logs.
    pub(crate) async fn drop_copied(&self, limit: u32) -> Result<usize, StoreError> {
        let now = now(&mut *self.pools.write_logs.acquire().await?).await?;
        let stages: Vec<i64> = sqlx::query_scalar(
            "SELECT stage_id FROM stage_logs WHERE hot_until IS NOT NULL AND hot_until <= $1 ORDER BY hot_until LIMIT $2",
        )
        .bind(now)
        .bind(i64::from(limit))
        .fetch_all(&self.pools.write_logs)
        .await?;
        if !stages.is_empty() {
            self.adopt_log_store().await?;
        }
        for stage in &stages {
            while self.drop_some(*stage).await? {}
        }
        Ok(stages.len())
    }

    /// One small transaction; true when there is more.
    async fn drop_some(&self, stage: i64) -> Result<bool, StoreError> {
        let mut tx = self.pools.write_logs.begin_with(WRITE).await?;
        let copied: Option<bool> = sqlx::query_scalar(concat!(
            "SELECT blob IS NOT NULL AND NOT removed FROM stage_logs WHERE stage_id = $1",
            for_update!()
        ))
        .bind(stage)
        .fetch_optional(&mut *tx)
        .await?;
        // The chunks of a log that was removed are its note.
        let more = copied == Some(true) && super::removal::drop_some(&mut tx, stage, 0).await?;
        if !more {
            sqlx::query("UPDATE stage_logs SET hot_until = NULL WHERE stage_id = $1")
                .bind(stage)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(more)
    }

    /// The blob that holds the byte at `offset` of this log.
    async fn lies_in(&self, stage: StageId, offset: u64) -> Result<Option<String>, StoreError> {
        let blob: Option<Option<String>> = sqlx::query_scalar(
            "SELECT blob FROM stage_logs WHERE stage_id = $1 AND NOT removed AND bytes > $2",
        )
        .bind(stage.0)
        .bind(offset.min(i64::MAX as u64) as i64)
        .fetch_optional(&self.pools.read_logs)
        .await?;
        Ok(blob.flatten())
    }

    /// What the database does not hold any more; nothing when it was never there.
    pub(super) async fn read_blob(
        &self,
        stage: StageId,
        offset: u64,
        max: usize,
    ) -> Result<LogSlice, StoreError> {
        let nothing = LogSlice { offset, data: Vec::new(), marks: Vec::new() };
        let Some(name) = self.lies_in(stage, offset).await? else { return Ok(nothing) };
        match self.log_store.read(&name, offset, max).await? {
            Some(slice) => Ok(slice),
            None => self.missing(stage, &name).await.map(|()| nothing),
        }
    }

    /// The index of a log that was copied.
    pub(super) async fn log_index(&self, stage: StageId) -> Result<Option<Arc<Index>>, StoreError> {
        let Some(name) = self.lies_in(stage, 0).await? else { return Ok(None) };
        let index = self.log_store.index(&name).await?;
        if index.is_none() {
            self.missing(stage, &name).await?;
        }
        Ok(index)
    }

    /// A blob may go while somebody reads it, but only together with its log.
    async fn missing(&self, stage: StageId, name: &str) -> Result<(), StoreError> {
        if self.lies_in(stage, 0).await?.as_deref() != Some(name) {
            return Ok(());
        }
        let place = self.log_store.place();
        Err(StoreError::LogMissing(format!(
            "{name}, the log of stage {stage}, is missing in the log store {place}"
        )))
    }

    /// Removes the blobs of this log that hold it no more, for those who wait until they are gone.
    pub(super) async fn remove_blobs(&self, stage: StageId) -> Result<(), StoreError> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM log_blobs WHERE stage_id = $1 AND NOT stored AND began_at = 0",
        )
        .bind(stage.0)
        .fetch_all(&self.pools.write_logs)
        .await?;
        for name in names {
            self.remove_blob(&name).await?;
        }
        Ok(())
    }

    /// Removes blobs in which no log lies; answers how many.
    pub(crate) async fn sweep_blobs(&self, limit: u32) -> Result<usize, StoreError> {
        let now = now(&mut *self.pools.write_logs.acquire().await?).await?;
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM log_blobs WHERE NOT stored AND began_at <= $1 ORDER BY began_at LIMIT $2",
        )
        .bind(now - us(FORGOTTEN_AFTER))
        .bind(i64::from(limit))
        .fetch_all(&self.pools.write_logs)
        .await?;
        for name in &names {
            self.remove_blob(name).await?;
        }
        Ok(names.len())
    }

    /// First nobody may point to it any more, then its bytes go, and then the row that knows of them.
    async fn remove_blob(&self, name: &str) -> Result<(), StoreError> {
        let doomed = sqlx::query("UPDATE log_blobs SET began_at = 0 WHERE name = $1 AND NOT stored")
            .bind(name)
            .execute(&self.pools.write_logs)
            .await?;
        if doomed.rows_affected() == 0 && self.is_blob(name).await? {
            return Ok(());
        }
        // Also when its row is gone: the sweep did not wait for whoever wrote it.
        self.log_store.delete(name).await?;
        sqlx::query("DELETE FROM log_blobs WHERE name = $1 AND NOT stored")
            .bind(name)
            .execute(&self.pools.write_logs)
            .await?;
        Ok(())
    }

    async fn is_blob(&self, name: &str) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar("SELECT stage_id FROM log_blobs WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pools.write_logs)
            .await?;
        Ok(found.is_some())
    }

    /// Gives blobs free whose logs a server of the version before has removed, which knows nothing of blobs.
    pub(crate) async fn free_blobs(&self) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE log_blobs SET stored = false, began_at = 0
             WHERE stored AND NOT EXISTS (SELECT 1 FROM stage_logs l
                 WHERE l.stage_id = log_blobs.stage_id AND l.blob = log_blobs.name AND NOT l.removed)",
        )
        .execute(&self.pools.write_logs)
        .await?;
        Ok(())
    }
}

/// The blobs of these logs hold them no more. Those that are being written are given up by whoever writes them.
pub(super) async fn free(conn: &mut super::Conn, stages: &str) -> Result<(), StoreError> {
    sqlx::query(concat!(
        "UPDATE log_blobs SET stored = false, began_at = 0 WHERE stored AND stage_id IN ",
        ids!("$1")
    ))
    .bind(stages)
    .execute(conn)
    .await?;
    Ok(())
}
