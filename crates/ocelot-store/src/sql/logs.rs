//! Logs as readers and workers see them: bytes at offsets, wherever they lie.

use std::collections::HashMap;

use ocelot_model::StageId;

use super::super::WRITE;
use super::log_writer::Piece;
use super::{Conn, Core, blobs};
use crate::chunk;
use crate::log_store::blob::{BLOCK, Index};
use crate::raw::to_json;
use crate::{LogError, LogSlice, LogState, Mark, StoreError};

/// Bytes that are read at once when looking backwards for lines.
const BACK: u64 = 64 << 10;

#[derive(sqlx::FromRow)]
struct Row {
    start_at: i64,
    len: i64,
    marks: Vec<u8>,
    data: Vec<u8>,
}

impl Core {
    pub(crate) async fn append_log(
        &self,
        stage: StageId,
        offset: u64,
        data: &[u8],
        marks: &[Mark],
    ) -> Result<u64, LogError> {
        let (data, marks) = (data.to_vec(), marks.to_vec());
        // Compression takes milliseconds: not on a thread that serves others.
        let piece = tokio::task::spawn_blocking(move || {
            let chunks = chunk::cut(&data, &marks)?;
            Ok::<_, StoreError>(Piece { offset, data, marks, chunks })
        })
        .await
        .map_err(|error| StoreError::Corrupt(error.to_string()))??;
        self.log_writer.append(stage, piece).await
    }

    pub(crate) async fn finish_log(&self, stage: StageId, total: u64, sha256: &[u8]) -> Result<(), LogError> {
        self.log_writer.finish(stage, total, sha256).await.map(drop)
    }

    pub(crate) async fn read_log(
        &self,
        stage: StageId,
        offset: u64,
        max: usize,
    ) -> Result<LogSlice, StoreError> {
        let hot = slice(&mut *self.pools.read_logs.acquire().await?, stage, offset, max).await?;
        if hot.data.is_empty() && max > 0 { self.read_blob(stage, offset, max).await } else { Ok(hot) }
    }

    pub(crate) async fn log_tail(&self, stage: StageId, end: u64, lines: u64) -> Result<u64, StoreError> {
        if lines == 0 || end == 0 {
            return Ok(end);
        }
        match self.log_index(stage).await? {
            Some(index) if index.raw() == end => self.tail_of_copied(stage, &index, lines).await,
            _ => self.tail_backwards(stage, end, lines).await,
        }
    }

    /// The index says in which block that line begins.
    async fn tail_of_copied(&self, stage: StageId, index: &Index, lines: u64) -> Result<u64, StoreError> {
        let end = index.raw();
        let (before, from) = index.lines_before(end - 1);
        let last = self.all_bytes(stage, from, end).await?;
        // The line feed at the very end ends the last line, it does not begin another one.
        let feeds = before + count(&last[..last.len().saturating_sub(1)]);
        // The line that is wanted begins behind this line feed, counted from 1.
        let Some(wanted) = (feeds + 1).checked_sub(lines).filter(|feed| *feed > 0) else { return Ok(0) };
        let (from, before) = index.block_of_line(wanted - 1);
        let block = self.all_bytes(stage, from, (from + BLOCK as u64).min(end)).await?;
        let at = memchr::memchr_iter(b'\n', &block).nth((wanted - before - 1) as usize);
        Ok(at.map_or(end, |at| from + at as u64 + 1))
    }

    async fn tail_backwards(&self, stage: StageId, end: u64, lines: u64) -> Result<u64, StoreError> {
        let mut left = lines;
        let mut upper = end;
        while upper > 0 {
            let lower = upper.saturating_sub(BACK);
            let data = self.all_bytes(stage, lower, upper).await?;
            let last = if upper == end { data.len().saturating_sub(1) } else { data.len() };
            for at in memchr::memrchr_iter(b'\n', &data[..last]) {
                left -= 1;
                if left == 0 {
                    return Ok(lower + at as u64 + 1);
                }
            }
            upper = lower;
        }
        Ok(0)
    }

    pub(crate) async fn log_lines(
        &self,
        stage: StageId,
        end: u64,
        at_most: u64,
    ) -> Result<Option<u64>, StoreError> {
        let (mut lines, mut at) = match self.log_index(stage).await? {
            Some(index) => index.lines_before(end),
            None => (0, 0),
        };
        if end - at > at_most {
            return Ok(None);
        }
        while at < end {
            let to = (at + BLOCK as u64).min(end);
            lines += count(&self.all_bytes(stage, at, to).await?);
            at = to;
        }
        Ok(Some(lines))
    }

