//! A build out of a webhook: build and outcome are written together, so that however often the webhook is worked on, and
//! on however many servers, it makes one build.

use ocelot_model::build::{Change, Happening};
use ocelot_model::delivery::PartKind;
use ocelot_model::event::RefName;
use ocelot_model::{BuildNumber, DeliveryState, RepoId};

use super::advance::advance_in;
use super::deliveries::{PartRow, duplicate, find_copy, load_part, settle};
use super::{Core, Tx, create, passes, repos};
use crate::raw::clean;
use crate::{Arrived, Cause, NewBuild, StoreError};

impl Core {
    /// Makes the build, unless another delivery or another part has made it.
    pub(crate) async fn arrive(&self, new: &NewBuild, cause: &Cause) -> Result<Arrived, StoreError> {
        let mut tx = self.begin().await?;
        lock_repo(&mut tx, new.repo).await?;
        let row = load_part(&mut tx, cause.part).await?;
        if row.state != DeliveryState::Waiting.as_str() {
            return Ok(Arrived::Settled(crate::raw::read(&row.state)?, String::new()));
        }
        if let Some((state, words, build)) = existing(&mut tx, new, cause, &row).await? {
            settle(&mut tx, cause.part, state, &words, build).await?;
            self.commit(tx).await?;
            return Ok(Arrived::Settled(state, words));
        }
        let number = create::insert(&mut tx, new).await?;
        settle(&mut tx, cause.part, DeliveryState::Built, &format!("build {number}"), Some(number.0)).await?;
        let superseded = if cause.supersedes { supersede(&mut tx, new, number).await? } else { Vec::new() };
        self.commit(tx).await?;
        let detail = self.find_build_detail(number).await?;
        let detail = detail.ok_or_else(|| StoreError::NotFound(format!("build {number}")))?;
        Ok(Arrived::Made { build: Box::new(detail), superseded })
    }

    /// Builds of this branch or tag that webhooks made, of which nothing has begun, and that nobody has cancelled yet.
    pub(crate) async fn waiting_builds(
        &self,
        repo: RepoId,
        of: &RefName,
    ) -> Result<Vec<BuildNumber>, StoreError> {
        let (RefName::Branch(name) | RefName::Tag(name)) = of;
        let numbers: Vec<i64> = sqlx::query_scalar(
            "SELECT number FROM builds
             WHERE repo_id = $1 AND branch = $2 AND (tag IS NOT NULL) = $3 AND trusted AND cancel_requested_at IS NULL
               AND event IN ('push', 'pull_request', 'tag') AND status IN ('blocked', 'queued')
             ORDER BY number",
        )
        .bind(repo.0)
        .bind(clean(name))
        .bind(matches!(of, RefName::Tag(_)))
        .fetch_all(&self.pools.read)
        .await?;
        Ok(numbers.into_iter().map(BuildNumber).collect())
    }
}

