//! The one switch that keeps all waiting jobs waiting. It is a row, so every server sees it and a restart keeps it.

use super::Core;
use crate::raw::{clean, from_json, time, to_json};
use crate::{Pause, StoreError, Wake};

impl Core {
    pub(crate) async fn pause(&self, by: &str, reason: Option<&str>) -> Result<Pause, StoreError> {
        let mut tx = self.begin().await?;
        let pause = Pause { by: clean(by), reason: reason.map(clean), since: time(tx.now)? };
        sqlx::query(
            "INSERT INTO settings (key, value) VALUES ('paused', $1)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(to_json(&pause)?)
        .execute(tx.conn())
        .await?;
        self.commit(tx).await?;
        Ok(pause)
    }

    pub(crate) async fn unpause(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM settings WHERE key = 'paused'").execute(tx.conn()).await?;
        tx.wake(Wake::Queue);
        self.commit(tx).await
    }

    pub(crate) async fn paused(&self) -> Result<Option<Pause>, StoreError> {
        let row: Option<String> = sqlx::query_scalar("SELECT value FROM settings WHERE key = 'paused'")
            .fetch_optional(&self.pools.read)
            .await?;
        row.map(|text| from_json(&text)).transpose()
    }
}
