//! Webhooks: taken in once, handed to one server at a time, and settled.

use std::time::Duration;

use ocelot_model::delivery::Part;
use ocelot_model::{AuditAction, DeliveryId, DeliveryState, RepoId};
use sha2::{Digest as _, Sha256};

use super::{Core, Tx, reconcile};
use crate::raw::{clean, read, us};
use crate::{Delivery, NewDelivery, PartId, StoreError, TakenDelivery, Told, Turn, Wake, secret};

/// Copies of one event come within this time.
const COPIES: Duration = Duration::from_mins(10);
/// A stored body; what is larger was refused.
const BODY_MAX: usize = 32 << 20;
const LEVEL: i32 = 3;

/// A part of an earlier or later delivery that tells the same (`$1` repository, `$2` key, `$3` delivery, `$4` earliest and
/// `$5` latest time). What came between, and moved the branch to where this one says it was before (`$6`, `$7`), makes it
/// another event: there and back and there again.
macro_rules! copy_of {
    ($states:literal) => {
        concat!(
            "SELECT c.delivery, c.build FROM delivery_parts c
             WHERE c.repo_id = $1 AND c.natural_key = $2 AND c.delivery <> $3 AND c.received_at BETWEEN $4 AND $5
               AND c.state IN (",
            $states,
            ") AND NOT EXISTS (
                   SELECT 1 FROM delivery_parts m
                   WHERE m.repo_id = $1 AND m.subject_key = $6 AND m.after_id = $7
                     AND m.delivery > (CASE WHEN c.delivery < $3 THEN c.delivery ELSE $3 END)
                     AND m.delivery < (CASE WHEN c.delivery < $3 THEN $3 ELSE c.delivery END))
             ORDER BY c.delivery LIMIT 1"
        )
    };
}

impl Core {
    /// The delivery as it is stored, and whether it is new.
    pub(crate) async fn take_in(&self, new: &NewDelivery<'_>) -> Result<(Delivery, bool), StoreError> {
        self.take_in_during(new, None).await
    }

    /// The same of what a look found, while it has its turn.
    pub(crate) async fn take_in_found(
        &self,
        new: &NewDelivery<'_>,
        turn: Turn,
    ) -> Result<Delivery, StoreError> {
        Ok(self.take_in_during(new, Some(turn)).await?.0)
    }

    async fn take_in_during(
        &self,
        new: &NewDelivery<'_>,
        look: Option<Turn>,
    ) -> Result<(Delivery, bool), StoreError> {
        let body = zstd::bulk::compress(new.body, LEVEL)
            .map_err(|error| StoreError::Corrupt(format!("a webhook cannot be compressed: {error}")))?;
        let hash = Sha256::digest(new.body);
        let mut tx = self.begin().await?;
        if let Some(turn) = look {
            reconcile::still(&mut tx, turn).await?;
        }
        let (id, is_new) = match insert(&mut tx, new, &clean(new.remote_id), &body, new.told).await? {
            Some(id) => (id, true),
            None => self.seen(&mut tx, new, &body, &hash).await?,
        };
        if is_new && let Ok(parts) = new.told {
            if let Some(repo) = new.repo {
                if new.hook.is_none() {
                    reconcile::begin(&mut tx, repo).await?;
                }
                insert_parts(&mut tx, id, repo, parts).await?;
            }
            settle_copy(&mut tx, id).await?;
            tx.wake(Wake::Deliveries);
        }
        self.commit(tx).await?;
        let delivery = self.find_delivery(DeliveryId(id)).await?;
        Ok((delivery.ok_or_else(|| missing(DeliveryId(id)))?, is_new))
    }

