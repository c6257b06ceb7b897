//! Repositories.

use ocelot_model::{AuditAction, ForgeId, RepoId, RepoName};

use super::{Conn, Core, subscriptions};
use crate::raw::{RepoRow, clean};
use crate::{NewRepo, RenamedRepo, Repo, RepoChange, StoreError};

/// Builds deleted in one transaction.
const BATCH: i64 = 20;

impl Core {
    pub(crate) async fn add_repo(&self, repo: &NewRepo, by: &str) -> Result<Repo, StoreError> {
        let name = &repo.name;
        let mut tx = self.begin().await?;
        let forge: Option<i64> = sqlx::query_scalar("SELECT id FROM forges WHERE name = $1")
            .bind(&name.forge)
            .fetch_optional(tx.conn())
            .await?;
        let forge = forge.ok_or_else(|| StoreError::NotFound(format!("forge {}", name.forge)))?;
        let now = tx.now;
        let added: Option<i64> = sqlx::query_scalar(
            "INSERT INTO repos (forge_id, remote_id, owner, name, clone_url, default_branch, public, created_at,
                                approvals)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING id",
        )
        .bind(forge)
        .bind(&repo.remote_id)
        .bind(&name.owner)
        .bind(&name.name)
        .bind(clean(&repo.clone_url))
        .bind(clean(&repo.default_branch))
        .bind(repo.public)
        .bind(now)
        .bind(repo.approvals.as_str())
        .fetch_optional(tx.conn())
        .await?;
        let Some(id) = added else {
            return Err(StoreError::Conflict(format!("repository {name} was added before")));
        };
        tx.note(by, AuditAction::RepoAdded, &name.to_string(), &repo.clone_url).await?;
        self.commit(tx).await?;
        self.load_repo(RepoId(id)).await
    }

    pub(crate) async fn find_repo(&self, name: &RepoName) -> Result<Option<Repo>, StoreError> {
        let row: Option<RepoRow> = sqlx::query_as(concat!(
            "SELECT ",
            repo_columns!(),
            " FROM ",
            repo_tables!(),
            " WHERE f.name = $1 AND r.owner = $2 AND r.name = $3 AND NOT r.removing"
        ))
        .bind(&name.forge)
        .bind(&name.owner)
        .bind(&name.name)
        .fetch_optional(&self.pools.read)
        .await?;
        row.map(RepoRow::into_repo).transpose()
    }

    pub(crate) async fn find_repo_by_remote_id(
        &self,
        forge: ForgeId,
        remote_id: &str,
    ) -> Result<Option<Repo>, StoreError> {
        let row: Option<RepoRow> = sqlx::query_as(concat!(
            "SELECT ",
            repo_columns!(),
            " FROM ",
            repo_tables!(),
            " WHERE r.forge_id = $1 AND r.remote_id = $2 AND NOT r.removing"
        ))
        .bind(forge.0)
        .bind(remote_id)
        .fetch_optional(&self.pools.read)
        .await?;
        row.map(RepoRow::into_repo).transpose()
    }

    pub(crate) async fn load_repo(&self, id: RepoId) -> Result<Repo, StoreError> {
        let row: Option<RepoRow> = sqlx::query_as(concat!(
            "SELECT ",
            repo_columns!(),
            " FROM ",
            repo_tables!(),
            " WHERE r.id = $1 AND NOT r.removing"
        ))
        .bind(id.0)
        .fetch_optional(&self.pools.read)
        .await?;
        row.ok_or_else(|| missing(id))?.into_repo()
    }

    pub(crate) async fn list_repos(&self) -> Result<Vec<Repo>, StoreError> {
        let rows: Vec<RepoRow> = sqlx::query_as(concat!(
            "SELECT ",
            repo_columns!(),
            " FROM ",
            repo_tables!(),
            " WHERE NOT r.removing ORDER BY f.name, r.owner, r.name"
        ))
        .fetch_all(&self.pools.read)
        .await?;
        rows.into_iter().map(RepoRow::into_repo).collect()
    }

    pub(crate) async fn change_repo(
        &self,
        id: RepoId,
        change: RepoChange,
        by: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let name = handle(tx.conn(), id).await?;
        if let Some(approvals) = change.approvals {
            let changed = sqlx::query(
                "UPDATE repos SET approvals = $1 WHERE id = $2 AND approvals <> $1 AND NOT removing",
            );
            let changed = changed.bind(approvals.as_str()).bind(id.0).execute(tx.conn()).await?;
            if changed.rows_affected() > 0 {
                tx.note(by, AuditAction::RepoChanged, &name, &format!("approvals {approvals}")).await?;
            }
        }
        if let Some(public) = change.public {
            let changed =
                sqlx::query("UPDATE repos SET public = $1 WHERE id = $2 AND public <> $1 AND NOT removing");
            let changed = changed.bind(public).bind(id.0).execute(tx.conn()).await?;
            if changed.rows_affected() > 0 {
                let readers =
                    if public { "anyone may read it" } else { "only those with a token may read it" };
                tx.note(by, AuditAction::RepoChanged, &name, readers).await?;
            }
        }
        self.commit(tx).await
    }

    pub(crate) async fn rename_repo(&self, id: RepoId, to: &RenamedRepo) -> Result<Repo, StoreError> {
        let name = &to.name;
        let mut tx = self.begin().await?;
        let renamed = sqlx::query(
            "UPDATE repos SET owner = $1, name = $2, clone_url = $3, default_branch = $4
             WHERE id = $5 AND NOT removing",
        )
        .bind(&name.owner)
        .bind(&name.name)
        .bind(clean(&to.clone_url))
        .bind(clean(&to.default_branch))
        .bind(id.0)
        .execute(tx.conn())
        .await;
        match renamed {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                return Err(StoreError::Conflict(format!(
                    "another repository is {name} here; remove it first"
                )));
            }
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        // Who follows whom is known by name.
        subscriptions::renamed(&mut tx, id).await?;
        self.commit(tx).await?;
        self.load_repo(id).await
    }

    pub(crate) async fn remove_repo(&self, id: RepoId, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let there: Option<i64> =
            sqlx::query_scalar(concat!("SELECT id FROM repos WHERE id = $1 AND NOT removing", for_update!()))
                .bind(id.0)
                .fetch_optional(tx.conn())
                .await?;
        there.ok_or_else(|| missing(id))?;
        let open: Option<i64> = sqlx::query_scalar(
            "SELECT number FROM builds WHERE repo_id = $1 AND status IN ('blocked', 'queued', 'running')
             ORDER BY number LIMIT 1",
        )
        .bind(id.0)
        .fetch_optional(tx.conn())
        .await?;
        if let Some(number) = open {
            return Err(StoreError::Conflict(format!(
                "build {number} of it is not over yet; cancel it first"
            )));
        }
        let name = handle(tx.conn(), id).await?;
        tx.note(by, AuditAction::RepoRemoved, &name, "").await?;
        sqlx::query("UPDATE repos SET removing = true WHERE id = $1").bind(id.0).execute(tx.conn()).await?;
        subscriptions::look_again(&mut tx).await?;
        self.commit(tx).await?;
        self.finish_removal(id.0).await
    }

    /// Removals that a stop of the server cut short.
    pub(super) async fn finish_removals(&self) -> Result<(), StoreError> {
        let ids: Vec<i64> =
            sqlx::query_scalar("SELECT id FROM repos WHERE removing").fetch_all(&self.pools.write).await?;
        for id in ids {
            self.finish_removal(id).await?;
        }
        Ok(())
    }

    /// In small transactions, so that others get their turn.
    async fn finish_removal(&self, id: i64) -> Result<(), StoreError> {
        loop {
            let builds: Vec<i64> =
                sqlx::query_scalar("SELECT number FROM builds WHERE repo_id = $1 ORDER BY number LIMIT $2")
                    .bind(id)
                    .bind(BATCH)
                    .fetch_all(&self.pools.write)
                    .await?;
            if builds.is_empty() {
                break;
            }
            for build in builds {
                self.remove_build(build).await?;
            }
        }
        while self.remove_deliveries(id, BATCH).await? > 0 {}
        self.uncount_repo(id).await?;
        sqlx::query("DELETE FROM repos WHERE id = $1 AND removing")
            .bind(id)
            .execute(&self.pools.write)
            .await?;
        Ok(())
    }

    /// Logs first: while the build is there, its stages tell which logs belong to it.
    pub(super) async fn remove_build(&self, number: i64) -> Result<(), StoreError> {
        let stages: Vec<i64> = sqlx::query_scalar("SELECT id FROM stages WHERE build = $1")
            .bind(number)
            .fetch_all(&self.pools.write)
            .await?;
        for some in stages.chunks(50) {
            self.remove_logs(some).await?;
        }
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM events WHERE build = $1").bind(number).execute(tx.conn()).await?;
        sqlx::query("DELETE FROM builds WHERE number = $1").bind(number).execute(tx.conn()).await?;
        self.commit(tx).await
    }
}

/// The name of one that is there, in a transaction that changes something about it.
pub(super) async fn handle(conn: &mut Conn, id: RepoId) -> Result<String, StoreError> {
    let row: Option<(String, String, String)> = sqlx::query_as(
        "SELECT f.name, r.owner, r.name FROM repos r JOIN forges f ON f.id = r.forge_id
         WHERE r.id = $1 AND NOT r.removing",
    )
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    let (forge, owner, name) = row.ok_or_else(|| missing(id))?;
    Ok(RepoName { forge, owner, name }.to_string())
}

pub(super) fn missing(id: RepoId) -> StoreError {
    StoreError::NotFound(format!("repository {id}"))
}
