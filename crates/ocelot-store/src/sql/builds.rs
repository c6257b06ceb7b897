//! Lists of builds.

use sqlx::QueryBuilder;

use super::{Core, Db};
use crate::raw::{BuildRow, clean};
use crate::{Build, BuildFilter, StoreError};

/// At most this many in one answer.
const LIMIT: u32 = 1000;

impl Core {
    pub(crate) async fn list_builds(
        &self,
        filter: &BuildFilter,
        limit: u32,
    ) -> Result<Vec<Build>, StoreError> {
        let mut sql = QueryBuilder::<Db>::new(concat!(
            "SELECT ",
            build_columns!(),
            " FROM ",
            build_tables!(),
            " WHERE NOT r.removing"
        ));
        push_exact(&mut sql, filter);
        push_ranges(&mut sql, filter);
        push_text(&mut sql, filter);
        sql.push(" ORDER BY b.number DESC LIMIT ").push_bind(i64::from(limit.min(LIMIT)));
        let rows: Vec<BuildRow> = sql.build_query_as().fetch_all(&self.pools.read).await?;
        rows.into_iter().map(BuildRow::into_build).collect()
    }
}

fn push_exact(sql: &mut QueryBuilder<Db>, filter: &BuildFilter) {
    if let Some(repo) = filter.repo {
        sql.push(" AND b.repo_id = ").push_bind(repo.0);
    }
    if let Some(readable) = &filter.readable {
        // Numbers need no binding, and there may be more of them than a statement takes.
        sql.push(" AND b.repo_id IN (-1");
        for id in readable {
            sql.push(", ").push(id.0);
        }
        sql.push(")");
    }
    if let Some(branch) = &filter.branch {
        sql.push(" AND b.branch = ").push_bind(clean(branch));
    }
    if let Some(status) = filter.status {
        sql.push(" AND b.status = ").push_bind(status.as_str());
    }
    if let Some(event) = filter.event {
        sql.push(" AND b.event = ").push_bind(event.as_str());
    }
    if let Some(trusted) = filter.trusted {
        sql.push(" AND b.trusted = ").push_bind(trusted);
    }
    if let Some(worker) = &filter.worker {
        sql.push(" AND EXISTS (SELECT 1 FROM attempts a WHERE a.build = b.number AND a.worker = ")
            .push_bind(clean(worker))
            .push(")");
    }
}

fn push_ranges(sql: &mut QueryBuilder<Db>, filter: &BuildFilter) {
    if let Some(prefix) = &filter.commit {
        let from = clean(prefix).to_ascii_lowercase();
        // `g` comes after every hex digit.
        let to = format!("{from}g");
        sql.push(" AND b.commit_id >= ").push_bind(from).push(" AND b.commit_id < ").push_bind(to);
    }
    if let Some(since) = filter.since {
        sql.push(" AND b.queued_at >= ").push_bind(since.as_microsecond());
    }
    if let Some(until) = filter.until {
        sql.push(" AND b.queued_at < ").push_bind(until.as_microsecond());
    }
    if let Some(before) = filter.before {
        sql.push(" AND b.number < ").push_bind(before.0);
    }
}

fn push_text(sql: &mut QueryBuilder<Db>, filter: &BuildFilter) {
    let Some(text) = &filter.text else { return };
    let escaped = clean(text).replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let pattern = format!("%{escaped}%");
    let columns = ["b.message", "b.author", "b.branch", "b.commit_id"];
    for (column, before) in
        columns.into_iter().zip([" AND (lower(", " OR lower(", " OR lower(", " OR lower("])
    {
        sql.push(before).push(column).push(") LIKE lower(").push_bind(pattern.clone()).push(") ESCAPE '\\'");
    }
    sql.push(")");
}
