//! The keys of badges. They are sealed, like all that lets somebody in, and can be shown again.

use ocelot_model::{AuditAction, RepoId};
use secrecy::SecretString;

use super::repos::{handle, missing};
use super::{Core, Tx};
use crate::{StoreError, secret};

impl Core {
    pub(crate) async fn make_badge_key(
        &self,
        repo: RepoId,
        renew: bool,
        by: &str,
    ) -> Result<SecretString, StoreError> {
        let sealed = self.seal(&place(repo), secret::random_text().as_bytes()).await?;
        let mut tx = self.begin().await?;
        let now = tx.now;
        if renew {
            remove(&mut tx, repo).await?;
        }
        // Of two that ask at once, one makes it.
        let made = sqlx::query(
            "INSERT INTO badge_keys (repo_id, secret, created_at)
             SELECT id, $2, $3 FROM repos WHERE id = $1 AND NOT removing ON CONFLICT DO NOTHING",
        )
        .bind(repo.0)
        .bind(sealed)
        .bind(now)
        .execute(tx.conn())
        .await?;
        if made.rows_affected() > 0 {
            let name = handle(tx.conn(), repo).await?;
            tx.note(by, AuditAction::RepoChanged, &name, "its badge has a new key").await?;
        }
        self.commit(tx).await?;
        self.find_badge_key(repo).await?.ok_or_else(|| missing(repo))
    }

    pub(crate) async fn find_badge_key(&self, repo: RepoId) -> Result<Option<SecretString>, StoreError> {
        let sealed: Option<Vec<u8>> = sqlx::query_scalar("SELECT secret FROM badge_keys WHERE repo_id = $1")
            .bind(repo.0)
            .fetch_optional(&self.pools.read)
            .await?;
        match sealed {
            Some(sealed) => Ok(Some(self.unseal_text(&place(repo), &sealed).await?)),
            None => Ok(None),
        }
    }

    pub(crate) async fn remove_badge_key(&self, repo: RepoId, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if remove(&mut tx, repo).await? {
            let name = handle(tx.conn(), repo).await?;
            tx.note(by, AuditAction::RepoChanged, &name, "its badge has no key any more").await?;
        }
        self.commit(tx).await
    }
}

/// False when there was none.
async fn remove(tx: &mut Tx, repo: RepoId) -> Result<bool, StoreError> {
    let gone =
        sqlx::query("DELETE FROM badge_keys WHERE repo_id = $1").bind(repo.0).execute(tx.conn()).await?;
    Ok(gone.rows_affected() > 0)
}

fn place(repo: RepoId) -> String {
    format!("badge key of repo {}", repo.0)
}
