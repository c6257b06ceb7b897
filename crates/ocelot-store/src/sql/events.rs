//! The ordered history of changes.

use ocelot_model::{BuildNumber, RepoId};

use super::{Conn, Core};
use crate::raw::{from_json, to_json};
use crate::{Event, EventBody, StoreError};

/// At most this many in one answer.
const LIMIT: u32 = 10_000;

impl Core {
    pub(crate) async fn events_after(
        &self,
        seq: i64,
        build: Option<BuildNumber>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let limit = i64::from(limit.min(LIMIT));
        let all = "SELECT seq, build, repo_id, body FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
        let one = "SELECT seq, build, repo_id, body FROM events WHERE seq > $1 AND build = $3
                   ORDER BY seq LIMIT $2";
        let query = sqlx::query_as(if build.is_some() { one } else { all }).bind(seq).bind(limit);
        let query = if let Some(number) = build { query.bind(number.0) } else { query };
        let rows: Vec<(i64, i64, i64, String)> = query.fetch_all(&self.pools.read).await?;
        rows.into_iter()
            .map(|(seq, build, repo, body)| {
                Ok(Event { seq, build: BuildNumber(build), repo: RepoId(repo), what: from_json(&body)? })
            })
            .collect()
    }

    pub(crate) async fn last_event(&self) -> Result<i64, StoreError> {
        let last: Option<i64> =
            sqlx::query_scalar("SELECT max(seq) FROM events").fetch_one(&self.pools.read).await?;
        Ok(last.unwrap_or(0))
    }
}

/// Writes events in this order, and tells other servers of them by `prefix` with the last one's number behind it;
/// answers that number.
pub(super) async fn insert(
    conn: &mut Conn,
    events: &[(BuildNumber, RepoId, EventBody)],
    prefix: &str,
) -> Result<i64, StoreError> {
    let rows = events.iter().map(|(build, repo, what)| Ok((build.0, repo.0, to_json(what)?)));
    let rows = rows.collect::<Result<Vec<_>, StoreError>>()?;
    let numbers: Vec<i64> =
        sqlx::query_scalar(insert_events!()).bind(to_json(&rows)?).bind(prefix).fetch_all(conn).await?;
    numbers
        .into_iter()
        .max()
        .ok_or_else(|| StoreError::Corrupt("events were written and have no number".into()))
}
