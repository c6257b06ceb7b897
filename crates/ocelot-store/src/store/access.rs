//! Who may come in: tokens, sessions of the page, and the list of who did what.

use std::time::Duration;

use jiff::Timestamp;
use ocelot_model::TokenId;
use ocelot_model::access::Role;

use super::{Kind, Store};
use crate::{AuditFilter, AuditRow, NewAudit, StoreError, Token, calls};

impl Store {
    /// Makes a token; the secret (`ocl_` + 43 characters) is only stored as SHA-256.
    pub async fn create_token(
        &self,
        name: &str,
        role: Role,
        repos: &[String],
        expires: Option<Duration>,
        by: &str,
    ) -> Result<(Token, String), StoreError> {
        each!(self, core => core.create_token(name, role, repos, expires, by).await)
    }

    /// The token with this secret, unless it ended. Notes its use, at most once a minute.
    pub async fn find_token(&self, secret: &str) -> Result<Option<Token>, StoreError> {
        each!(self, core => core.find_token(secret).await)
    }

    /// All, by name.
    pub async fn list_tokens(&self) -> Result<Vec<Token>, StoreError> {
        each!(self, core => core.list_tokens().await)
    }

    /// Ends a token and its sessions.
    pub async fn revoke_token(&self, id: TokenId, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.revoke_token(id, by).await)
    }

    /// A session that acts as this token; the secret is only stored as SHA-256.
    pub async fn create_session(&self, token: TokenId, lifetime: Duration) -> Result<String, StoreError> {
        each!(self, core => core.create_session(token, lifetime).await)
    }

    /// The token of a session.
    pub async fn find_session(&self, secret: &str) -> Result<Option<Token>, StoreError> {
        each!(self, core => core.find_session(secret).await)
    }

    /// Signs out.
    pub async fn end_session(&self, secret: &str) -> Result<(), StoreError> {
        each!(self, core => core.end_session(secret).await)
    }

    /// A link that signs in once.
    pub async fn create_sign_in_link(
        &self,
        token: TokenId,
        lifetime: Duration,
    ) -> Result<String, StoreError> {
        each!(self, core => core.create_sign_in_link(token, lifetime).await)
    }

    /// Uses it up.
    pub async fn redeem_sign_in_link(&self, secret: &str) -> Result<Option<Token>, StoreError> {
        each!(self, core => core.redeem_sign_in_link(secret).await)
    }

    /// Writes down what somebody did that changes nothing here. Whoever changes something says with the change who wants
    /// it (`by`): its row is in the same transaction.
    pub async fn note(&self, new: &NewAudit<'_>) -> Result<(), StoreError> {
        each!(self, core => core.note(new).await)
    }

    /// What was done, newest first.
    pub async fn list_audit(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        each!(self, core => core.list_audit(filter, limit).await)
    }

    /// Forgets up to `limit` rows from before this time; answers how many.
    pub async fn expire_audit(&self, before: Timestamp, limit: u32) -> Result<usize, StoreError> {
        each!(self, core => core.expire_audit(before, limit).await)
    }
}
