//! Work that comes round again and again, and that one of several servers does each time.
//!
//! There is no leader: whoever comes first when the time is over has the turn, and writes down when that was, by the
//! database's clock. So nothing has to be taken from a server that died, and a turn that was written down proves that some
//! server was up and could write.

use std::time::Duration;

use super::super::now;
use super::Core;
use crate::StoreError;
use crate::raw::us;

impl Core {
    pub(crate) async fn take_turn(
        &self,
        work: &str,
        every: Duration,
    ) -> Result<Option<Duration>, StoreError> {
        let key = format!("turn:{work}");
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO settings (key, value) VALUES ($1, '0') ON CONFLICT (key) DO NOTHING")
            .bind(&key)
            .execute(tx.conn())
            .await?;
        let last: String =
            sqlx::query_scalar(concat!("SELECT value FROM settings WHERE key = $1", for_update!()))
                .bind(&key)
                .fetch_one(tx.conn())
                .await?;
        // Only now: another server may have held the row until a moment ago.
        let now = now(tx.conn()).await?;
        let last: i64 = last.parse().map_err(|_| StoreError::Corrupt(format!("setting {key}")))?;
        // A clock that was set back must not stop the work.
        if (0..us(every)).contains(&(now - last)) {
            return Ok(None);
        }
        sqlx::query("UPDATE settings SET value = $1 WHERE key = $2")
            .bind(now.to_string())
            .bind(&key)
            .execute(tx.conn())
            .await?;
        self.commit(tx).await?;
        Ok(Some(Duration::from_micros((now - last).max(0) as u64)))
    }
}