/// Cancels the older builds of the same branch, tag or pull request that webhooks made and that are not over. Of a pull request
/// from elsewhere the branch's name says nothing.
async fn supersede(
    tx: &mut Tx,
    new: &NewBuild,
    number: BuildNumber,
) -> Result<Vec<(BuildNumber, Vec<Change>)>, StoreError> {
    let request = new.pull_request.filter(|_| !new.trust.origin.is_trusted()).unwrap_or(0);
    let older: Vec<i64> = sqlx::query_scalar(
        "SELECT number FROM builds
         WHERE repo_id = $1 AND ((branch = $2 AND (tag IS NOT NULL) = $5 AND trusted AND $3 = 0) OR (pull_request = $3 AND NOT trusted))
           AND number < $4 AND cancel_requested_at IS NULL AND event IN ('push', 'pull_request', 'tag')
           AND status IN ('blocked', 'queued', 'running')
         ORDER BY number",
    )
    .bind(new.repo.0)
    .bind(clean(&new.branch))
    .bind(request as i64)
    .bind(number.0)
    .bind(new.tag.is_some())
    .fetch_all(tx.conn())
    .await?;
    let mut all = Vec::with_capacity(older.len());
    for old in older.into_iter().map(BuildNumber) {
        let what = Happening::CancelRequested { reason: format!("superseded by build {number}") };
        match advance_in(tx, old, what).await {
            Ok(changes) => all.push((old, changes)),
            // It has just ended.
            Err(StoreError::Stale) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// What is decided about a repository's arrivals is decided one after the other.
async fn lock_repo(tx: &mut Tx, repo: RepoId) -> Result<(), StoreError> {
    let there: Option<i64> = sqlx::query_scalar(concat!(
        "SELECT id FROM repos WHERE id = $1 AND NOT removing",
        for_no_key_update!()
    ))
    .bind(repo.0)
    .fetch_optional(tx.conn())
    .await?;
    there.map(drop).ok_or_else(|| repos::missing(repo))
}

type Found = (DeliveryState, String, Option<i64>);

/// Why there is no need of a further build.
async fn existing(
    tx: &mut Tx,
    new: &NewBuild,
    cause: &Cause,
    row: &PartRow,
) -> Result<Option<Found>, StoreError> {
    if let Some((first, build)) = find_copy(tx, cause.part, row, false).await? {
        return Ok(Some((DeliveryState::Duplicate, duplicate(first), build)));
    }
    if let Some(number) = twin(tx, new, cause, row).await? {
        if let Some(request) = new.pull_request {
            sqlx::query("UPDATE builds SET pull_request = $1 WHERE number = $2")
                .bind(request as i64)
                .bind(number)
                .execute(tx.conn())
                .await?;
        }
        if row.kind == PartKind::Push.as_str() {
            // Its commit is what the branch holds now: builds may follow it.
            sqlx::query("UPDATE builds SET of_branch = true WHERE number = $1")
                .bind(number)
                .execute(tx.conn())
                .await?;
            passes::note(tx, BuildNumber(number)).await?;
        }
        let words = format!("build {number}, which is of the same commit");
        return Ok(Some((DeliveryState::Built, words, Some(number))));
    }
    if cause.supersedes
        && let Some(number) = newer(tx, cause, row).await?
    {
        let words = format!("superseded by build {number}, which a later delivery made");
        return Ok(Some((DeliveryState::Superseded, words, None)));
    }
    Ok(None)
}

/// The build that the other of two events made: a push to a branch and the pull request from there tell of the same commit.
async fn twin(tx: &mut Tx, new: &NewBuild, cause: &Cause, row: &PartRow) -> Result<Option<i64>, StoreError> {
    if row.kind == PartKind::Tag.as_str() {
        return Ok(None);
    }
    if row.kind == PartKind::Push.as_str() {
        if row.found {
            return of_branch(tx, new).await;
        }
        return match asked_for(tx, new).await? {
            None => found_before(tx, new, row).await,
            asked => Ok(asked),
        };
    }
    let pushed = if new.trust.origin.is_trusted() { pushed(tx, new).await? } else { None };
    match (pushed, new.pull_request) {
        (None, Some(request)) if cause.again_is_same => latest_of(tx, new, request, row, true).await,
        // It was found open again; the webhook that says so may have overtaken it.
        (None, Some(request)) if row.found => latest_of(tx, new, request, row, false).await,
        (None, Some(_)) => found_before(tx, new, row).await,
        (found, _) => Ok(found),
    }
}

/// Any build of the branch's commit.
async fn of_branch(tx: &mut Tx, new: &NewBuild) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT number FROM builds WHERE repo_id = $1 AND branch = $2 AND commit_id = $3 AND trusted
         ORDER BY number DESC LIMIT 1",
    )
    .bind(new.repo.0)
    .bind(clean(&new.branch))
    .bind(&new.commit)
    .fetch_optional(tx.conn())
    .await?)
}

