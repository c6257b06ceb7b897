//! Configured forges, and the webhooks that they send.

use ocelot_model::{AuditAction, ForgeId, RepoId};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::FromRow;

use super::repos::{handle, missing};
use super::{Core, outbox, reconcile};
use crate::raw::{clean, read};
use crate::{Forge, ForgeChange, Hook, NewForge, StoreError, secret};

macro_rules! forge_columns {
    () => {
        "id, name, kind, base_url, insecure_http, ca, access_kind, hook_secret IS NOT NULL AS has_hook_secret, version"
    };
}
macro_rules! hooks {
    () => {
        "SELECT h.id, h.repo_id, r.forge_id, h.secret, h.remote_id
         FROM hooks h JOIN repos r ON r.id = h.repo_id WHERE NOT r.removing"
    };
}

#[derive(FromRow)]
struct ForgeRow {
    id: i64,
    name: String,
    kind: String,
    base_url: String,
    insecure_http: bool,
    ca: Option<String>,
    access_kind: Option<String>,
    has_hook_secret: bool,
    version: i64,
}

impl ForgeRow {
    fn into_forge(self) -> Result<Forge, StoreError> {
        Ok(Forge {
            id: ForgeId(self.id),
            kind: read(&self.kind)?,
            name: self.name,
            base_url: self.base_url,
            insecure_http: self.insecure_http,
            ca: self.ca,
            access_kind: self.access_kind,
            has_hook_secret: self.has_hook_secret,
            version: self.version,
        })
    }
}

#[derive(FromRow)]
struct HookRow {
    id: String,
    repo_id: i64,
    forge_id: i64,
    secret: Vec<u8>,
    remote_id: Option<String>,
}

fn access_of(id: i64) -> String {
    format!("access of forge {id}")
}

fn hook_secret_of(id: i64) -> String {
    format!("webhook secret of forge {id}")
}

impl Core {
    pub(crate) async fn list_forges(&self) -> Result<Vec<Forge>, StoreError> {
        let rows: Vec<ForgeRow> =
            sqlx::query_as(concat!("SELECT ", forge_columns!(), " FROM forges ORDER BY name"))
                .fetch_all(&self.pools.read)
                .await?;
        rows.into_iter().map(ForgeRow::into_forge).collect()
    }

    pub(crate) async fn find_forge(&self, name: &str) -> Result<Option<Forge>, StoreError> {
        let row: Option<ForgeRow> =
            sqlx::query_as(concat!("SELECT ", forge_columns!(), " FROM forges WHERE name = $1"))
                .bind(name)
                .fetch_optional(&self.pools.read)
                .await?;
        row.map(ForgeRow::into_forge).transpose()
    }

    pub(crate) async fn add_forge(&self, new: &NewForge, by: &str) -> Result<Forge, StoreError> {
        let keys = self.keys_to_seal().await?;
        let mut tx = self.begin().await?;
        let added: Option<i64> = sqlx::query_scalar(
            "INSERT INTO forges (name, kind, base_url, insecure_http, access_kind, ca)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING id",
        )
        .bind(&new.name)
        .bind(new.kind.as_str())
        .bind(clean(&new.base_url))
        .bind(new.insecure_http)
        .bind(new.access.as_ref().map(|access| access.kind.as_str()))
        .bind(new.ca.as_deref().map(clean))
        .fetch_optional(tx.conn())
        .await?;
        let id = added.ok_or_else(|| {
            StoreError::Conflict(format!("there is a forge `{}` already; choose another name", new.name))
        })?;
        let access = match &new.access {
            Some(access) => Some(keys.seal(&access_of(id), access.secret.expose_secret().as_bytes())?),
            None => None,
        };
        let hook_secret = match &new.hook_secret {
            Some(secret) => Some(keys.seal(&hook_secret_of(id), secret.expose_secret().as_bytes())?),
            None => None,
        };
        sqlx::query("UPDATE forges SET access = $1, hook_secret = $2 WHERE id = $3")
            .bind(access)
            .bind(hook_secret)
            .bind(id)
            .execute(tx.conn())
            .await?;
        tx.note(by, AuditAction::ForgeAdded, &new.name, &new.base_url).await?;
        self.commit(tx).await?;
        let made = self.find_forge(&new.name).await?;
        made.ok_or_else(|| StoreError::NotFound(format!("forge {}", new.name)))
    }