    /// The forge used this name before: for the same, or for something else, which is written down too.
    async fn seen(
        &self,
        tx: &mut Tx,
        new: &NewDelivery<'_>,
        body: &[u8],
        hash: &[u8],
    ) -> Result<(i64, bool), StoreError> {
        let name = clean(new.remote_id);
        let (first, same): (i64, bool) =
            sqlx::query_as("SELECT id, sha256 = $3 FROM deliveries WHERE forge_id = $1 AND remote_id = $2")
                .bind(new.forge.0)
                .bind(&name)
                .bind(hash)
                .fetch_one(tx.conn())
                .await?;
        if same {
            return Ok((first, false));
        }
        let words = format!("delivery {first} has the same name and another body: this one builds nothing");
        let other = format!("{name} ({})", secret::hex(&hash[..6]));
        let told = Err((DeliveryState::Conflict, words.clone()));
        match insert(tx, new, &other, body, &told).await? {
            Some(id) => {
                let forge: String = sqlx::query_scalar("SELECT name FROM forges WHERE id = $1")
                    .bind(new.forge.0)
                    .fetch_one(tx.conn())
                    .await?;
                let who = format!("forge {forge}");
                tx.note(&who, AuditAction::WebhookRefused, &format!("delivery {id}"), &words).await?;
                Ok((id, true))
            }
            None => {
                let id =
                    sqlx::query_scalar("SELECT id FROM deliveries WHERE forge_id = $1 AND remote_id = $2")
                        .bind(new.forge.0)
                        .bind(&other)
                        .fetch_one(tx.conn())
                        .await?;
                Ok((id, false))
            }
        }
    }

    /// The next delivery that nobody is at; of a repository only one at a time, in the order in which they came.
    pub(crate) async fn take_delivery(&self, lease: Duration) -> Result<Option<TakenDelivery>, StoreError> {
        let now = self.now().await?;
        let due: Option<i64> = sqlx::query_scalar(
            "SELECT id FROM deliveries WHERE state = 'waiting' AND not_before <= $1 AND leased_until <= $1 LIMIT 1",
        )
        .bind(now)
        .fetch_optional(&self.pools.read)
        .await?;
        if due.is_none() {
            return Ok(None);
        }
        let mut tx = self.begin().await?;
        let now = tx.now;
        // Who takes one is alone: two servers must not be at one repository. Which ones somebody is at is asked once, and not
        // for each delivery that waits: there may be thousands.
        sqlx::query(
            "INSERT INTO settings (key, value) VALUES ('deliveries', '') ON CONFLICT (key)
             DO UPDATE SET value = settings.value",
        )
        .execute(tx.conn())
        .await?;
        let taken: Option<(i64, Vec<u8>, i64)> = sqlx::query_as(
            "UPDATE deliveries SET leased_until = $1, tries = tries + 1
             WHERE id = (SELECT d.id FROM deliveries d
                         WHERE d.state = 'waiting' AND d.not_before <= $2 AND d.leased_until <= $2
                           AND (d.repo_id IS NULL OR d.repo_id NOT IN (
                               SELECT o.repo_id FROM deliveries o
                               WHERE o.state = 'waiting' AND o.leased_until > $2 AND o.repo_id IS NOT NULL))
                         ORDER BY d.id LIMIT 1)
             RETURNING id, body, since",
        )
        .bind(now + us(lease))
        .bind(now)
        .fetch_optional(tx.conn())
        .await?;
        self.commit(tx).await?;
        let Some((id, body, since)) = taken else { return Ok(None) };
        let body = unpack(&body)?;
        let delivery = self.find_delivery(DeliveryId(id)).await?;
        Ok(delivery.map(|delivery| TakenDelivery { delivery, body, tried_for_us: (now - since).max(0) }))
    }

    /// Still at it.
    pub(crate) async fn keep_delivery(&self, id: DeliveryId, lease: Duration) -> Result<(), StoreError> {
        let now = self.now().await?;
        sqlx::query("UPDATE deliveries SET leased_until = $1 WHERE id = $2 AND state = 'waiting'")
            .bind(now + us(lease))
            .bind(id.0)
            .execute(&self.pools.write)
            .await?;
        Ok(())
    }

    /// Not now: it is tried again after a while.
    pub(crate) async fn put_off_delivery(
        &self,
        id: DeliveryId,
        delay: Duration,
        why: &str,
    ) -> Result<(), StoreError> {
        let now = self.now().await?;
        sqlx::query(
            "UPDATE deliveries SET leased_until = 0, not_before = $1, outcome = $2 WHERE id = $3 AND state = 'waiting'",
        )
        .bind(now + us(delay))
        .bind(clean(why))
        .bind(id.0)
        .execute(&self.pools.write)
        .await?;
        Ok(())
    }

