//! What a claim changes.

use std::collections::HashMap;

use ocelot_model::{AttemptId, StageId, Status};

use super::Tx;
use super::claim::{Chosen, MOST, OFFER_US, Round, Taken};
use crate::raw::{time, to_json};
use crate::wanted::Wanted;
use crate::{Build, Claimed, EventBody, StoreError, secret};

/// Writes claims down, in one call because a claim is what workers wait for.
pub(super) async fn write_down(
    tx: &mut Tx,
    wanted: &Wanted,
    chosen: Vec<Chosen>,
) -> Result<Round, StoreError> {
    let mut stages = mark_running(tx, wanted, &chosen).await?;
    let mut claimed = Vec::new();
    for Chosen { taker, taken } in chosen {
        let Taken { job, spec, lease, mut build, .. } = taken;
        let Some((worker, stages)) = stages.remove(&lease.attempt_id) else {
            return Ok(Round::Closed(taker.worker));
        };
        begin_build(tx, &mut build)?;
        let what = EventBody::Job {
            job,
            name: spec.name.clone(),
            status: Status::Running,
            attempt: lease.attempt,
            worker: Some(worker),
            reason: None,
        };
        tx.events.push((build.number, build.repo.id, what));
        claimed.push((taker.worker, Claimed { lease, build, job_id: job, spec, stages }));
    }
    Ok(Round::Claimed(claimed))
}

/// The build runs from its first job on.
fn begin_build(tx: &mut Tx, build: &mut Build) -> Result<(), StoreError> {
    if build.status == Status::Queued {
        tx.events.push((
            build.number,
            build.repo.id,
            EventBody::Build { status: Status::Running, reason: None },
        ));
    }
    build.status = Status::Running;
    build.started_at = build.started_at.or(Some(time(tx.now)?));
    Ok(())
}

/// The rows of these claims: `$1` says attempt, job, build, worker and token of each. That they are few is told to the
/// planner, which would otherwise rather read whole tables.
macro_rules! claims {
    () => {
        concat!(
            "(SELECT CAST(value ->> 0 AS BIGINT) AS attempt, CAST(value ->> 1 AS BIGINT) AS job,
                     CAST(value ->> 2 AS BIGINT) AS build, CAST(value ->> 3 AS BIGINT) AS worker, ",
            from_hex!("value ->> 4"),
            " AS token FROM ",
            elements!("$1"),
            " LIMIT 16)"
        )
    };
}

// None is cut off.
const _: () = assert!(MOST <= 16);

/// Answers the name of the worker and the stages of each attempt; of those nothing whose workers take no more.
///
/// A repository had its turn, in all its lines that this worker serves: whoever spreads jobs over many sets of labels
/// gets no more of a worker for it. Lines that only others serve keep their place.
async fn mark_running(tx: &mut Tx, wanted: &Wanted, chosen: &[Chosen]) -> Result<Marked, StoreError> {
    let mut claims = Vec::new();
    let mut turns = Vec::new();
    for (at, Chosen { taker, taken }) in chosen.iter().enumerate() {
        let (attempt, build) = (taken.lease.attempt_id.0, taken.build.number.0);
        claims.push((attempt, taken.job.0, build, taker.worker.0, secret::hex(&taken.lease.token)));
        let suiting = wanted.suiting(&taker.labels);
        turns.extend(suiting.map(|set| (taken.build.repo.id.0, set, at + 1)));
    }
    let rows: Vec<(i64, i64, String, String)> = sqlx::query_as(at_once!(
        concat!(
            "UPDATE queue_lines SET turn = t.most + t.further
             FROM (SELECT CAST(value ->> 0 AS BIGINT) AS repo, CAST(value ->> 1 AS BIGINT) AS set_of,
                          CAST(value ->> 2 AS BIGINT) AS further, (SELECT max(turn) FROM queue_lines) AS most FROM ",
            elements!("$2"),
            ") AS t WHERE repo_id = t.repo AND label_set = t.set_of"
        ),
        concat!("DELETE FROM queue WHERE job_id IN (SELECT job FROM ", claims!(), " AS c)"),
        concat!(
            "UPDATE attempts SET status = 'running', worker_id = c.worker, lease_token = c.token, lease_until = $3,
                                 worker = (SELECT name FROM workers w WHERE w.id = c.worker), accepted = false, started_at = $4
             FROM ",
            claims!(),
            " AS c WHERE id = c.attempt"
        ),
        concat!(
            "UPDATE jobs SET status = 'running', reason = NULL WHERE id IN (SELECT job FROM ",
            claims!(),
            " AS c)"
        ),
        concat!(
            "UPDATE builds SET status = 'running', started_at = coalesce(started_at, $4)
             WHERE number IN (SELECT build FROM ",
            claims!(),
            " AS c) AND (status <> 'running' OR started_at IS NULL)"
        ),
        concat!(
            "SELECT s.attempt_id, s.id, s.name, w.name FROM ",
            claims!(),
            " AS c JOIN stages s ON s.attempt_id = c.attempt
             JOIN workers w ON w.id = c.worker AND w.drained_by IS NULL AND NOT w.ending ORDER BY s.place"
        )
    ))
    .bind(to_json(&claims)?)
    .bind(to_json(&turns)?)
    .bind(tx.now + OFFER_US)
    .bind(tx.now)
    .fetch_all(tx.conn())
    .await?;
    let mut marked = Marked::new();
    for (attempt, stage, name, worker) in rows {
        let (_, stages) = marked.entry(AttemptId(attempt)).or_insert((worker, Vec::new()));
        stages.push((StageId(stage), name));
    }
    Ok(marked)
}

/// Of each attempt the name of its worker, and its stages.
type Marked = HashMap<AttemptId, (String, Vec<(StageId, String)>)>;
