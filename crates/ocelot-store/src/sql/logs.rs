//! Logs as readers and workers see them: bytes at offsets.

use std::collections::HashMap;

use ocelot_model::StageId;

use super::log_writer::Piece;
use super::{Conn, Core};
use crate::chunk;
use crate::raw::to_json;
use crate::{LogError, LogSlice, LogState, Mark, StoreError};

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
        let mut conn = self.pools.read_logs.acquire().await?;
        slice(&mut conn, stage, offset, max).await
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
        sqlx::query(concat!("DELETE FROM stage_logs WHERE stage_id IN ", ids!("$1")))
            .bind(to_json(stages)?)
            .execute(&self.pools.write_logs)
            .await?;
        Ok(())
    }
}

/// Up to `max` bytes from `offset`, with the marks in them.
async fn slice(conn: &mut Conn, stage: StageId, offset: u64, max: usize) -> Result<LogSlice, StoreError> {
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