    pub(crate) async fn change_forge(
        &self,
        id: ForgeId,
        change: &ForgeChange,
        by: &str,
    ) -> Result<(), StoreError> {
        let ForgeChange { access, hook_secret, ca } = change;
        let sealed_access = match access {
            Some(access) => {
                Some(self.seal(&access_of(id.0), access.secret.expose_secret().as_bytes()).await?)
            }
            None => None,
        };
        let sealed_secret = match hook_secret {
            Some(secret) => Some(self.seal(&hook_secret_of(id.0), secret.expose_secret().as_bytes()).await?),
            None => None,
        };
        let parts = [
            access.as_ref().map(|_| "credentials"),
            hook_secret.as_ref().map(|_| "webhook secret"),
            ca.as_ref()
                .map(|ca| if ca.is_empty() { "no certificate authority" } else { "certificate authority" }),
        ];
        let what = parts.into_iter().flatten().collect::<Vec<_>>().join(" and ");
        if what.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let name: Option<String> = sqlx::query_scalar(
            "UPDATE forges SET access = coalesce($1, access), access_kind = coalesce($2, access_kind),
                               hook_secret = coalesce($3, hook_secret), ca = nullif(coalesce($4, ca), ''), version = version + 1
             WHERE id = $5 AND kind <> 'git' RETURNING name",
        )
        .bind(sealed_access)
        .bind(access.as_ref().map(|access| access.kind.as_str()))
        .bind(sealed_secret)
        .bind(ca.as_deref().map(clean))
        .bind(id.0)
        .fetch_optional(tx.conn())
        .await?;
        let name = name.ok_or_else(|| StoreError::NotFound(format!("forge {id}")))?;
        if access.is_some() || ca.is_some() {
            outbox::try_again(&mut tx, id).await?;
        }
        tx.note(by, AuditAction::ForgeChanged, &name, &what).await?;
        self.commit(tx).await
    }

    pub(crate) async fn remove_forge(&self, id: ForgeId, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let repos: i64 = sqlx::query_scalar("SELECT count(*) FROM repos WHERE forge_id = $1")
            .bind(id.0)
            .fetch_one(tx.conn())
            .await?;
        if repos > 0 {
            return Err(StoreError::Conflict(format!(
                "the forge has {repos} repositories here; remove them first"
            )));
        }
        let name: Option<String> =
            sqlx::query_scalar("DELETE FROM forges WHERE id = $1 AND kind <> 'git' RETURNING name")
                .bind(id.0)
                .fetch_optional(tx.conn())
                .await?;
        let name = name.ok_or_else(|| StoreError::Conflict("plain git is always there".to_owned()))?;
        tx.note(by, AuditAction::ForgeRemoved, &name, "").await?;
        self.commit(tx).await
    }

    pub(crate) async fn load_forge_access(&self, id: ForgeId) -> Result<Option<SecretString>, StoreError> {
        let sealed: Option<Option<Vec<u8>>> = sqlx::query_scalar("SELECT access FROM forges WHERE id = $1")
            .bind(id.0)
            .fetch_optional(&self.pools.read)
            .await?;
        match sealed.flatten() {
            Some(sealed) => Ok(Some(self.unseal_text(&access_of(id.0), &sealed).await?)),
            None => Ok(None),
        }
    }

    pub(crate) async fn load_forge_hook_secret(
        &self,
        id: ForgeId,
    ) -> Result<Option<SecretString>, StoreError> {
        let sealed: Option<Option<Vec<u8>>> =
            sqlx::query_scalar("SELECT hook_secret FROM forges WHERE id = $1")
                .bind(id.0)
                .fetch_optional(&self.pools.read)
                .await?;
        match sealed.flatten() {
            Some(sealed) => Ok(Some(self.unseal_text(&hook_secret_of(id.0), &sealed).await?)),
            None => Ok(None),
        }
    }