    /// All bytes between these two places, fewer only when there are no more.
    async fn all_bytes(&self, stage: StageId, from: u64, to: u64) -> Result<Vec<u8>, StoreError> {
        let mut all = Vec::new();
        while from + (all.len() as u64) < to {
            let at = from + all.len() as u64;
            let some = self.read_log(stage, at, (to - at) as usize).await?.data;
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        Ok(all)
    }

    pub(crate) async fn log_state(&self, stage: StageId) -> Result<LogState, StoreError> {
        let row: Option<(i64, bool, bool)> =
            sqlx::query_as("SELECT bytes, complete, removed FROM stage_logs WHERE stage_id = $1")
                .bind(stage.0)
                .fetch_optional(&self.pools.read_logs)
                .await?;
        let state = |(bytes, complete, removed)| LogState { bytes: bytes as u64, complete, removed };
        Ok(row.map(state).unwrap_or_default())
    }

    /// Durable lengths of these stages' logs.
    pub(super) async fn log_bytes(&self, stages: &[i64]) -> Result<HashMap<i64, i64>, StoreError> {
        let rows: Vec<(i64, i64)> =
            sqlx::query_as(concat!("SELECT stage_id, bytes FROM stage_logs WHERE stage_id IN ", ids!("$1")))
                .bind(to_json(stages)?)
                .fetch_all(&self.pools.read_logs)
                .await?;
        Ok(rows.into_iter().collect())
    }

    pub(super) async fn remove_logs(&self, stages: &[i64]) -> Result<(), StoreError> {
        for stage in stages {
            self.drop_chunks(*stage, 0).await?;
        }
        let stages = to_json(stages)?;
        let mut tx = self.pools.write_logs.begin_with(WRITE).await?;
        sqlx::query(concat!("DELETE FROM stage_logs WHERE stage_id IN ", ids!("$1")))
            .bind(&stages)
            .execute(&mut *tx)
            .await?;
        // The sweep removes them: no build stays because the log store is away.
        blobs::free(&mut tx, &stages).await?;
        Ok(tx.commit().await?)
    }
}

fn count(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// Up to `max` bytes from `offset` that are in the database, with the marks in them.
pub(super) async fn slice(
    conn: &mut Conn,
    stage: StageId,
    offset: u64,
    max: usize,
) -> Result<LogSlice, StoreError> {
    let mut out = LogSlice { offset, data: Vec::new(), marks: Vec::new() };
    let end = offset.saturating_add(max as u64).min(i64::MAX as u64);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT start_at, len, marks, data FROM log_chunks
         WHERE stage_id = $1 AND start_at < $3
           AND start_at >= coalesce((SELECT max(start_at) FROM log_chunks WHERE stage_id = $1 AND start_at <= $2), 0)
         ORDER BY start_at",
    )
    .bind(stage.0)
    .bind(offset.min(i64::MAX as u64) as i64)
    .bind(end as i64)
    .fetch_all(conn)
    .await?;
    for row in rows {
        let raw = chunk::inflate(&row.data, row.len as usize)?;
        let start = row.start_at as u64;
        let from = (offset.saturating_sub(start) as usize).min(raw.len());
        let to = (end.saturating_sub(start) as usize).min(raw.len());
        if from >= to || start + from as u64 != offset + out.data.len() as u64 {
            continue;
        }
        let marks = chunk::decode_marks(&row.marks)
            .ok_or_else(|| StoreError::Corrupt(format!("the times of the log of stage {stage}")))?;
        let base = out.data.len() as u32;
        let inside = chunk::window(&marks, from, to);
        out.marks.extend(inside.into_iter().map(|mark| Mark { at: mark.at + base, ..mark }));
        out.data.extend_from_slice(&raw[from..to]);
    }
    Ok(out)
}

/// Raw bytes without their times.
pub(super) async fn raw_bytes(
    conn: &mut Conn,
    stage: StageId,
    offset: u64,
    max: usize,
) -> Result<Vec<u8>, StoreError> {
    Ok(slice(conn, stage, offset, max).await?.data)
}

/// True when exactly these bytes stand there.
pub(super) async fn stored_bytes(
    conn: &mut Conn,
    stage: StageId,
    offset: u64,
    bytes: &[u8],
) -> Result<bool, StoreError> {
    Ok(raw_bytes(conn, stage, offset, bytes.len()).await? == bytes)
}
