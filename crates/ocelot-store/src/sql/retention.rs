//! Removes what is old: logs first, then builds. A batch looks at few builds, and each of them has transactions of its own.

use std::time::Duration;

use jiff::Timestamp;
use ocelot_model::{BuildNumber, StageId};

use super::Core;
use crate::raw::{to_json, us};
use crate::{Looked, StoreError};

impl Core {
    /// One row that whoever does the work holds for a while; it is nobody's when that time is over.
    pub(crate) async fn begin_alone(&self, what: &str, at_most: Duration) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now;
        let taken = sqlx::query(
            "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key)
             DO UPDATE SET value = excluded.value WHERE CAST(settings.value AS BIGINT) <= $3",
        )
        .bind(format!("alone:{what}"))
        .bind((now + us(at_most)).to_string())
        .bind(now)
        .execute(tx.conn())
        .await?;
        self.commit(tx).await?;
        Ok(taken.rows_affected() == 1)
    }

    pub(crate) async fn end_alone(&self, what: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE settings SET value = '0' WHERE key = $1")
            .bind(format!("alone:{what}"))
            .execute(&self.pools.write)
            .await?;
        Ok(())
    }

    pub(crate) async fn expire_logs(
        &self,
        before: Timestamp,
        note: &str,
        limit: u32,
    ) -> Result<usize, StoreError> {
        let builds: Vec<i64> = sqlx::query_scalar(
            "SELECT number FROM builds WHERE logs_removed = false AND finished_at < $1
             ORDER BY finished_at, number LIMIT $2",
        )
        .bind(before.as_microsecond())
        .bind(i64::from(limit))
        .fetch_all(&self.pools.write)
        .await?;
        for number in &builds {
            let stages: Vec<i64> = sqlx::query_scalar("SELECT id FROM stages WHERE build = $1")
                .bind(number)
                .fetch_all(&self.pools.write)
                .await?;
            for stage in self.with_bytes(&stages).await? {
                self.put_note(StageId(stage), note).await?;
                self.drop_chunks(stage, 1).await?;
            }
            sqlx::query("UPDATE builds SET logs_removed = true WHERE number = $1")
                .bind(number)
                .execute(&self.pools.write)
                .await?;
        }
        Ok(builds.len())
    }

    /// A stage that wrote nothing needs no note.
    async fn with_bytes(&self, stages: &[i64]) -> Result<Vec<i64>, StoreError> {
        let sql = concat!("SELECT stage_id FROM stage_logs WHERE bytes > 0 AND stage_id IN ", ids!("$1"));
        Ok(sqlx::query_scalar(sql).bind(to_json(stages)?).fetch_all(&self.pools.write_logs).await?)
    }

    pub(crate) async fn expire_builds(
        &self,
        before: Timestamp,
        keep_last: u32,
        after: Option<Looked>,
        limit: u32,
    ) -> Result<Option<Looked>, StoreError> {
        let from = after.unwrap_or(Looked { ended_us: i64::MIN, number: BuildNumber(0) });
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
            "SELECT b.number, b.finished_at,
                    (SELECT count(*) FROM (SELECT 1 FROM builds n WHERE n.repo_id = b.repo_id AND n.branch = b.branch
                                           AND n.number > b.number LIMIT $4) AS newer)
             FROM builds b
             WHERE b.finished_at < $1 AND (b.finished_at, b.number) > ($2, $3)
               AND b.counted AND b.status NOT IN ('blocked', 'queued', 'running')
             ORDER BY b.finished_at, b.number LIMIT $5",
        )
        .bind(before.as_microsecond())
        .bind(from.ended_us)
        .bind(from.number.0)
        .bind(i64::from(keep_last))
        .bind(i64::from(limit))
        .fetch_all(&self.pools.write)
        .await?;
        for (number, _, newer) in &rows {
            if *newer >= i64::from(keep_last) {
                self.remove_build(*number).await?;
            }
        }
        let last = rows.last().filter(|_| rows.len() == limit as usize);
        Ok(last.map(|(number, ended_us, _)| Looked { ended_us: *ended_us, number: BuildNumber(*number) }))
    }
}
