//! A build passed, and builds of other repositories follow it.
//!
//! What is owed is written down in the transaction that makes the build passed, and is gone in the one that makes the build
//! which follows: so there is one, whoever dies in between.
//!
//! Builds of one branch pass in any order, and old ones are done again. What waits goes on to a newer commit only.

use std::collections::BTreeMap;
use std::time::Duration;

use ocelot_model::subscription::MAX_DEPTH;
use ocelot_model::{BuildNumber, Status};
use sqlx::FromRow;

use super::subscriptions::acct_repo;
use super::{Core, Tx};
use crate::raw::{RepoRow, clean, from_json, us};
use crate::{Joined, Pass, PassTurn, StoreError};

/// How new the commit of a build is on its branch: the newest build of it that the branch itself brought. A commit that only
/// people asked for is as new as the first time they did. So one that is done again gets no newer by that, and a branch that
/// was set back to an older commit is there.
macro_rules! newness {
    ($build:literal) => {
        concat!(
            "coalesce((SELECT coalesce(max(CASE WHEN o.event IN ('push', 'poll', 'schedule', 'subscription') THEN o.number END),
                                       min(o.number))
                       FROM builds own JOIN builds o ON o.repo_id = own.repo_id AND o.branch = own.branch AND o.of_branch
                       WHERE own.number = ",
            $build,
            " AND o.number IN (SELECT number FROM builds WHERE commit_id = own.commit_id)), 0)"
        )
    };
}

#[derive(FromRow)]
struct PassedRow {
    branch: String,
    of_branch: bool,
    status: String,
    forge: String,
    owner: String,
    name: String,
}

/// Writes down which builds are to follow this one, if it has passed and is what a branch holds.
pub(super) async fn note(tx: &mut Tx, build: BuildNumber) -> Result<(), StoreError> {
    let passed: PassedRow = sqlx::query_as(
        "SELECT b.branch, b.of_branch, b.status, f.name AS forge, r.owner, r.name
         FROM builds b JOIN repos r ON r.id = b.repo_id JOIN forges f ON f.id = r.forge_id WHERE b.number = $1",
    )
    .bind(build.0)
    .fetch_one(tx.conn())
    .await?;
    if !passed.of_branch || passed.status != Status::Passed.as_str() {
        return Ok(());
    }
    let followers: Vec<(i64, String)> = sqlx::query_as(
        "SELECT id, branch_queue_map FROM active_subscriptions
         WHERE subscribed_to_forge = $1 AND subscribed_to_acct_repo = $2 AND refused IS NULL ORDER BY id",
    )
    .bind(&passed.forge)
    .bind(acct_repo(&passed.owner, &passed.name))
    .fetch_all(tx.conn())
    .await?;
    if followers.is_empty() {
        return Ok(());
    }
    let deep = depth(tx, build).await? >= MAX_DEPTH as i64;
    for (id, map) in followers {
        let map: BTreeMap<String, String> = from_json(&map)?;
        if !map.contains_key(&passed.branch) {
            continue;
        }
        if deep {
            // Builds that are on their way go on while blocks change, each of which is fine by itself.
            let words = format!("nothing: build {build} is the end of a chain of {MAX_DEPTH} builds already");
            say(tx, id, &words).await?;
        } else {
            owe(tx, id, &passed.branch, build).await?;
        }
    }
    Ok(())
}

/// How many builds this one follows, by way of others.
async fn depth(tx: &mut Tx, build: BuildNumber) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(
        "WITH RECURSIVE chain (build, depth) AS (
             SELECT CAST($1 AS BIGINT), CAST(0 AS BIGINT)
             UNION ALL
             SELECT d.upstream_build, c.depth + 1 FROM chain c JOIN subscription_data d ON d.build = c.build
             WHERE c.depth < $2
         ) SELECT max(depth) FROM chain",
    )
    .bind(build.0)
    .bind(MAX_DEPTH as i64)
    .fetch_one(tx.conn())
    .await?)
}

