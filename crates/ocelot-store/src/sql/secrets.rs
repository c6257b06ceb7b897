//! Secrets and credentials. A value is sealed before it comes near the database, and opened for those who use it only.

use std::collections::BTreeMap;

use ocelot_model::secret::{Kind, Scope};
use ocelot_model::{AuditAction, RepoId, RepoName};
use secrecy::{ExposeSecret as _, SecretSlice};
use sqlx::FromRow;

use super::{Conn, Core, notices};
use crate::raw::{clean, from_json, read, time, to_json};
use crate::{NewSecret, Secret, StoreError};

macro_rules! secrets {
    () => {
        "SELECT s.id, s.repo_id, s.prefix, f.name AS forge, r.owner, r.name AS repo_name, s.name, s.kind, s.fields,
                s.limits, s.value, s.by_admin, s.created_at, s.created_by, s.changed_at, s.changed_by
         FROM secrets s LEFT JOIN repos r ON r.id = s.repo_id LEFT JOIN forges f ON f.id = r.forge_id"
    };
}

#[derive(FromRow)]
struct SecretRow {
    id: i64,
    repo_id: Option<i64>,
    prefix: String,
    forge: Option<String>,
    owner: Option<String>,
    repo_name: Option<String>,
    name: String,
    kind: String,
    fields: String,
    limits: String,
    value: Vec<u8>,
    by_admin: bool,
    created_at: i64,
    created_by: String,
    changed_at: i64,
    changed_by: String,
}

impl SecretRow {
    fn place(&self) -> String {
        place(self.repo_id, &self.prefix, &self.name, &self.kind)
    }

    fn into_secret(self) -> Result<Secret, StoreError> {
        let scope = match (self.forge, self.owner, self.repo_name) {
            (Some(forge), Some(owner), Some(name)) => Scope::Repo(RepoName { forge, owner, name }),
            _ if self.prefix.is_empty() => Scope::All,
            _ => Scope::Owner(self.prefix),
        };
        Ok(Secret {
            id: self.id,
            scope,
            name: self.name,
            kind: read(&self.kind)?,
            fields: from_json(&self.fields)?,
            limits: from_json(&self.limits)?,
            by_admin: self.by_admin,
            created_at: time(self.created_at)?,
            created_by: self.created_by,
            changed_at: time(self.changed_at)?,
            changed_by: self.changed_by,
        })
    }
}

/// What a value is sealed for: it opens in no other scope, under no other name and as no other kind.
fn place(repo: Option<i64>, prefix: &str, name: &str, kind: &str) -> String {
    match repo {
        Some(repo) => format!("{kind} secret {name} of repo {repo}"),
        None => format!("{kind} secret {name} of `{prefix}`"),
    }
}