/// The build of what Ocelot found before the forge told of it, unless the forge has told of it already or something else
/// was built there since.
async fn found_before(tx: &mut Tx, new: &NewBuild, row: &PartRow) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT b.number FROM builds b JOIN delivery_parts f ON f.build = b.number
         WHERE b.repo_id = $1 AND b.commit_id = $2 AND f.repo_id = $1 AND f.subject_key = $3
           AND COALESCE(f.target, $4, '') = COALESCE($4, '')
           AND EXISTS (SELECT 1 FROM deliveries WHERE id = f.delivery AND hook_id = 'reconcile')
           AND NOT EXISTS (SELECT 1 FROM delivery_parts p JOIN deliveries d ON d.id = p.delivery
                           WHERE p.repo_id = $1 AND p.subject_key = $3 AND p.build >= b.number
                             AND (p.build > b.number OR COALESCE(d.hook_id, '') <> 'reconcile'))
         ORDER BY b.number DESC LIMIT 1",
    )
    .bind(new.repo.0)
    .bind(&new.commit)
    .bind(&row.subject_key)
    .bind(row.target.as_deref())
    .fetch_optional(tx.conn())
    .await?)
}

/// The build that the push of a pull request's commit made, unless the pull request has come already.
async fn pushed(tx: &mut Tx, new: &NewBuild) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT number FROM builds b
         WHERE repo_id = $1 AND branch = $2 AND commit_id = $3 AND event = 'push' AND pull_request IS NULL AND trusted
           AND NOT EXISTS (SELECT 1 FROM delivery_parts p WHERE p.build = b.number AND p.kind <> 'push')
         ORDER BY number DESC LIMIT 1",
    )
    .bind(new.repo.0)
    .bind(clean(&new.branch))
    .bind(&new.commit)
    .fetch_optional(tx.conn())
    .await?)
}

/// The build of a pull request or merge queue of the pushed commit, unless its push has come already.
async fn asked_for(tx: &mut Tx, new: &NewBuild) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT number FROM builds b
         WHERE repo_id = $1 AND branch = $2 AND commit_id = $3 AND event = 'pull_request' AND trusted
           AND NOT EXISTS (SELECT 1 FROM delivery_parts p WHERE p.build = b.number AND p.kind = 'push')
         ORDER BY number DESC LIMIT 1",
    )
    .bind(new.repo.0)
    .bind(clean(&new.branch))
    .bind(&new.commit)
    .fetch_optional(tx.conn())
    .await?)
}

/// The newest build of the pull request, when it is of this very commit and the pull request went to the same branch when it
/// was last built; with `ended` unset only one that is not over.
async fn latest_of(
    tx: &mut Tx,
    new: &NewBuild,
    request: u64,
    row: &PartRow,
    ended: bool,
) -> Result<Option<i64>, StoreError> {
    let latest: Option<(i64, String, bool, Option<String>)> = sqlx::query_as(
        "SELECT number, commit_id, finished_at IS NULL,
                (SELECT target FROM delivery_parts WHERE repo_id = $1 AND subject_key = $3 AND build IS NOT NULL
                 ORDER BY delivery DESC LIMIT 1)
         FROM builds WHERE repo_id = $1 AND pull_request = $2 ORDER BY number DESC LIMIT 1",
    )
    .bind(new.repo.0)
    .bind(request as i64)
    .bind(&row.subject_key)
    .fetch_optional(tx.conn())
    .await?;
    let is_same = |(_, commit, is_open, target): &(i64, String, bool, Option<String>)| {
        *commit == new.commit && (ended || *is_open) && (target.is_none() || *target == row.target)
    };
    Ok(latest.filter(is_same).map(|(number, ..)| number))
}

/// A build that a later delivery of the same branch or pull request made.
async fn newer(tx: &mut Tx, cause: &Cause, row: &PartRow) -> Result<Option<i64>, StoreError> {
    let found: Option<Option<i64>> = sqlx::query_scalar(
        "SELECT max(build) FROM delivery_parts WHERE repo_id = $1 AND subject_key = $2 AND delivery > $3",
    )
    .bind(row.repo_id)
    .bind(&row.subject_key)
    .bind(cause.part.delivery.0)
    .fetch_optional(tx.conn())
    .await?;
    Ok(found.flatten())
}