    /// What a delivery tells of which nothing was understood before.
    pub(crate) async fn tell(
        &self,
        id: DeliveryId,
        repo: Option<RepoId>,
        told: &Told,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let parts: i64 = sqlx::query_scalar("SELECT count(*) FROM delivery_parts WHERE delivery = $1")
            .bind(id.0)
            .fetch_one(tx.conn())
            .await?;
        if parts > 0 {
            return Ok(());
        }
        let (state, outcome) = begin(told);
        let now = tx.now;
        sqlx::query(
            "UPDATE deliveries SET repo_id = $1, state = $2, outcome = $3, tries = 0, since = $4, not_before = 0 WHERE id = $5",
        )
        .bind(repo.map(|repo| repo.0))
        .bind(state.as_str())
        .bind(clean(outcome))
        .bind(now)
        .bind(id.0)
        .execute(tx.conn())
        .await?;
        if let (Ok(parts), Some(repo)) = (told, repo) {
            insert_parts(&mut tx, id.0, repo, parts).await?;
            settle_copy(&mut tx, id.0).await?;
            tx.wake(Wake::Deliveries);
        }
        self.commit(tx).await
    }

    /// What became of a part. One that is settled stays as it is.
    pub(crate) async fn settle_part(
        &self,
        part: PartId,
        state: DeliveryState,
        outcome: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        settle(&mut tx, part, state, outcome, None).await?;
        self.commit(tx).await
    }
}

pub(super) fn missing(id: DeliveryId) -> StoreError {
    StoreError::NotFound(format!("delivery {id}"))
}

pub(super) fn unpack(body: &[u8]) -> Result<Vec<u8>, StoreError> {
    zstd::bulk::decompress(body, BODY_MAX)
        .map_err(|error| StoreError::Corrupt(format!("the body of a delivery: {error}")))
}

fn begin(told: &Told) -> (DeliveryState, &str) {
    match told {
        Ok(_) => (DeliveryState::Waiting, ""),
        Err((state, words)) => (*state, words.as_str()),
    }
}

/// `None` when the forge used this name before.
async fn insert(
    tx: &mut Tx,
    new: &NewDelivery<'_>,
    remote_id: &str,
    body: &[u8],
    told: &Told,
) -> Result<Option<i64>, StoreError> {
    let (state, outcome) = begin(told);
    let now = tx.now;
    let handled = (state != DeliveryState::Waiting).then_some(now);
    Ok(sqlx::query_scalar(
        "INSERT INTO deliveries (forge_id, repo_id, hook_id, remote_id, event, body, sha256, received_at, since, state,
                                 outcome, handled_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, $11) ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(new.forge.0)
    .bind(new.repo.map(|repo| repo.0))
    .bind(new.hook)
    .bind(remote_id)
    .bind(clean(new.event))
    .bind(body)
    .bind(&Sha256::digest(new.body)[..])
    .bind(now)
    .bind(state.as_str())
    .bind(clean(outcome))
    .bind(handled)
    .fetch_optional(tx.conn())
    .await?)
}

async fn insert_parts(tx: &mut Tx, id: i64, repo: RepoId, parts: &[Part]) -> Result<(), StoreError> {
    let now = tx.now;
    for (place, part) in parts.iter().enumerate() {
        sqlx::query(
            "INSERT INTO delivery_parts (delivery, place, repo_id, kind, subject, subject_key, natural_key, before_id,
                                         after_id, target, received_at, state, outcome)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'waiting', '')",
        )
        .bind(id)
        .bind(place as i64)
        .bind(repo.0)
        .bind(part.kind.as_str())
        .bind(clean(&part.subject))
        .bind(hashed(&part.subject))
        .bind(hashed(&part.key()))
        .bind(&part.before)
        .bind(&part.after)
        .bind(part.target.as_deref().map(clean))
        .bind(now)
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}

pub(super) fn hashed(text: &str) -> String {
    secret::hex(&Sha256::digest(text)[..16])
}

/// What is needed of a part to look for copies of it.
#[derive(sqlx::FromRow)]
pub(super) struct PartRow {
    pub(super) repo_id: i64,
    pub(super) kind: String,
    pub(super) subject_key: String,
    natural_key: String,
    before_id: Option<String>,
    /// The branch that a pull request goes to.
    pub(super) target: Option<String>,
    received_at: i64,
    pub(super) state: String,
    /// Not the forge told of it, but Ocelot found it there.
    pub(super) found: bool,
}