impl Core {
    /// Makes it, or changes the one of the same scope and name; answers whether it is new.
    pub(crate) async fn put_secret(&self, new: &NewSecret) -> Result<(Secret, bool), StoreError> {
        let (repo, prefix) = self.stored_scope(&new.scope).await?;
        let repo = repo.map(|repo| repo.0);
        let place = place(repo, &prefix, &new.name, new.kind.as_str());
        let sealed = self.seal(&place, new.value.expose_secret()).await?;
        let mut tx = self.begin().await?;
        let now = tx.now;
        let (id, created_at): (i64, i64) = sqlx::query_as(
            "INSERT INTO secrets (repo_id, prefix, name, kind, fields, limits, value, created_at, created_by, changed_at,
                                  changed_by, by_admin)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8, $9, $10)
             ON CONFLICT (coalesce(repo_id, 0), prefix, name) DO UPDATE
             SET kind = excluded.kind, fields = excluded.fields, limits = excluded.limits, value = excluded.value,
                 changed_at = excluded.changed_at, changed_by = excluded.changed_by, by_admin = excluded.by_admin
             RETURNING id, created_at",
        )
        .bind(repo)
        .bind(&prefix)
        .bind(&new.name)
        .bind(new.kind.as_str())
        .bind(to_json(&new.fields)?)
        .bind(to_json(&new.limits)?)
        .bind(sealed)
        .bind(now)
        .bind(clean(&new.by))
        .bind(new.by_admin)
        .fetch_one(tx.conn())
        .await?;
        if new.kind == Kind::Notify {
            notices::try_again(&mut tx, id).await?;
        }
        let is_new = created_at == now;
        let verb = if is_new { "made" } else { "changed" };
        let words = format!("{} {verb}, {}", new.kind, whose(&new.scope));
        tx.note(&new.by, AuditAction::SecretKept, &new.name, &words).await?;
        self.commit(tx).await?;
        let made = self.find_secret(id).await?;
        Ok((made.ok_or_else(|| missing(id))?, is_new))
    }

    async fn stored_scope(&self, scope: &Scope) -> Result<(Option<RepoId>, String), StoreError> {
        match scope {
            Scope::All => Ok((None, String::new())),
            Scope::Owner(prefix) => Ok((None, prefix.clone())),
            Scope::Repo(name) => {
                let repo = self.find_repo(name).await?;
                let repo = repo.ok_or_else(|| StoreError::NotFound(name.to_string()))?;
                Ok((Some(repo.id), String::new()))
            }
        }
    }

    pub(crate) async fn list_secrets(&self) -> Result<Vec<Secret>, StoreError> {
        let rows: Vec<SecretRow> = sqlx::query_as(concat!(secrets!(), " ORDER BY s.name, s.prefix, s.id"))
            .fetch_all(&self.pools.read)
            .await?;
        rows.into_iter().map(SecretRow::into_secret).collect()
    }

    pub(crate) async fn find_secret(&self, id: i64) -> Result<Option<Secret>, StoreError> {
        let row: Option<SecretRow> = sqlx::query_as(concat!(secrets!(), " WHERE s.id = $1"))
            .bind(id)
            .fetch_optional(&self.pools.read)
            .await?;
        row.map(SecretRow::into_secret).transpose()
    }

    pub(crate) async fn remove_secret(&self, id: i64, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let row: Option<SecretRow> = sqlx::query_as(concat!(secrets!(), " WHERE s.id = $1"))
            .bind(id)
            .fetch_optional(tx.conn())
            .await?;
        let secret = row.ok_or_else(|| missing(id))?.into_secret()?;
        let gone = sqlx::query("DELETE FROM secrets WHERE id = $1").bind(id).execute(tx.conn()).await?;
        if gone.rows_affected() == 0 {
            return Err(missing(id));
        }
        let words = format!("{}, {}", secret.kind, whose(&secret.scope));
        tx.note(by, AuditAction::SecretRemoved, &secret.name, &words).await?;
        self.commit(tx).await
    }

    pub(crate) async fn secrets_in_reach(
        &self,
        id: RepoId,
        name: &RepoName,
    ) -> Result<Vec<Secret>, StoreError> {
        in_reach(&mut *self.pools.read.acquire().await?, id, name).await
    }

    pub(crate) async fn open_secrets(&self, ids: &[i64]) -> Result<Vec<(i64, SecretSlice<u8>)>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<SecretRow> = sqlx::query_as(concat!(secrets!(), " WHERE s.id IN ", ids!("$1")))
            .bind(to_json(ids)?)
            .fetch_all(&self.pools.read)
            .await?;
        let mut opened = Vec::with_capacity(rows.len());
        for row in rows {
            opened.push((row.id, self.unseal(&row.place(), &row.value).await?));
        }
        Ok(opened)
    }
}

/// Of each name the one of the nearest scope.
pub(super) async fn in_reach(
    conn: &mut Conn,
    id: RepoId,
    name: &RepoName,
) -> Result<Vec<Secret>, StoreError> {
    let rows: Vec<SecretRow> = sqlx::query_as(concat!(
        secrets!(),
        " WHERE s.repo_id = $1 OR (s.repo_id IS NULL AND substr($2, 1, length(s.prefix)) = s.prefix)"
    ))
    .bind(id.0)
    .bind(name.to_string())
    .fetch_all(conn)
    .await?;
    let mut nearest: BTreeMap<String, SecretRow> = BTreeMap::new();
    for row in rows {
        let near = |row: &SecretRow| (row.repo_id.is_some(), row.prefix.len());
        if nearest.get(&row.name).is_none_or(|other| near(other) < near(&row)) {
            nearest.insert(row.name.clone(), row);
        }
    }
    nearest.into_values().map(SecretRow::into_secret).collect()
}

/// Whose it is, in words.
fn whose(scope: &Scope) -> String {
    match scope {
        Scope::All => "for all".to_owned(),
        Scope::Owner(_) | Scope::Repo(_) => format!("for {scope}"),
    }
}

fn missing(id: i64) -> StoreError {
    StoreError::NotFound(format!("secret {id}"))
}
