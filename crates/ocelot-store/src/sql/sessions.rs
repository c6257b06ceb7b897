//! Sessions of browsers, and links that sign in once. Both act as a token and end with it.

use std::time::Duration;

use ocelot_model::TokenId;

use super::{Core, Tx, tokens};
use crate::raw::{TokenRow, us};
use crate::{StoreError, Token, secret};

impl Core {
    pub(crate) async fn create_session(
        &self,
        token: TokenId,
        lifetime: Duration,
    ) -> Result<String, StoreError> {
        let secret = secret::random_text();
        let mut tx = self.begin().await?;
        check_token(&mut tx, token).await?;
        let now = tx.now;
        sqlx::query("DELETE FROM sessions WHERE expires_at <= $1").bind(now).execute(tx.conn()).await?;
        sqlx::query("INSERT INTO sessions (secret_sha256, token_id, expires_at) VALUES ($1, $2, $3)")
            .bind(secret::hash(&secret))
            .bind(token.0)
            .bind(now + us(lifetime))
            .execute(tx.conn())
            .await?;
        self.commit(tx).await?;
        Ok(secret)
    }

    pub(crate) async fn find_session(&self, secret: &str) -> Result<Option<Token>, StoreError> {
        let now = self.now().await?;
        let row: Option<TokenRow> = sqlx::query_as(concat!(
            "SELECT ", token_columns!(),
            " FROM sessions s JOIN tokens t ON t.id = s.token_id
              WHERE s.secret_sha256 = $1 AND s.expires_at > $2 AND (t.expires_at IS NULL OR t.expires_at > $2)"
        ))
        .bind(secret::hash(secret))
        .bind(now)
        .fetch_optional(&self.pools.read)
        .await?;
        row.map(TokenRow::into_token).transpose()
    }

    pub(crate) async fn end_session(&self, secret: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sessions WHERE secret_sha256 = $1")
            .bind(secret::hash(secret))
            .execute(&self.pools.write)
            .await?;
        Ok(())
    }

    pub(crate) async fn create_sign_in_link(
        &self,
        token: TokenId,
        lifetime: Duration,
    ) -> Result<String, StoreError> {
        let secret = secret::random_text();
        let mut tx = self.begin().await?;
        check_token(&mut tx, token).await?;
        let now = tx.now;
        sqlx::query("DELETE FROM sign_in_links WHERE expires_at <= $1").bind(now).execute(tx.conn()).await?;
        sqlx::query("INSERT INTO sign_in_links (secret_sha256, token_id, expires_at) VALUES ($1, $2, $3)")
            .bind(secret::hash(&secret))
            .bind(token.0)
            .bind(now + us(lifetime))
            .execute(tx.conn())
            .await?;
        self.commit(tx).await?;
        Ok(secret)
    }

    pub(crate) async fn redeem_sign_in_link(&self, secret: &str) -> Result<Option<Token>, StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now;
        // Of two who come at once, only one deletes the row.
        let token: Option<i64> = sqlx::query_scalar(
            "DELETE FROM sign_in_links WHERE secret_sha256 = $1 AND expires_at > $2 RETURNING token_id",
        )
        .bind(secret::hash(secret))
        .bind(now)
        .fetch_optional(tx.conn())
        .await?;
        let Some(token) = token else { return Ok(None) };
        let row: Option<TokenRow> = sqlx::query_as(concat!(
            "SELECT ",
            token_columns!(),
            " FROM tokens t WHERE t.id = $1 AND (t.expires_at IS NULL OR t.expires_at > $2)"
        ))
        .bind(token)
        .bind(now)
        .fetch_optional(tx.conn())
        .await?;
        self.commit(tx).await?;
        row.map(TokenRow::into_token).transpose()
    }
}

async fn check_token(tx: &mut Tx, id: TokenId) -> Result<(), StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT id FROM tokens WHERE id = $1")
        .bind(id.0)
        .fetch_optional(tx.conn())
        .await?;
    found.map(drop).ok_or_else(|| tokens::missing(id))
}
