//! Whether the database takes anything. Asked by everyone who watches a server, so the answer is kept for a moment.

use std::time::{Duration, Instant};

use super::super::{now, probe_logs};
use super::{Core, Db};
use crate::NotReady;

/// How long an answer is as good as a new one.
const FRESH: Duration = Duration::from_secs(1);
/// Whoever asks wants to know now; what takes longer is not ready.
const LIMIT: Duration = Duration::from_secs(5);

/// When it was last asked, and what came back.
pub(super) type Checked = Option<(Instant, Result<(), NotReady>)>;

impl Core {
    pub(crate) async fn check_ready(&self) -> Result<(), NotReady> {
        let mut checked = self.checked.lock().await;
        if let Some((at, answer)) = &*checked
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = tokio::time::timeout(LIMIT, self.try_writing())
            .await
            .unwrap_or_else(|_| Err(NotReady::database(None)));
        *checked = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Reading says nothing about a full disk or a database that became read only.
    async fn try_writing(&self) -> Result<(), NotReady> {
        write(&self.pools.write).await.map_err(|error| NotReady::database(Some(&error)))?;
        probe_logs(&self.pools.write_logs).await.map_err(|error| NotReady::logs(&error))
    }
}

async fn write(pool: &sqlx::Pool<Db>) -> Result<(), sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let now = now(&mut conn).await?;
    sqlx::query(
        "INSERT INTO settings (key, value) VALUES ('ready', $1)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(now.to_string())
    .execute(&mut *conn)
    .await
    .map(drop)
}
