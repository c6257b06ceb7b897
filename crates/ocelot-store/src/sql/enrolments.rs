//! Enrolment: a token that is handed round gives each worker that comes with it an identity of its own.
//!
//! The worker makes its secret itself, before it asks. So it may ask again after any interruption: who is known by
//! this secret already is answered the same, and nothing is used up twice.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use ocelot_model::AuditAction;

use super::{Core, Tx};
use crate::raw::{EnrolmentRow, clean, to_json, us};
use crate::{Enrolment, StoreError, secret};

/// What stands for a token in the rows of workers that have an identity of their own.
pub(super) const OWN: i64 = 0;
/// Workers of one wished name that get a number after it, at most.
const NAMESAKES: u32 = 10_000;

impl Core {
    pub(crate) async fn create_enrolment(
        &self,
        labels: &BTreeMap<String, String>,
        uses: Option<u32>,
        expires: Option<Duration>,
        by: &str,
    ) -> Result<(Enrolment, String), StoreError> {
        let secret = format!("{}{}", Enrolment::PREFIX, secret::random_text());
        let mut tx = self.begin().await?;
        let now = tx.now;
        let row: EnrolmentRow = sqlx::query_as(concat!(
            "INSERT INTO enrolments (secret_sha256, labels, uses, created_by, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6) RETURNING ",
            enrolment_columns!()
        ))
        .bind(secret::hash(&secret))
        .bind(to_json(labels)?)
        .bind(uses.map(i64::from))
        .bind(clean(by))
        .bind(now)
        .bind(expires.map(|lifetime| now + us(lifetime)))
        .fetch_one(tx.conn())
        .await?;
        let made = row.into_enrolment()?;
        tx.note(by, AuditAction::WorkerTokenCreated, &format!("worker token {}", made.id), "").await?;
        self.commit(tx).await?;
        Ok((made, secret))
    }

    pub(crate) async fn list_enrolments(&self) -> Result<Vec<Enrolment>, StoreError> {
        let rows: Vec<EnrolmentRow> =
            sqlx::query_as(concat!("SELECT ", enrolment_columns!(), " FROM enrolments ORDER BY id"))
                .fetch_all(&self.pools.read)
                .await?;
        rows.into_iter().map(EnrolmentRow::into_enrolment).collect()
    }

    pub(crate) async fn revoke_enrolment(&self, id: i64, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let gone = sqlx::query("DELETE FROM enrolments WHERE id = $1").bind(id).execute(tx.conn()).await?;
        if gone.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("enrolment token {id}")));
        }
        tx.note(by, AuditAction::WorkerTokenRevoked, &format!("worker token {id}"), "").await?;
        self.commit(tx).await
    }

    pub(crate) async fn may_enrol(&self, secret: &str) -> Result<bool, StoreError> {
        let now = self.now().await?;
        let good: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM enrolments
             WHERE secret_sha256 = $1 AND (expires_at IS NULL OR expires_at > $2) AND (uses IS NULL OR used < uses)",
        )
        .bind(secret::hash(secret))
        .bind(now)
        .fetch_one(&self.pools.read)
        .await?;
        Ok(good > 0)
    }

    /// Answers the worker's name: the wished one, or with a number when another worker has it.
    pub(crate) async fn enrol(&self, token: &str, own: &str, name: &str) -> Result<String, StoreError> {
        let hash = secret::hash(own);
        let mut tx = self.begin().await?;
        let known: Option<String> = sqlx::query_scalar("SELECT name FROM workers WHERE secret_sha256 = $1")
            .bind(&hash)
            .fetch_optional(tx.conn())
            .await?;
        if let Some(name) = known {
            return Ok(name);
        }
        let removed: Option<(String, String)> =
            sqlx::query_as("SELECT name, removed_by FROM removed_workers WHERE secret_sha256 = $1")
                .bind(&hash)
                .fetch_optional(tx.conn())
                .await?;
        if let Some((name, by)) = removed {
            return Err(StoreError::Conflict(format!("the worker {name} was removed by {by}")));
        }
        let labels = use_up(&mut tx, token).await?;
        let name = add_worker(&mut tx, &hash, clean(name).as_ref(), &labels).await?;
        self.commit(tx).await?;
        Ok(name)
    }

    /// Forgets workers that were not seen since `before` and hold nothing, and enrolment tokens that ended before.
    pub(crate) async fn expire_workers(&self, before: Timestamp) -> Result<u64, StoreError> {
        let before = before.as_microsecond();
        let gone = sqlx::query(
            "DELETE FROM workers WHERE last_seen_at < $1 AND NOT EXISTS
             (SELECT 1 FROM attempts WHERE worker_id = workers.id AND lease_until IS NOT NULL)",
        )
        .bind(before)
        .execute(&self.pools.write)
        .await?;
        sqlx::query("DELETE FROM enrolments WHERE expires_at < $1")
            .bind(before)
            .execute(&self.pools.write)
            .await?;
        Ok(gone.rows_affected())
    }
}

/// One use less; answers the labels that it gives.
async fn use_up(tx: &mut Tx, token: &str) -> Result<String, StoreError> {
    let now = tx.now;
    let labels: Option<String> = sqlx::query_scalar(
        "UPDATE enrolments SET used = used + 1
         WHERE secret_sha256 = $1 AND (expires_at IS NULL OR expires_at > $2) AND (uses IS NULL OR used < uses)
         RETURNING labels",
    )
    .bind(secret::hash(token))
    .bind(now)
    .fetch_optional(tx.conn())
    .await?;
    labels.ok_or_else(|| StoreError::NotFound("enrolment token".to_owned()))
}

async fn add_worker(tx: &mut Tx, hash: &[u8], wished: &str, labels: &str) -> Result<String, StoreError> {
    let now = tx.now;
    for at in 1..=NAMESAKES {
        let name = if at == 1 { wished.to_owned() } else { format!("{wished}-{at}") };
        // Another one with a plain token may have the name as well, so the table's own rule is not enough.
        let added = sqlx::query(
            "INSERT INTO workers (token_id, name, labels, slots, version, sharing, last_seen_at, connected,
                                  secret_sha256, enrolled_labels)
             SELECT $1, $2, $3, 0, '', '', $4, false, $5, $3
             WHERE NOT EXISTS (SELECT 1 FROM workers WHERE name = $2)
             ON CONFLICT (token_id, name) DO NOTHING",
        )
        .bind(OWN)
        .bind(&name)
        .bind(labels)
        .bind(now)
        .bind(hash)
        .execute(tx.conn())
        .await?;
        if added.rows_affected() == 1 {
            return Ok(name);
        }
    }
    Err(StoreError::Conflict(format!(
        "there are too many workers named {wished}: give this one another name"
    )))
}
