//! Takes the bytes of logs away, and leaves a note in their place.
//!
//! The note is the log from then on, so every reader shows it. It comes first and the rest of the bytes after it, in small
//! transactions: what was cut short is finished by the next call. A blob of the log store that holds the log is given up with the
//! note, and goes after it: at once here, or by the sweep (`sql/blobs`).

use std::sync::atomic::Ordering;

use ocelot_model::{AuditAction, StageId, Status};

use super::super::{WRITE, notify, now, scrub_logs};
use super::{Conn, Core, blobs};
use crate::chunk;
use crate::raw::{clean, read, to_json};
use crate::{Mark, StoreError, Wake};

/// Rows of one log that are deleted at once: 16 MiB of it at most.
const CHUNKS: i64 = 64;

impl Core {
    pub(crate) async fn remove_log(&self, stage: StageId, note: &str, by: &str) -> Result<(), StoreError> {
        self.check_written(stage).await?;
        self.note_removal(stage, by).await?;
        sqlx::query(
            "INSERT INTO stage_logs (stage_id, bytes) VALUES ($1, 0) ON CONFLICT (stage_id) DO NOTHING",
        )
        .bind(stage.0)
        .execute(&self.pools.write_logs)
        .await?;
        self.put_note(stage, note).await?;
        self.drop_chunks(stage.0, 1).await?;
        self.unscrubbed.store(true, Ordering::Relaxed);
        if !self.scrub().await? {
            tracing::warn!(%stage, "readers keep a deleted log in the journal of logs.db; it is taken out when they end");
        }
        self.remove_blobs(stage).await.map_err(|error| match error {
            StoreError::LogStore(why) => StoreError::LogStore(format!(
                "readers get the note already, but the bytes are still there until it answers: {why}"
            )),
            other => other,
        })
    }

    /// Logs may lie in a database of their own, so this is written before the first byte goes; once, however often the rest
    /// has to be done again.
    async fn note_removal(&self, stage: StageId, by: &str) -> Result<(), StoreError> {
        let removed: Option<bool> = sqlx::query_scalar("SELECT removed FROM stage_logs WHERE stage_id = $1")
            .bind(stage.0)
            .fetch_optional(&self.pools.read_logs)
            .await?;
        if removed == Some(true) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let build: i64 = sqlx::query_scalar("SELECT build FROM stages WHERE id = $1")
            .bind(stage.0)
            .fetch_one(tx.conn())
            .await?;
        let (subject, detail) = (format!("build {build}"), format!("log of stage {stage}"));
        tx.note(by, AuditAction::LogDeleted, &subject, &detail).await?;
        self.commit(tx).await
    }

    /// Takes deleted bytes out of where they still are, if there are any; false while readers keep them.
    pub(crate) async fn scrub(&self) -> Result<bool, StoreError> {
        if !self.unscrubbed.swap(false, Ordering::Relaxed) {
            return Ok(true);
        }
        let done = scrub_logs(&self.pools.write_logs).await;
        if !matches!(done, Ok(true)) {
            self.unscrubbed.store(true, Ordering::Relaxed);
        }
        done
    }

    /// A log that may still grow is not deleted: what came later would be seen.
    async fn check_written(&self, stage: StageId) -> Result<(), StoreError> {
        let row: Option<(String, String, bool)> = sqlx::query_as(
            "SELECT s.name, s.status, a.lease_token IS NOT NULL FROM stages s JOIN attempts a ON a.id = s.attempt_id
             WHERE s.id = $1",
        )
        .bind(stage.0)
        .fetch_optional(&self.pools.write)
        .await?;
        let (name, status, held) = row.ok_or_else(|| StoreError::NotFound(format!("stage {stage}")))?;
        let status: Status = read(&status)?;
        if !status.is_terminal() {
            return Err(StoreError::Conflict(format!(
                "stage {name} is {status}: its log can be deleted when it is over (cancel the build to end it now)"
            )));
        }
        if held && !self.log_state(stage).await?.complete {
            return Err(StoreError::Conflict(format!(
                "the end of the log of stage {name} has not arrived yet; try again in a moment, or cancel the build"
            )));
        }
        Ok(())
    }

    /// Puts the note in the place of the log, when there is one; an earlier note stays.
    pub(super) async fn put_note(&self, stage: StageId, note: &str) -> Result<(), StoreError> {
        let note = clean(note) + "\n";
        let mut tx = self.pools.write_logs.begin_with(WRITE).await?;
        let now = now(&mut tx).await?;
        let removed: Option<bool> =
            sqlx::query_scalar(concat!("SELECT removed FROM stage_logs WHERE stage_id = $1", for_update!()))
                .bind(stage.0)
                .fetch_optional(&mut *tx)
                .await?;
        if removed != Some(false) {
            return Ok(());
        }
        // What a reader of the note could meet goes with the same commit.
        sqlx::query("DELETE FROM log_chunks WHERE stage_id = $1 AND start_at < $2")
            .bind(stage.0)
            .bind(note.len() as i64)
            .execute(&mut *tx)
            .await?;
        for chunk in chunk::cut(note.as_bytes(), &[Mark { at: 0, time_us: now }])? {
            sqlx::query(
                "INSERT INTO log_chunks (stage_id, start_at, len, marks, data) VALUES ($1, 0, $2, $3, $4)",
            )
            .bind(stage.0)
            .bind(chunk.len as i64)
            .bind(&chunk.marks)
            .bind(&chunk.data)
            .execute(&mut *tx)
            .await?;
        }
        // The SHA-256 goes too: with it a guess could be checked.
        sqlx::query(
            "UPDATE stage_logs SET bytes = $1, complete = true, removed = true, sha256 = NULL, blob = NULL,
                                   hot_until = NULL
             WHERE stage_id = $2",
        )
        .bind(note.len() as i64)
        .bind(stage.0)
        .execute(&mut *tx)
        .await?;
        blobs::free(&mut tx, &to_json(&[stage.0])?).await?;
        let wakes = [Wake::Log(stage)];
        for text in self.wakes.to_texts(&wakes) {
            notify(&mut tx, &text).await?;
        }
        tx.commit().await?;
        self.wakes.send(&wakes);
        Ok(())
    }

    /// Deletes what stands at `from` and behind it, a part at a time, so that writers get their turn.
    pub(super) async fn drop_chunks(&self, stage: i64, from: i64) -> Result<(), StoreError> {
        while drop_some(&mut *self.pools.write_logs.acquire().await?, stage, from).await? {}
        Ok(())
    }
}

/// Deletes one part; true when there is more.
pub(super) async fn drop_some(conn: &mut Conn, stage: i64, from: i64) -> Result<bool, StoreError> {
    let gone = sqlx::query(
        "DELETE FROM log_chunks WHERE stage_id = $1 AND start_at IN
         (SELECT start_at FROM log_chunks WHERE stage_id = $1 AND start_at >= $2 ORDER BY start_at LIMIT $3)",
    )
    .bind(stage)
    .bind(from)
    .bind(CHUNKS)
    .execute(conn)
    .await?;
    Ok(gone.rows_affected() == CHUNKS as u64)
}
