//! What is known to be at forges, so that what they never told is found.
//!
//! A repository has a row here from when its forge began to tell of it. Looks come round as polls do: one server has each
//! for a while. What a look finds goes into the ledger like a webhook (`deliveries.rs`), under a hook of its own name, which
//! no address has.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use ocelot_model::RepoId;
use sqlx::FromRow;

use super::deliveries::hashed;
use super::{Core, Tx};
use crate::raw::{RepoRow, clean, from_json, maybe_time, time, to_json, us};
use crate::times::{Heads, Known, Pull, Reconciled, Subject, Turn};
use crate::{Repo, StoreError};

#[derive(FromRow)]
struct KnownRow {
    heads: Option<String>,
    pulls: Option<String>,
    pulls_at: Option<i64>,
    pulls_since: Option<String>,
    #[sqlx(flatten)]
    repo: RepoRow,
}

impl Core {
    /// Takes a repository whose look has come round for `time`.
    pub(crate) async fn take_look(&self, time: Duration) -> Result<Option<(Repo, Known, Turn)>, StoreError> {
        let mut tx = self.begin().await?;
        let until = tx.now.saturating_add(us(time));
        let now = tx.now;
        let id: Option<i64> = sqlx::query_scalar(concat!(
            "UPDATE reconciled SET next_at = $1 WHERE repo_id = (
                 SELECT repo_id FROM reconciled WHERE next_at <= $2 ORDER BY next_at, repo_id LIMIT 1",
            skip_locked!(),
            ") RETURNING repo_id"
        ))
        .bind(until)
        .bind(now)
        .fetch_optional(tx.conn())
        .await?;
        let Some(id) = id else { return Ok(None) };
        let row: Option<KnownRow> = sqlx::query_as(concat!(
            "SELECT k.heads, k.pulls, k.pulls_at, k.pulls_since, ",
            repo_columns!(),
            " FROM reconciled k JOIN repos r ON r.id = k.repo_id JOIN forges f ON f.id = r.forge_id
              WHERE k.repo_id = $1 AND NOT r.removing"
        ))
        .bind(id)
        .fetch_optional(tx.conn())
        .await?;
        self.commit(tx).await?;
        let Some(row) = row else { return Ok(None) };
        let known = Known {
            heads: row.heads.as_deref().map(from_json).transpose()?,
            pulls: row.pulls.as_deref().map(from_json).transpose()?.map(pulls),
            pulls_at: maybe_time(row.pulls_at)?,
            pulls_since: row.pulls_since.as_deref().map_or_else(|| Ok(BTreeMap::new()), times)?,
        };
        Ok(Some((row.repo.into_repo()?, known, Turn { id, until })))
    }

