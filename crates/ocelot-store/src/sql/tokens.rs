//! Access tokens. Only the SHA-256 of a secret is stored.

use std::time::Duration;

use ocelot_model::access::Role;
use ocelot_model::{AuditAction, TokenId, WorkerId};

use super::Core;
use crate::raw::{TokenRow, clean, to_json, us};
use crate::{StoreError, Token, Wake, secret};

/// How exactly the last use of a token is noted.
const MINUTE_US: i64 = 60_000_000;

/// A token that is used now.
#[derive(sqlx::FromRow)]
struct Used {
    now: i64,
    #[sqlx(flatten)]
    row: TokenRow,
}

impl Core {
    pub(crate) async fn create_token(
        &self,
        name: &str,
        role: Role,
        repos: &[String],
        expires: Option<Duration>,
        by: &str,
    ) -> Result<(Token, String), StoreError> {
        let secret = format!("ocl_{}", secret::random_text());
        let mut tx = self.begin().await?;
        let now = tx.now;
        let row: Option<TokenRow> = sqlx::query_as(
            "INSERT INTO tokens (name, role, repos, secret_sha256, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING
             RETURNING id, name, role, repos, created_at, expires_at, last_used_at",
        )
        .bind(clean(name))
        .bind(role.as_str())
        .bind(to_json(repos)?)
        .bind(secret::hash(&secret))
        .bind(now)
        .bind(expires.map(|lifetime| now + us(lifetime)))
        .fetch_optional(tx.conn())
        .await?;
        let row =
            row.ok_or_else(|| StoreError::Conflict(format!("there is already a token named {name}")))?;
        let limits = if repos.is_empty() { String::new() } else { format!(", only {}", repos.join(" ")) };
        tx.note(by, AuditAction::TokenCreated, name, &format!("role {role}{limits}")).await?;
        self.commit(tx).await?;
        Ok((row.into_token()?, secret))
    }

    pub(crate) async fn find_token(&self, secret: &str) -> Result<Option<Token>, StoreError> {
        // Every request asks this, so it is one call. SQL has the time to the millisecond on SQLite, rows have it finer.
        let row: Option<Used> = sqlx::query_as(concat!(
            "WITH clock AS (SELECT ",
            now_us!(),
            " AS now) SELECT c.now, ",
            token_columns!(),
            " FROM tokens t CROSS JOIN clock c
              WHERE t.secret_sha256 = $1 AND (t.expires_at IS NULL OR t.expires_at / 1000 > c.now / 1000)"
        ))
        .bind(secret::hash(secret))
        .fetch_optional(&self.pools.read)
        .await?;
        let Some(Used { now, row }) = row else { return Ok(None) };
        let noted = row.last_used_at.unwrap_or(0);
        let token = row.into_token()?;
        // A token must go on to work when the disk is full, so a note that fails is only missing.
        if now - noted >= MINUTE_US
            && let Err(error) = self.note_use(token.id, now).await
        {
            tracing::warn!(%error, token = %token.id, "the last use of token {} was not noted", token.id);
        }
        Ok(Some(token))
    }

    async fn note_use(&self, id: TokenId, now: i64) -> Result<(), StoreError> {
        sqlx::query("UPDATE tokens SET last_used_at = $1 WHERE id = $2")
            .bind(now)
            .bind(id.0)
            .execute(&self.pools.write)
            .await?;
        Ok(())
    }

    pub(crate) async fn list_tokens(&self) -> Result<Vec<Token>, StoreError> {
        let rows: Vec<TokenRow> =
            sqlx::query_as(concat!("SELECT ", token_columns!(), " FROM tokens t ORDER BY t.name"))
                .fetch_all(&self.pools.read)
                .await?;
        rows.into_iter().map(TokenRow::into_token).collect()
    }

    /// Its sessions and sign-in links go with it. The last admin stays: without one nobody could make tokens.
    pub(crate) async fn revoke_token(&self, id: TokenId, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now;
        // Locked in one order, so that of two admins who revoke each other one comes second.
        let admins: Vec<i64> = sqlx::query_scalar(concat!(
            "SELECT id FROM tokens WHERE role = 'admin' AND repos = '[]' AND (expires_at IS NULL OR expires_at > $1)
             ORDER BY id",
            for_update!()
        ))
        .bind(now)
        .fetch_all(tx.conn())
        .await?;
        if admins == [id.0] {
            let words = "this is the last token with role admin; make another one before you revoke it";
            return Err(StoreError::Conflict(words.to_owned()));
        }
        let name: Option<String> = sqlx::query_scalar("DELETE FROM tokens WHERE id = $1 RETURNING name")
            .bind(id.0)
            .fetch_optional(tx.conn())
            .await?;
        let name = name.ok_or_else(|| missing(id))?;
        tx.note(by, AuditAction::TokenRevoked, &name, &format!("token {id}")).await?;
        let workers: Vec<i64> = sqlx::query_scalar("SELECT id FROM workers WHERE token_id = $1")
            .bind(id.0)
            .fetch_all(tx.conn())
            .await?;
        workers.into_iter().for_each(|worker| tx.wake(Wake::Worker(WorkerId(worker))));
        self.commit(tx).await
    }
}

pub(super) fn missing(id: TokenId) -> StoreError {
    StoreError::NotFound(format!("token {id}"))
}
