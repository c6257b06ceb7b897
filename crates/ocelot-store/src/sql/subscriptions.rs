//! Which repository is built after which other one, and which build follows which.

use std::collections::BTreeMap;

use ocelot_model::subscription::{self, Refused};
use ocelot_model::{BuildNumber, RepoId, pipeline};
use sqlx::FromRow;

use super::{Conn, Core, Tx, notices, schedules};
use crate::raw::{RepoRow, clean, from_json, maybe_time, read, to_json};
use crate::{Beside, Downstream, Seen, StoreError, Subscription, Upstream};

/// Most builds that are shown as following one.
const MOST_SHOWN: i64 = 100;
/// Whoever changes who is built after whom does so alone.
const LOCK: &str = "subscriptions";

#[derive(FromRow)]
struct SubscriptionRow {
    id: i64,
    alias: String,
    subscribed_to_forge: String,
    subscribed_to_acct_repo: String,
    branch_queue_map: String,
    refused: Option<String>,
    stored_by: i64,
    last_at: Option<i64>,
    outcome: Option<String>,
    #[sqlx(flatten)]
    repo: RepoRow,
}

impl SubscriptionRow {
    fn into_subscription(self) -> Result<Subscription, StoreError> {
        Ok(Subscription {
            id: self.id,
            repo: self.repo.into_repo()?,
            alias: self.alias,
            upstream: format!("{}/{}", self.subscribed_to_forge, self.subscribed_to_acct_repo),
            branches: from_json(&self.branch_queue_map)?,
            refused: self.refused.as_deref().map(from_json).transpose()?,
            stored_by: BuildNumber(self.stored_by),
            last_at: maybe_time(self.last_at)?,
            outcome: self.outcome,
        })
    }
}

#[derive(FromRow)]
struct UpstreamRow {
    build: i64,
    alias: String,
    upstream_build: i64,
    removed: bool,
    upstream_repo_id: i64,
    upstream_branch: String,
    upstream_commit: String,
}

#[derive(FromRow)]
struct DownstreamRow {
    build: i64,
    branch: String,
    status: String,
    #[sqlx(flatten)]
    repo: RepoRow,
}

impl Core {
    pub(crate) async fn list_subscriptions(&self) -> Result<Vec<Subscription>, StoreError> {
        let rows: Vec<SubscriptionRow> = sqlx::query_as(concat!(
            "SELECT s.id, s.alias, s.subscribed_to_forge, s.subscribed_to_acct_repo, s.branch_queue_map, s.refused,
                    s.stored_by, s.last_at, s.outcome, ",
            repo_columns!(),
            " FROM active_subscriptions s JOIN repos r ON r.id = s.repo_id JOIN forges f ON f.id = r.forge_id
              WHERE NOT r.removing ORDER BY s.repo_id, s.id"
        ))
        .fetch_all(&self.pools.read)
        .await?;
        rows.into_iter().map(SubscriptionRow::into_subscription).collect()
    }

    pub(crate) async fn beside(&self, repo: RepoId) -> Result<Seen, StoreError> {
        let row: Option<(i64, i64, bool)> = sqlx::query_as(
            "SELECT file_builds, file_changes,
                    NOT EXISTS (SELECT 1 FROM schedules s WHERE s.repo_id = r.id AND s.from_file)
                    AND NOT EXISTS (SELECT 1 FROM active_subscriptions s WHERE s.repo_id = r.id)
                    AND r.notify = '[]'
             FROM repos r WHERE id = $1",
        )
        .bind(repo.0)
        .fetch_optional(&self.pools.read)
        .await?;
        let (builds, changes, nothing) = row.ok_or_else(|| super::repos::missing(repo))?;
        Ok(Seen { builds, changes, nothing })
    }