    pub(crate) async fn make_hook(&self, repo: RepoId) -> Result<Hook, StoreError> {
        if let Some(hook) = self.find_hook_of(repo).await? {
            return Ok(hook);
        }
        let id = secret::hex(&secret::random::<16>());
        let sealed = self.seal(&secret_of(&id), secret::random_text().as_bytes()).await?;
        let mut tx = self.begin().await?;
        let now = tx.now;
        // Of two that ask at once, one makes it.
        sqlx::query(
            "INSERT INTO hooks (id, repo_id, secret, created_at)
             SELECT $1, id, $3, $4 FROM repos WHERE id = $2 AND NOT removing ON CONFLICT DO NOTHING",
        )
        .bind(&id)
        .bind(repo.0)
        .bind(sealed)
        .bind(now)
        .execute(tx.conn())
        .await?;
        self.commit(tx).await?;
        self.find_hook_of(repo).await?.ok_or_else(|| missing(repo))
    }

    pub(crate) async fn list_hooks(&self) -> Result<Vec<Hook>, StoreError> {
        let rows: Vec<HookRow> = sqlx::query_as(hooks!()).fetch_all(&self.pools.read).await?;
        let mut hooks = Vec::with_capacity(rows.len());
        for row in rows {
            hooks.push(self.open_hook(row).await?);
        }
        Ok(hooks)
    }

    pub(crate) async fn list_watched(&self) -> Result<Vec<(RepoId, bool)>, StoreError> {
        let rows: Vec<(i64, bool)> = sqlx::query_as("SELECT repo_id, remote_id IS NOT NULL FROM hooks")
            .fetch_all(&self.pools.read)
            .await?;
        Ok(rows.into_iter().map(|(repo, there)| (RepoId(repo), there)).collect())
    }

    pub(crate) async fn find_hook(&self, id: &str) -> Result<Option<Hook>, StoreError> {
        let row: Option<HookRow> = sqlx::query_as(concat!(hooks!(), " AND h.id = $1"))
            .bind(id)
            .fetch_optional(&self.pools.read)
            .await?;
        match row {
            Some(row) => Ok(Some(self.open_hook(row).await?)),
            None => Ok(None),
        }
    }

    pub(crate) async fn find_hook_of(&self, repo: RepoId) -> Result<Option<Hook>, StoreError> {
        let row: Option<HookRow> = sqlx::query_as(concat!(hooks!(), " AND h.repo_id = $1"))
            .bind(repo.0)
            .fetch_optional(&self.pools.read)
            .await?;
        match row {
            Some(row) => Ok(Some(self.open_hook(row).await?)),
            None => Ok(None),
        }
    }

    async fn open_hook(&self, row: HookRow) -> Result<Hook, StoreError> {
        Ok(Hook {
            secret: self.unseal_text(&secret_of(&row.id), &row.secret).await?,
            id: row.id,
            repo: RepoId(row.repo_id),
            forge: ForgeId(row.forge_id),
            remote_id: row.remote_id,
        })
    }

    pub(crate) async fn name_hook(&self, id: &str, remote_id: &str, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let repo: Option<i64> =
            sqlx::query_scalar("UPDATE hooks SET remote_id = $1 WHERE id = $2 RETURNING repo_id")
                .bind(clean(remote_id))
                .bind(id)
                .fetch_optional(tx.conn())
                .await?;
        if let Some(repo) = repo {
            reconcile::begin(&mut tx, RepoId(repo)).await?;
            let name = handle(tx.conn(), RepoId(repo)).await?;
            tx.note(by, AuditAction::RepoWatched, &name, "").await?;
        }
        self.commit(tx).await
    }

    pub(crate) async fn remove_hook(&self, repo: RepoId, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let gone =
            sqlx::query("DELETE FROM hooks WHERE repo_id = $1").bind(repo.0).execute(tx.conn()).await?;
        if gone.rows_affected() > 0 {
            let name = handle(tx.conn(), repo).await?;
            tx.note(by, AuditAction::RepoUnwatched, &name, "").await?;
        }
        sqlx::query("DELETE FROM reconciled WHERE repo_id = $1").bind(repo.0).execute(tx.conn()).await?;
        self.commit(tx).await
    }
}

fn secret_of(hook: &str) -> String {
    format!("secret of webhook {hook}")
}
