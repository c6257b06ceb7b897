//! Answers from the tallies.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use ocelot_model::bucket::cover;
use ocelot_model::tally::Tally;
use ocelot_model::{Bucket, RepoId};
use sqlx::QueryBuilder;

use super::tallies::add;
use super::{Core, Db};
use crate::{Apart, Counted, Part, Parts, Periods, StoreError};

/// Branches, jobs or stages that are looked at for one answer.
const PARTS: usize = 1000;

impl Core {
    pub(crate) async fn count_by_period(
        &self,
        what: &Counted,
        periods: Periods,
    ) -> Result<BTreeMap<i64, Tally>, StoreError> {
        // Branches have no weeks of their own.
        let days = periods.bucket == Bucket::Week && what.branch.is_some();
        let day = |week| Bucket::Day.of(Bucket::Week.begin(week));
        let stored = if days {
            Periods { bucket: Bucket::Day, from: day(periods.from), to: day(periods.to) }
        } else {
            periods
        };
        let mut sql = QueryBuilder::<Db>::new(
            "SELECT t.period, t.tally FROM series s JOIN tallies t ON t.series_id = s.id WHERE ",
        );
        push_repos(&mut sql, what);
        push_name(&mut sql, "s.branch", what.branch.as_ref());
        push_name(&mut sql, "s.job", what.job.as_ref());
        push_name(&mut sql, "s.stage", what.stage.as_ref());
        sql.push(" AND ");
        push_periods(&mut sql, stored);
        let mut sums: BTreeMap<i64, Tally> = BTreeMap::new();
        let mut rows = sql.build_query_as::<(i64, Vec<u8>)>().persistent(false).fetch(&self.pools.read);
        while let Some((period, tally)) = rows.try_next().await? {
            let period = if days { Bucket::Week.of(Bucket::Day.begin(period)) } else { period };
            add(sums.entry(period).or_default(), &tally)?;
        }
        Ok(sums)
    }

    pub(crate) async fn count_apart(
        &self,
        what: &Counted,
        apart: Apart,
        from_day: i64,
        to_day: i64,
    ) -> Result<Parts, StoreError> {
        let known = self.series_apart(what, apart, from_day, to_day).await?;
        let mut parts: BTreeMap<i64, Part> = BTreeMap::new();
        for (id, repo, branch, job, stage) in known {
            parts.insert(id, Part { repo: RepoId(repo), branch, job, stage, tally: Tally::default() });
        }
        if parts.is_empty() {
            return Ok(Parts { more: false, parts: Vec::new() });
        }
        let of_branch = apart == Apart::Branch || what.branch.is_some();
        let periods = if of_branch { vec![(Bucket::Day, from_day, to_day)] } else { cover(from_day, to_day) };
        // One after the other, since with an OR PostgreSQL would read all hours of the year, too.
        for (bucket, from, to) in periods {
            let mut sql = QueryBuilder::<Db>::new(
                "SELECT t.series_id, t.tally FROM tallies t WHERE t.series_id IN (-1",
            );
            for id in parts.keys() {
                sql.push(", ").push(id);
            }
            sql.push(") AND ");
            push_periods(&mut sql, Periods { bucket, from, to });
            let mut rows = sql.build_query_as::<(i64, Vec<u8>)>().persistent(false).fetch(&self.pools.read);
            while let Some((id, tally)) = rows.try_next().await? {
                if let Some(part) = parts.get_mut(&id) {
                    add(&mut part.tally, &tally)?;
                }
            }
        }
        Ok(Parts { more: parts.len() > PARTS, parts: parts.into_values().collect() })
    }

    /// Those that have something to tell of these days, the newest first: number, repository, branch, job and stage.
    async fn series_apart(
        &self,
        what: &Counted,
        apart: Apart,
        from_day: i64,
        to_day: i64,
    ) -> Result<Vec<(i64, i64, String, String, String)>, StoreError> {
        let mut sql = QueryBuilder::<Db>::new(
            "SELECT id, repo_id, branch, job, stage FROM (SELECT s.id, s.repo_id, s.branch, s.job, s.stage,
                 (SELECT max(d.period) FROM tallies d WHERE d.series_id = s.id AND d.hours = 24 AND d.period < ",
        );
        sql.push_bind(to_day).push(") AS last FROM series s WHERE s.repo_id > 0");
        if what.repos.is_some() {
            sql.push(" AND ");
            push_repos(&mut sql, what);
        }
        if apart == Apart::Branch {
            sql.push(" AND s.branch <> ''");
        } else {
            push_name(&mut sql, "s.branch", what.branch.as_ref());
        }
        match (apart, &what.job) {
            (Apart::Job | Apart::Stage, None) => drop(sql.push(" AND s.job <> ''")),
            (_, job) => push_name(&mut sql, "s.job", job.as_ref()),
        }
        if apart == Apart::Stage {
            sql.push(" AND s.stage <> ''");
        } else {
            push_name(&mut sql, "s.stage", what.stage.as_ref());
        }
        sql.push(") AS known WHERE last >= ").push_bind(from_day);
        sql.push(" ORDER BY last DESC, id LIMIT ").push_bind(PARTS as i64 + 1);
        Ok(sql.build_query_as().persistent(false).fetch_all(&self.pools.read).await?)
    }
}

/// Numbers need no binding, and there may be more of them than a statement takes.
fn push_repos(sql: &mut QueryBuilder<Db>, what: &Counted) {
    match &what.repos {
        None => drop(sql.push("s.repo_id = 0")),
        Some(repos) => {
            sql.push("s.repo_id IN (-1");
            for repo in repos {
                sql.push(", ").push(repo.0);
            }
            sql.push(")");
        }
    }
}

fn push_name(sql: &mut QueryBuilder<Db>, column: &str, name: Option<&String>) {
    let name = name.map(|name| crate::raw::clean(name)).unwrap_or_default();
    sql.push(" AND ").push(column).push(" = ").push_bind(name);
}

fn push_periods(sql: &mut QueryBuilder<Db>, periods: Periods) {
    let Periods { bucket, from, to } = periods;
    sql.push("t.hours = ").push_bind(bucket.hours());
    sql.push(" AND t.period >= ").push_bind(from).push(" AND t.period < ").push_bind(to);
}
