//! The one switch that keeps all waiting jobs waiting. It is a row, so every server sees it and a restart keeps it.

use ocelot_model::AuditAction;

use super::{Conn, Core, Tx};
use crate::raw::{clean, from_json, time, to_json};
use crate::{Pause, StoreError, Wake};

impl Core {
    pub(crate) async fn pause(&self, by: &str, reason: Option<&str>) -> Result<Pause, StoreError> {
        let mut tx = self.begin().await?;
        // Said again in other words, it is the same pause.
        let since = stored(tx.conn()).await?.map_or(time(tx.now)?, |earlier| earlier.since);
        let pause = Pause { by: clean(by), reason: reason.map(clean), since };
        sqlx::query(
            "INSERT INTO settings (key, value) VALUES ('paused', $1)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(to_json(&pause)?)
        .execute(tx.conn())
        .await?;
        tx.note(by, AuditAction::Paused, "all", reason.unwrap_or_default()).await?;
        self.commit(tx).await?;
        Ok(pause)
    }

    pub(crate) async fn unpause(&self, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let paused = stored(tx.conn()).await?;
        sqlx::query("DELETE FROM settings WHERE key = 'paused'").execute(tx.conn()).await?;
        if let Some(pause) = paused {
            forget_waiting(&mut tx, pause.since.as_microsecond()).await?;
            tx.note(by, AuditAction::Unpaused, "all", "").await?;
        }
        tx.wake(Wake::Queue);
        self.commit(tx).await
    }

    pub(crate) async fn paused(&self) -> Result<Option<Pause>, StoreError> {
        stored(&mut *self.pools.read.acquire().await?).await
    }
}

async fn stored(conn: &mut Conn) -> Result<Option<Pause>, StoreError> {
    let row: Option<String> =
        sqlx::query_scalar("SELECT value FROM settings WHERE key = 'paused'").fetch_optional(conn).await?;
    row.map(|text| from_json(&text)).transpose()
}

/// Nobody could take what waited during a pause: that time does not count against the longest time that a job may wait.
async fn forget_waiting(tx: &mut Tx, since: i64) -> Result<(), StoreError> {
    let now = tx.now;
    sqlx::query(
        "UPDATE queue SET ready_at = coalesce(ready_at, queued_at) + $1 -
             CASE WHEN coalesce(ready_at, queued_at) > $2 THEN coalesce(ready_at, queued_at) ELSE $2 END
         WHERE ready",
    )
    .bind(now)
    .bind(since)
    .execute(tx.conn())
    .await?;
    Ok(())
}