pub(super) async fn load_part(tx: &mut Tx, part: PartId) -> Result<PartRow, StoreError> {
    let row: Option<PartRow> = sqlx::query_as(concat!(
        "SELECT repo_id, kind, subject_key, natural_key, before_id, target, received_at, state,
                EXISTS (SELECT 1 FROM deliveries WHERE id = $1 AND hook_id = 'reconcile') AS found
         FROM delivery_parts WHERE delivery = $1 AND place = $2",
        for_update!()
    ))
    .bind(part.delivery.0)
    .bind(i64::from(part.place))
    .fetch_optional(tx.conn())
    .await?;
    row.ok_or_else(|| missing(part.delivery))
}

/// Another delivery that told the same, and its build.
pub(super) async fn find_copy(
    tx: &mut Tx,
    part: PartId,
    row: &PartRow,
    may_wait: bool,
) -> Result<Option<(i64, Option<i64>)>, StoreError> {
    let sql = if may_wait {
        copy_of!("'waiting', 'built', 'skipped', 'superseded', 'refused', 'ignored'")
    } else {
        copy_of!("'built', 'skipped', 'superseded', 'refused', 'ignored'")
    };
    Ok(sqlx::query_as(sql)
        .bind(row.repo_id)
        .bind(&row.natural_key)
        .bind(part.delivery.0)
        .bind(row.received_at - us(COPIES))
        .bind(row.received_at + us(COPIES))
        .bind(&row.subject_key)
        .bind(&row.before_id)
        .fetch_optional(tx.conn())
        .await?)
}

/// A delivery of one part that tells what an earlier one told is over at once, so that its sender hears so.
async fn settle_copy(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    let parts: i64 = sqlx::query_scalar("SELECT count(*) FROM delivery_parts WHERE delivery = $1")
        .bind(id)
        .fetch_one(tx.conn())
        .await?;
    if parts != 1 {
        return Ok(());
    }
    let part = PartId { delivery: DeliveryId(id), place: 0 };
    let row = load_part(tx, part).await?;
    if let Some((first, build)) = find_copy(tx, part, &row, true).await? {
        settle(tx, part, DeliveryState::Duplicate, &duplicate(first), build).await?;
    }
    Ok(())
}

pub(super) fn duplicate(first: i64) -> String {
    format!("duplicate of delivery {first}")
}

/// Writes what became of a part, and of the delivery when it was the last one. False when it was settled before.
pub(super) async fn settle(
    tx: &mut Tx,
    part: PartId,
    state: DeliveryState,
    outcome: &str,
    build: Option<i64>,
) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE delivery_parts SET state = $1, outcome = $2, build = $3
         WHERE delivery = $4 AND place = $5 AND state = 'waiting'",
    )
    .bind(state.as_str())
    .bind(clean(outcome))
    .bind(build)
    .bind(part.delivery.0)
    .bind(i64::from(part.place))
    .execute(tx.conn())
    .await?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    let all: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT subject, state, outcome FROM delivery_parts WHERE delivery = $1 ORDER BY place",
    )
    .bind(part.delivery.0)
    .fetch_all(tx.conn())
    .await?;
    let states = all.iter().map(|(_, state, _)| read::<DeliveryState>(state));
    let whole = DeliveryState::of_all(states.collect::<Result<Vec<_>, _>>()?);
    if whole == DeliveryState::Waiting {
        return Ok(true);
    }
    let words = match &all[..] {
        [(_, _, words)] => words.clone(),
        several => {
            several.iter().map(|(what, _, words)| format!("{what}: {words}")).collect::<Vec<_>>().join("; ")
        }
    };
    let now = tx.now;
    sqlx::query(
        "UPDATE deliveries SET state = $1, outcome = $2, handled_at = $3, leased_until = 0 WHERE id = $4",
    )
    .bind(whole.as_str())
    .bind(words)
    .bind(now)
    .bind(part.delivery.0)
    .execute(tx.conn())
    .await?;
    Ok(true)
}
