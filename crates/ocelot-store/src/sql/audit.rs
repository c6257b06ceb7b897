//! Who did what. Rows are only added, and go when they are old.

use jiff::Timestamp;
use ocelot_model::AuditAction;
use sqlx::{FromRow, QueryBuilder};

use super::{Core, Db, Tx};
use crate::raw::{clean, read, time};
use crate::{AuditFilter, AuditRow, NewAudit, StoreError};

/// At most this many in one answer.
const LIMIT: u32 = 1000;
/// Longest text of a row, in characters.
const TEXT_MAX: usize = 1000;

#[derive(FromRow)]
struct Row {
    id: i64,
    at: i64,
    actor: String,
    action: String,
    subject: String,
    detail: String,
}

impl Tx {
    /// Writes down who did what, with the change itself: the one is never there without the other.
    pub(super) async fn note(
        &mut self,
        actor: &str,
        action: AuditAction,
        subject: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        let cut = |text: &str| clean(&text.chars().take(TEXT_MAX).collect::<String>());
        let now = self.now;
        sqlx::query("INSERT INTO audit (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)")
            .bind(now)
            .bind(cut(actor))
            .bind(action.as_str())
            .bind(cut(subject))
            .bind(cut(detail))
            .execute(self.conn())
            .await?;
        Ok(())
    }
}

impl Core {
    pub(crate) async fn note(&self, new: &NewAudit<'_>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.note(new.actor, new.action, new.subject, new.detail).await?;
        self.commit(tx).await
    }

    pub(crate) async fn list_audit(
        &self,
        filter: &AuditFilter,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let mut sql =
            QueryBuilder::<Db>::new("SELECT id, at, actor, action, subject, detail FROM audit WHERE id < ");
        sql.push_bind(filter.before.unwrap_or(i64::MAX));
        if let Some(actor) = &filter.actor {
            sql.push(" AND actor = ").push_bind(clean(actor));
        }
        if let Some(action) = filter.action {
            sql.push(" AND action = ").push_bind(action.as_str());
        }
        if let Some(subject) = &filter.subject {
            sql.push(" AND subject = ").push_bind(clean(subject));
        }
        if let Some(since) = filter.since {
            sql.push(" AND at >= ").push_bind(since.as_microsecond());
        }
        if let Some(until) = filter.until {
            sql.push(" AND at < ").push_bind(until.as_microsecond());
        }
        sql.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit.min(LIMIT)));
        let rows: Vec<Row> = sql.build_query_as().fetch_all(&self.pools.read).await?;
        let row = |row: Row| {
            let (at, action) = (time(row.at)?, read(&row.action)?);
            let Row { id, actor, subject, detail, .. } = row;
            Ok(AuditRow { id, at, actor, action, subject, detail })
        };
        rows.into_iter().map(row).collect()
    }

    pub(crate) async fn expire_audit(&self, before: Timestamp, limit: u32) -> Result<usize, StoreError> {
        let gone = sqlx::query(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)",
        )
        .bind(before.as_microsecond())
        .bind(i64::from(limit))
        .execute(&self.pools.write)
        .await?;
        Ok(gone.rows_affected() as usize)
    }
}