    pub(crate) async fn upstreams_of(
        &self,
        builds: &[BuildNumber],
    ) -> Result<BTreeMap<BuildNumber, Upstream>, StoreError> {
        let numbers: Vec<i64> = builds.iter().map(|build| build.0).collect();
        let rows: Vec<UpstreamRow> = sqlx::query_as(concat!(
            "SELECT build, alias, upstream_build, upstream_repo_id, upstream_branch, upstream_commit,
                    NOT EXISTS (SELECT 1 FROM builds b WHERE b.number = d.upstream_build) AS removed
             FROM subscription_data d WHERE build IN ",
            ids!("$1")
        ))
        .bind(to_json(&numbers)?)
        .fetch_all(&self.pools.read)
        .await?;
        let upstream = |row: UpstreamRow| {
            let of = Upstream {
                build: BuildNumber(row.upstream_build),
                removed: row.removed,
                repo: RepoId(row.upstream_repo_id),
                alias: row.alias,
                branch: row.upstream_branch,
                commit: row.upstream_commit,
            };
            (BuildNumber(row.build), of)
        };
        Ok(rows.into_iter().map(upstream).collect())
    }

    pub(crate) async fn downstream_of(&self, build: BuildNumber) -> Result<Vec<Downstream>, StoreError> {
        let rows: Vec<DownstreamRow> = sqlx::query_as(concat!(
            "SELECT b.number AS build, b.branch, b.status, ",
            repo_columns!(),
            " FROM subscription_data d JOIN builds b ON b.number = d.build
              JOIN repos r ON r.id = b.repo_id JOIN forges f ON f.id = r.forge_id
              WHERE d.upstream_build = $1 AND NOT r.removing ORDER BY b.number DESC LIMIT $2"
        ))
        .bind(build.0)
        .bind(MOST_SHOWN)
        .fetch_all(&self.pools.read)
        .await?;
        let downstream = |row: DownstreamRow| {
            Ok(Downstream {
                build: BuildNumber(row.build),
                repo: row.repo.into_repo()?,
                branch: row.branch,
                status: read(&row.status)?,
            })
        };
        rows.into_iter().map(downstream).collect()
    }
}

/// What the file says takes the place of what there is, unless another build of the default branch came in between.
pub(super) async fn take(
    tx: &mut Tx,
    repo: RepoId,
    beside: &Beside,
    build: BuildNumber,
) -> Result<(), StoreError> {
    // Builds beside which nothing stands may come at the same time as others of their kind.
    let (sql, seen) = match beside.file {
        Some(_) => (
            "UPDATE repos SET file_builds = file_builds + 1, file_changes = file_changes + 1
             WHERE id = $1 AND file_builds = $2",
            beside.seen.builds,
        ),
        None => (
            "UPDATE repos SET file_builds = file_builds + 1 WHERE id = $1 AND file_changes = $2",
            beside.seen.changes,
        ),
    };
    let written = sqlx::query(sql).bind(repo.0).bind(seen).execute(tx.conn()).await?;
    if written.rows_affected() == 0 {
        return Err(StoreError::Overtaken);
    }
    if let Some(file) = &beside.file {
        schedules::replace(tx, repo, &file.schedules).await?;
        notices::replace(tx, repo, &file.notify).await?;
        replace(tx, repo, &file.subscriptions, build).await?;
    }
    Ok(())
}