    /// The look is over. What is `None` in `known` stays as it was.
    pub(crate) async fn finish_look(
        &self,
        turn: Turn,
        known: &Known,
        outcome: &str,
        every: Duration,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now;
        let json = |heads: Option<&Heads>| heads.map(to_json).transpose();
        let since: BTreeMap<u64, i64> =
            known.pulls_since.iter().map(|(number, at)| (*number, at.as_microsecond())).collect();
        let done = sqlx::query(
            "UPDATE reconciled SET heads = COALESCE($1, heads), pulls = COALESCE($2, pulls),
                    pulls_at = COALESCE($3, pulls_at), outcome = $4, last_at = $5, next_at = $6,
                    pulls_since = COALESCE($9, pulls_since)
             WHERE repo_id = $7 AND next_at = $8",
        )
        .bind(json(known.heads.as_ref())?)
        .bind(json(known.pulls.as_ref().map(words).as_ref())?)
        .bind(known.pulls_at.map(Timestamp::as_microsecond))
        .bind(clean(outcome))
        .bind(now)
        .bind(now.saturating_add(uneven(us(every), now)))
        .bind(turn.id)
        .bind(turn.until)
        .bind(known.pulls.is_some().then(|| to_json(&since)).transpose()?)
        .execute(tx.conn())
        .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Stale);
        }
        self.commit(tx).await
    }

    /// All come round at once: nobody listened for a while.
    pub(crate) async fn look_at_all(&self) -> Result<(), StoreError> {
        let now = self.now().await?;
        sqlx::query("UPDATE reconciled SET next_at = $1 WHERE next_at > $1")
            .bind(now)
            .execute(&self.pools.write)
            .await?;
        Ok(())
    }

    pub(crate) async fn find_reconciled(&self, repo: RepoId) -> Result<Option<Reconciled>, StoreError> {
        let row: Option<(Option<i64>, Option<String>)> =
            sqlx::query_as("SELECT last_at, outcome FROM reconciled WHERE repo_id = $1")
                .bind(repo.0)
                .fetch_optional(&self.pools.read)
                .await?;
        row.map(|(last_at, outcome)| Ok(Reconciled { last_at: maybe_time(last_at)?, outcome })).transpose()
    }

    /// When this commit, of which only the beginning may be known, got a build there or was told of, whatever came of it.
    pub(crate) async fn told_at(
        &self,
        repo: RepoId,
        of: Subject<'_>,
        commit: &str,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (branch, request, subject, target, since) = match of {
            Subject::Branch(name) => (clean(name), 0, format!("refs/heads/{name}"), None, None),
            Subject::PullRequest { number, target, since } => {
                (String::new(), number as i64, format!("pull/{number}"), Some(clean(target)), since)
            }
        };
        // A build of a pull request may be of what it was before, so where the time matters the ledger alone is asked. It
        // forgets what is old.
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT min(t.at) FROM (SELECT b.queued_at AS at FROM builds b
                            WHERE b.repo_id = $1 AND $6
                              AND ((b.branch = $2 AND b.trusted AND $3 = 0) OR b.pull_request = $3)
                              AND substr(b.commit_id, 1, length($4)) = $4
                              AND NOT EXISTS (SELECT 1 FROM delivery_parts t
                                              WHERE t.build = b.number AND t.target <> $7)
                            UNION ALL
                            SELECT received_at FROM delivery_parts
                            WHERE repo_id = $1 AND subject_key = $5 AND after_id <> '' AND received_at >= $8
                              AND (target IS NULL OR target = $7)
                              AND (substr(after_id, 1, length($4)) = $4 OR substr($4, 1, length(after_id)) = after_id)) t",
        )
        .bind(repo.0)
        .bind(branch)
        .bind(request)
        .bind(commit)
        .bind(hashed(&subject))
        .bind(since.is_none())
        .bind(target)
        .bind(since.map_or(i64::MIN, Timestamp::as_microsecond))
        .fetch_one(&self.pools.read)
        .await?;
        maybe_time(found)
    }
}

/// A pull request as it is stored: the commit, and after a space, which no name of a branch has, the target. A version before
/// this one knows the commit alone.
fn pulls(words: BTreeMap<u64, String>) -> BTreeMap<u64, Pull> {
    let pull = |words: String| match words.split_once(' ') {
        Some((commit, target)) => Pull { commit: commit.to_owned(), target: Some(target.to_owned()) },
        None => Pull { commit: words, target: None },
    };
    words.into_iter().map(|(number, words)| (number, pull(words))).collect()
}

fn times(text: &str) -> Result<BTreeMap<u64, Timestamp>, StoreError> {
    let times: BTreeMap<u64, i64> = from_json(text)?;
    times.into_iter().map(|(number, at)| Ok((number, time(at)?))).collect()
}

fn words(pulls: &BTreeMap<u64, Pull>) -> Heads {
    let words = |pull: &Pull| match &pull.target {
        Some(target) => format!("{} {target}", pull.commit),
        None => pull.commit.clone(),
    };
    pulls.iter().map(|(number, pull)| (number.to_string(), words(pull))).collect()
}

/// [`StoreError::Stale`] unless the look that has this turn is under way, and stays so until the transaction ends.
pub(super) async fn still(tx: &mut Tx, turn: Turn) -> Result<(), StoreError> {
    let there: Option<i64> = sqlx::query_scalar(concat!(
        "SELECT repo_id FROM reconciled WHERE repo_id = $1 AND next_at = $2",
        for_update!()
    ))
    .bind(turn.id)
    .bind(turn.until)
    .fetch_optional(tx.conn())
    .await?;
    there.map(drop).ok_or(StoreError::Stale)
}

/// From now on it is looked at whether its forge tells of everything.
pub(super) async fn begin(tx: &mut Tx, repo: RepoId) -> Result<(), StoreError> {
    let now = tx.now;
    sqlx::query("INSERT INTO reconciled (repo_id, next_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(repo.0)
        .bind(now)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// A time up to a tenth longer or shorter, so that not all repositories of a forge are asked for at once.
fn uneven(time: i64, seed: i64) -> i64 {
    time + time / 1_000 * (seed.rem_euclid(201) - 100)
}

#[cfg(test)]
mod tests {
    use super::uneven;

    #[test]
    fn looks_are_spread() {
        let times: Vec<i64> = (0..201).map(|seed| uneven(1_000, seed)).collect();
        assert_eq!((times.iter().min(), times.iter().max()), (Some(&900), Some(&1_100)));
    }
}