async fn owe(tx: &mut Tx, subscription: i64, branch: &str, build: BuildNumber) -> Result<(), StoreError> {
    let now = tx.now;
    sqlx::query(concat!(
        "INSERT INTO subscription_passes (subscription_id, upstream_branch, upstream_build, next_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (subscription_id, upstream_branch) DO UPDATE
         SET upstream_build = excluded.upstream_build
         WHERE (",
        newness!("subscription_passes.upstream_build"),
        ", subscription_passes.upstream_build) < (",
        newness!("excluded.upstream_build"),
        ", excluded.upstream_build)"
    ))
    .bind(subscription)
    .bind(branch)
    .bind(build.0)
    .bind(now)
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn say(tx: &mut Tx, subscription: i64, outcome: &str) -> Result<(), StoreError> {
    let now = tx.now;
    sqlx::query("UPDATE active_subscriptions SET last_at = $1, outcome = $2 WHERE id = $3")
        .bind(now)
        .bind(clean(outcome))
        .bind(subscription)
        .execute(tx.conn())
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct PassRow {
    alias: String,
    branch_queue_map: String,
    refused: bool,
    upstream_branch: String,
    upstream_build: i64,
    tries: i64,
    #[sqlx(flatten)]
    repo: RepoRow,
}

impl Core {
    pub(crate) async fn take_pass(&self, time: Duration) -> Result<Option<(Pass, PassTurn)>, StoreError> {
        loop {
            let mut tx = self.begin().await?;
            let now = tx.now;
            let due: Option<i64> = sqlx::query_scalar(concat!(
                "SELECT id FROM subscription_passes WHERE next_at <= $1 ORDER BY next_at, id LIMIT 1",
                skip_locked!()
            ))
            .bind(now)
            .fetch_optional(tx.conn())
            .await?;
            let Some(id) = due else { return Ok(None) };
            let row: PassRow = sqlx::query_as(concat!(
                "SELECT s.alias, s.branch_queue_map, s.refused IS NOT NULL OR r.removing AS refused, p.upstream_branch,
                        p.upstream_build, p.tries, ",
                repo_columns!(),
                " FROM subscription_passes p JOIN active_subscriptions s ON s.id = p.subscription_id
                  JOIN repos r ON r.id = s.repo_id JOIN forges f ON f.id = r.forge_id WHERE p.id = $1"
            ))
            .bind(id)
            .fetch_one(tx.conn())
            .await?;
            let mut map: BTreeMap<String, String> = from_json(&row.branch_queue_map)?;
            let Some(branch) = map.remove(&row.upstream_branch).filter(|_| !row.refused) else {
                // The file wants it no more.
                forget(&mut tx, id).await?;
                self.commit(tx).await?;
                continue;
            };
            let turn = PassTurn { id, tries: row.tries + 1 };
            sqlx::query("UPDATE subscription_passes SET next_at = $1, tries = $2 WHERE id = $3")
                .bind(now.saturating_add(us(time)))
                .bind(turn.tries)
                .bind(id)
                .execute(tx.conn())
                .await?;
            self.commit(tx).await?;
            let pass = Pass {
                repo: row.repo.into_repo()?,
                alias: row.alias,
                branch,
                upstream: BuildNumber(row.upstream_build),
                tries: row.tries as u32,
            };
            return Ok(Some((pass, turn)));
        }
    }

    pub(crate) async fn keep_pass(&self, turn: PassTurn, time: Duration) -> Result<(), StoreError> {
        let now = self.now().await?;
        let kept = sqlx::query("UPDATE subscription_passes SET next_at = $1 WHERE id = $2 AND tries = $3")
            .bind(now.saturating_add(us(time)))
            .bind(turn.id)
            .bind(turn.tries)
            .execute(&self.pools.write)
            .await?;
        if kept.rows_affected() == 0 { Err(StoreError::Stale) } else { Ok(()) }
    }

    /// Lets a build that has not begun and is of this commit follow the newer one. One that follows a newer commit already
    /// stays as it is.
    pub(crate) async fn join_pass(
        &self,
        turn: PassTurn,
        branch: &str,
        commit: &str,
    ) -> Result<Joined, StoreError> {
        let mut tx = self.begin().await?;
        let owed = load(&mut tx, turn).await?;
        let waiting: Vec<Waiting> = sqlx::query_as(concat!(
            "SELECT b.number, b.commit_id, (",
            newness!("d.upstream_build"),
            ", d.upstream_build) > (",
            newness!("$4"),
            ", $4) AS is_newer
             FROM builds b JOIN subscription_data d ON d.build = b.number
             WHERE d.subscription_id = $1 AND d.upstream_branch = $2
               AND b.status IN ('blocked', 'queued') AND b.started_at IS NULL AND b.cancel_requested_at IS NULL
               AND b.event = 'subscription' AND b.branch = $3
             ORDER BY b.number DESC",
            for_no_key_update_of_build!()
        ))
        .bind(owed.subscription_id)
        .bind(&owed.upstream_branch)
        .bind(clean(branch))
        .bind(owed.upstream_build)
        .fetch_all(tx.conn())
        .await?;
        let number = if let Some(ahead) = waiting.iter().find(|one| one.is_newer) {
            let number = BuildNumber(ahead.number);
            let words = format!(
                "build {number}, which has not begun yet and follows something newer than build {}",
                owed.upstream_build
            );
            say(&mut tx, owed.subscription_id, &words).await?;
            number
        } else if let Some(same) = waiting.iter().find(|one| one.commit_id == commit) {
            let number = BuildNumber(same.number);
            sqlx::query("DELETE FROM subscription_data WHERE build = $1")
                .bind(number.0)
                .execute(tx.conn())
                .await?;
            tie(&mut tx, &owed, number).await?;
            say(&mut tx, owed.subscription_id, &format!("build {number}, which had not begun yet")).await?;
            number
        } else {
            return Ok(Joined::Outdated(waiting.iter().map(|one| BuildNumber(one.number)).collect()));
        };
        forget(&mut tx, turn.id).await?;
        self.commit(tx).await?;
        Ok(Joined::Taken(number))
    }

    /// Says what came of it without a build. `again`: it is tried again after this time; else it is done with.
    pub(crate) async fn settle_pass(
        &self,
        turn: PassTurn,
        outcome: &str,
        again: Option<Duration>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let owed = load(&mut tx, turn).await?;
        let now = tx.now;
        match again {
            Some(after) => {
                sqlx::query("UPDATE subscription_passes SET next_at = $1 WHERE id = $2")
                    .bind(now + us(after))
                    .bind(turn.id)
                    .execute(tx.conn())
                    .await?;
            }
            None => forget(&mut tx, turn.id).await?,
        }
        say(&mut tx, owed.subscription_id, outcome).await?;
        self.commit(tx).await
    }
}

/// The build that follows is there; [`StoreError::Stale`] when the turn is another server's by now.
pub(super) async fn settle(tx: &mut Tx, turn: PassTurn, build: BuildNumber) -> Result<(), StoreError> {
    let owed = load(tx, turn).await?;
    tie(tx, &owed, build).await?;
    forget(tx, turn.id).await?;
    say(tx, owed.subscription_id, &format!("build {build}")).await
}

/// A build that does another one again follows what that one follows.
pub(super) async fn follow_again(tx: &mut Tx, build: BuildNumber, of: BuildNumber) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO subscription_data (build, subscription_id, alias, upstream_build, upstream_repo_id, upstream_branch,
                                        upstream_commit)
         SELECT $1, subscription_id, alias, upstream_build, upstream_repo_id, upstream_branch, upstream_commit
         FROM subscription_data WHERE build = $2",
    )
    .bind(build.0)
    .bind(of.0)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A build that follows an earlier one and has not begun.
#[derive(FromRow)]
struct Waiting {
    number: i64,
    commit_id: String,
    /// What it follows is newer than what passed now.
    is_newer: bool,
}

#[derive(FromRow)]
struct Owed {
    subscription_id: i64,
    upstream_branch: String,
    upstream_build: i64,
}

async fn load(tx: &mut Tx, turn: PassTurn) -> Result<Owed, StoreError> {
    let owed: Option<Owed> = sqlx::query_as(concat!(
        "SELECT subscription_id, upstream_branch, upstream_build FROM subscription_passes WHERE id = $1 AND tries = $2",
        for_update!()
    ))
    .bind(turn.id)
    .bind(turn.tries)
    .fetch_optional(tx.conn())
    .await?;
    owed.ok_or(StoreError::Stale)
}

async fn tie(tx: &mut Tx, owed: &Owed, build: BuildNumber) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO subscription_data (build, subscription_id, alias, upstream_build, upstream_repo_id, upstream_branch,
                                        upstream_commit)
         SELECT $1, s.id, s.alias, b.number, b.repo_id, b.branch, b.commit_id
         FROM active_subscriptions s, builds b WHERE s.id = $2 AND b.number = $3",
    )
    .bind(build.0)
    .bind(owed.subscription_id)
    .bind(owed.upstream_build)
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn forget(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM subscription_passes WHERE id = $1").bind(id).execute(tx.conn()).await?;
    Ok(())
}