/// Makes the subscriptions of the file those of the repository. One of the same alias and upstream stays the same one.
async fn replace(
    tx: &mut Tx,
    repo: RepoId,
    wanted: &[pipeline::Subscription],
    build: BuildNumber,
) -> Result<(), StoreError> {
    let some: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM active_subscriptions WHERE repo_id = $1)")
            .bind(repo.0)
            .fetch_one(tx.conn())
            .await?;
    if wanted.is_empty() && !some {
        return Ok(());
    }
    // Two that are stored at the same time could each be fine and go round together.
    tx.one_after_the_other(LOCK).await?;
    let own: (String, String, String) = sqlx::query_as(
        "SELECT f.name, r.owner, r.name FROM repos r JOIN forges f ON f.id = r.forge_id WHERE r.id = $1",
    )
    .bind(repo.0)
    .fetch_one(tx.conn())
    .await?;
    let forges: Vec<(String, String)> =
        sqlx::query_as("SELECT name, kind FROM forges ORDER BY name").fetch_all(tx.conn()).await?;
    let handle = format!("{}/{}", own.0, acct_repo(&own.1, &own.2));
    let others =
        edges(tx.conn()).await?.into_iter().filter(|edge| edge.repo != repo && edge.refused.is_none());
    let mut edges: Vec<_> = others.map(Edge::ends).collect();
    let wanted: Vec<_> = wanted.iter().map(|one| (one, upstream(one, &own.0, &forges))).collect();
    drop_others(tx, repo, &wanted).await?;
    for (one, (forge, name)) in wanted {
        let other = format!("{forge}/{name}");
        let refused = subscription::check(&edges, &handle, &other).err();
        if refused.is_none() {
            edges.push((handle.clone(), other));
        }
        put(tx, repo, one, (&forge, &name), refused.as_ref(), build).await?;
    }
    look_again(tx).await
}

/// A repository has another name, by which others may have followed it already. Its own subscriptions are not in force where
/// that closes a circle or makes a chain too long: whatever is new goes by way of one of them.
pub(super) async fn renamed(tx: &mut Tx, repo: RepoId) -> Result<(), StoreError> {
    tx.one_after_the_other(LOCK).await?;
    let fine = edges(tx.conn()).await?.into_iter().filter(|edge| edge.refused.is_none());
    let (own, others): (Vec<Edge>, Vec<Edge>) = fine.partition(|edge| edge.repo == repo);
    let mut edges: Vec<_> = others.into_iter().map(Edge::ends).collect();
    for edge in own {
        match subscription::check(&edges, &edge.follower, &edge.followed) {
            Ok(()) => edges.push(edge.ends()),
            Err(why) => refuse(tx, edge.id, &why).await?,
        }
    }
    look_again(tx).await
}

async fn refuse(tx: &mut Tx, id: i64, why: &Refused) -> Result<(), StoreError> {
    sqlx::query("UPDATE active_subscriptions SET refused = $1 WHERE id = $2")
        .bind(to_json(why)?)
        .bind(id)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// What was refused comes into force as soon as what stood in its way is gone, the oldest first; else it says what stands
/// there now.
pub(super) async fn look_again(tx: &mut Tx) -> Result<(), StoreError> {
    tx.one_after_the_other(LOCK).await?;
    let (refused, fine): (Vec<Edge>, Vec<Edge>) =
        edges(tx.conn()).await?.into_iter().partition(|edge| edge.refused.is_some());
    let mut edges: Vec<_> = fine.into_iter().map(Edge::ends).collect();
    for edge in refused {
        let Some(why) = subscription::check(&edges, &edge.follower, &edge.followed).err() else {
            let now = tx.now;
            sqlx::query(
                "UPDATE active_subscriptions SET refused = NULL, last_at = $1, outcome = $2 WHERE id = $3",
            )
            .bind(now)
            .bind("in force now: what stood in its way is gone")
            .bind(edge.id)
            .execute(tx.conn())
            .await?;
            edges.push(edge.ends());
            continue;
        };
        if edge.refused.as_ref() != Some(&why) {
            refuse(tx, edge.id, &why).await?;
        }
    }
    Ok(())
}

/// Takes away what is not wanted any more. The same alias for another upstream is another subscription: what the old one
/// owes is not owed any more.
async fn drop_others(
    tx: &mut Tx,
    repo: RepoId,
    wanted: &[(&pipeline::Subscription, (String, String))],
) -> Result<(), StoreError> {
    let there: Vec<(i64, String, String, String)> = sqlx::query_as(
        "SELECT id, alias, subscribed_to_forge, subscribed_to_acct_repo FROM active_subscriptions
         WHERE repo_id = $1 ORDER BY id",
    )
    .bind(repo.0)
    .fetch_all(tx.conn())
    .await?;
    for (id, alias, forge, name) in there {
        let stays = wanted.iter().any(|(one, of)| one.alias == alias && of.0 == forge && of.1 == name);
        if !stays {
            sqlx::query("DELETE FROM active_subscriptions WHERE id = $1").bind(id).execute(tx.conn()).await?;
        }
    }
    Ok(())
}

/// A repository follows another one, both by their handles.
struct Edge {
    id: i64,
    repo: RepoId,
    follower: String,
    followed: String,
    refused: Option<Refused>,
}

impl Edge {
    fn ends(self) -> (String, String) {
        (self.follower, self.followed)
    }
}

#[derive(FromRow)]
struct EdgeRow {
    id: i64,
    repo_id: i64,
    forge: String,
    owner: String,
    name: String,
    subscribed_to_forge: String,
    subscribed_to_acct_repo: String,
    refused: Option<String>,
}

/// Who is to be built after whom, in force or not, the oldest first.
async fn edges(conn: &mut Conn) -> Result<Vec<Edge>, StoreError> {
    let rows: Vec<EdgeRow> = sqlx::query_as(
        "SELECT s.id, s.repo_id, f.name AS forge, r.owner, r.name, s.subscribed_to_forge, s.subscribed_to_acct_repo,
                s.refused
         FROM active_subscriptions s JOIN repos r ON r.id = s.repo_id JOIN forges f ON f.id = r.forge_id
         WHERE NOT r.removing ORDER BY s.id",
    )
    .fetch_all(conn)
    .await?;
    let edge = |row: EdgeRow| {
        Ok(Edge {
            id: row.id,
            repo: RepoId(row.repo_id),
            follower: format!("{}/{}", row.forge, acct_repo(&row.owner, &row.name)),
            followed: format!("{}/{}", row.subscribed_to_forge, row.subscribed_to_acct_repo),
            refused: row.refused.as_deref().map(from_json).transpose()?,
        })
    };
    rows.into_iter().map(edge).collect()
}

/// `owner/name`, or the name alone.
pub(super) fn acct_repo(owner: &str, name: &str) -> String {
    if owner.is_empty() { name.to_owned() } else { format!("{owner}/{name}") }
}

/// Forge and `owner/name` that an entry means. The original's `acctVcsType` is a kind: that is as good as a name where there
/// is one forge of it.
fn upstream(one: &pipeline::Subscription, own: &str, forges: &[(String, String)]) -> (String, String) {
    let wanted = one.forge.as_deref().unwrap_or(own);
    let named = forges.iter().any(|(name, _)| name == wanted);
    let mut of_kind = forges.iter().filter(|(_, kind)| kind == wanted);
    let forge = match (named, of_kind.next(), of_kind.next()) {
        (false, Some((name, _)), None) => name,
        _ => wanted,
    };
    let of_git = one.acct_repo.strip_prefix("git/").filter(|_| forge == "git");
    (forge.to_owned(), of_git.unwrap_or(&one.acct_repo).to_owned())
}

async fn put(
    tx: &mut Tx,
    repo: RepoId,
    one: &pipeline::Subscription,
    (forge, name): (&str, &str),
    refused: Option<&Refused>,
    build: BuildNumber,
) -> Result<(), StoreError> {
    let now = tx.now;
    sqlx::query(
        "INSERT INTO active_subscriptions (repo_id, alias, subscribed_to_forge, subscribed_to_acct_repo,
                                           branch_queue_map, refused, stored_by, stored_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (repo_id, alias) DO UPDATE
         SET branch_queue_map = excluded.branch_queue_map, refused = excluded.refused, stored_by = excluded.stored_by,
             stored_at = excluded.stored_at",
    )
    .bind(repo.0)
    .bind(&one.alias)
    .bind(forge)
    .bind(name)
    .bind(clean(&to_json(&one.branches)?))
    .bind(refused.map(to_json).transpose()?)
    .bind(build.0)
    .bind(now)
    .execute(tx.conn())
    .await?;
    Ok(())
}
