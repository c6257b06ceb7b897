//! Free workers take the first jobs that they may have, several in one transaction: what makes a claim dear is not its
//! rows but its commit and the calls around it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use ocelot_model::pipeline::Job as JobSpec;
use ocelot_model::{AttemptId, JobId, Status, WorkerId};

use super::super::CLAIM;
use super::claimed::write_down;
use super::{Conn, Core, Tx};
use crate::raw::{self, BuildRow, from_json, read, to_json};
use crate::wanted::{Choose, Free, Next, Wanted};
use crate::{Build, Claimed, Lease, StoreError, secret};

/// How long an offer stands before it counts as refused.
pub(super) const OFFER_US: i64 = 30_000_000;
/// Claims of one transaction at most: so many jobs wait for [`OFFER_US`] when the server dies before it has offered them.
pub(super) const MOST: usize = 16;

/// A job that waits, with all that its claim must know.
#[derive(sqlx::FromRow)]
struct First {
    now: i64,
    since: i64,
    job_id: i64,
    spec: String,
    job_status: String,
    attempt: i64,
    attempt_id: i64,
    attempt_status: String,
    #[sqlx(flatten)]
    build: BuildRow,
}

/// The same, understood.
pub(super) struct Taken {
    pub(super) job: JobId,
    pub(super) spec: JobSpec,
    /// What a worker must have; more than the file asks for when the commit may be anyone's.
    labels: BTreeMap<String, String>,
    pub(super) lease: Lease,
    pub(super) build: Build,
    waited: Duration,
}

/// What a transaction goes by while it claims.
struct Search<'a> {
    wanted: &'a Wanted,
    /// Who asks first stands in front.
    free: VecDeque<Free>,
    choose: Choose<'a>,
    /// Repositories that get nothing now.
    passed: Vec<i64>,
}

/// Who gets it.
pub(super) struct Chosen {
    pub(super) taker: Free,
    pub(super) taken: Taken,
}

/// What came of a transaction.
pub(super) enum Round {
    Claimed(Vec<(WorkerId, Claimed)>),
    /// This worker takes no more, or is gone; nothing was changed.
    Closed(WorkerId),
}

/// How the choice goes among the lines of the suiting sets (`$1`) without these repositories (`$2`): the repository whose
/// turn it is, then of its lines the one with its most urgent job. Reads a few rows of an index per set, however many
/// jobs wait.
macro_rules! next_line {
    () => {
        concat!(
            "WITH clock AS (SELECT ",
            now_us!(),
            " AS now), suiting AS (
                 SELECT s.id FROM label_sets s
                 WHERE NOT EXISTS (SELECT 1 FROM settings WHERE key = 'paused') AND s.id IN ",
            ids!("$1"),
            "), heads AS (
                 SELECT s.id AS label_set, (
                     SELECT l.repo_id FROM queue_lines l
                     WHERE l.label_set = s.id AND l.waiting > 0 AND l.repo_id NOT IN ",
            ids!("$2"),
            "          AND EXISTS (SELECT 1 FROM queue q WHERE q.label_set = l.label_set AND q.repo_id = l.repo_id
                                      AND q.ready AND q.not_before <= (SELECT now FROM clock))
                     ORDER BY l.turn, l.repo_id LIMIT 1) AS repo_id
                 FROM suiting s
             ), next AS (
                 SELECT l.repo_id FROM heads h
                 JOIN queue_lines l ON l.label_set = h.label_set AND l.repo_id = h.repo_id
                 ORDER BY l.turn, l.repo_id LIMIT 1
             ), firsts AS (
                 SELECT (SELECT q.job_id FROM queue q
                         WHERE q.label_set = s.id AND q.repo_id = n.repo_id AND q.ready
                               AND q.not_before <= (SELECT now FROM clock)
                         ORDER BY q.priority DESC, q.build, q.job_id LIMIT 1) AS job_id
                 FROM suiting s CROSS JOIN next n
             ), line AS (
                 SELECT q.label_set, q.repo_id FROM firsts f JOIN queue q ON q.job_id = f.job_id
                 ORDER BY q.priority DESC, q.build, q.job_id LIMIT 1
             ) "
        )
    };
}

/// That line's first job that no other transaction has its hand on, locked; with its build, which is locked as said. Nothing
/// is read of the build's other jobs, of which there may be many.
macro_rules! first_job {
    ($lock:expr) => {
        concat!(
            next_line!(),
            "SELECT c.now, coalesce(w.ready_at, w.queued_at) AS since, j.id AS job_id, j.spec, j.status AS job_status,
                    j.attempt, a.id AS attempt_id, a.status AS attempt_status, ",
            build_columns!(),
            " FROM jobs j CROSS JOIN clock c JOIN queue w ON w.job_id = j.id
              JOIN attempts a ON a.job_id = j.id AND a.number = j.attempt
              JOIN builds b ON b.number = j.build JOIN repos r ON r.id = b.repo_id JOIN forges f ON f.id = r.forge_id
              WHERE (NOT b.needs_approval OR b.approved_by IS NOT NULL)
                    AND (NOT j.needs_approval OR j.approved_by IS NOT NULL) AND j.id = (
                  SELECT q.job_id FROM queue q
                  WHERE q.label_set = (SELECT label_set FROM line) AND q.repo_id = (SELECT repo_id FROM line)
                        AND q.ready AND q.not_before <= (SELECT now FROM clock)
                  ORDER BY q.priority DESC, q.build, q.job_id LIMIT 1",
            skip_locked!(),
            ")",
            $lock
        )
    };
}

impl Core {
    pub(crate) async fn claim(&self, worker: WorkerId) -> Result<Option<Claimed>, StoreError> {
        let labels: Option<String> = sqlx::query_scalar("SELECT labels FROM workers WHERE id = $1")
            .bind(worker.0)
            .fetch_optional(&self.pools.read)
            .await?;
        let labels = labels.ok_or_else(|| StoreError::NotFound(format!("worker {worker}")))?;
        let free = [Free { worker, labels: raw::labels(&labels)?.into(), slots: 1 }];
        let claimed = self.claim_for(&free, &|_, _| Some(0)).await?;
        Ok(claimed.into_iter().next().map(|(_, claimed)| claimed))
    }

    pub(crate) async fn claim_for(
        &self,
        free: &[Free],
        choose: Choose<'_>,
    ) -> Result<Vec<(WorkerId, Claimed)>, StoreError> {
        // Most workers find nothing, and that takes no transaction.
        let wanted = self.wanted().await?;
        let mut free: VecDeque<Free> = free.iter().filter(|it| wanted.suits(&it.labels)).cloned().collect();
        loop {
            if free.is_empty() {
                return Ok(Vec::new());
            }
            let search = Search { wanted: &wanted, free: free.clone(), choose, passed: Vec::new() };
            match self.claim_round(search).await? {
                Round::Claimed(claimed) => return Ok(claimed),
                Round::Closed(worker) => free.retain(|it| it.worker != worker),
            }
        }
    }

    async fn claim_round(&self, mut search: Search<'_>) -> Result<Round, StoreError> {
        let mut tx = Tx::new(self.pools.write.begin_with(CLAIM).await?, 0);
        let mut claimed = Vec::new();
        let mut repos = MOST;
        while claimed.len() < MOST
            && let Some(asked) = search.free.front()
        {
            let labels = asked.labels.clone();
            let further = !claimed.is_empty();
            let chosen = self.pick(&mut tx, &mut search, repos.min(MOST - claimed.len()), further).await?;
            if chosen.is_empty() {
                if further {
                    // Nothing, or other hands are on it: the next transaction may wait for them.
                    break;
                }
                search.free.retain(|other| other.labels != labels);
                search.passed.clear();
                continue;
            }
            // As a rule no others have anything: to look for more of them would find nothing.
            repos = chosen.len();
            match write_down(&mut tx, search.wanted, chosen).await? {
                Round::Claimed(more) => claimed.extend(more),
                closed @ Round::Closed(_) => return Ok(closed),
            }
        }
        if !claimed.is_empty() {
            self.commit(tx).await?;
        }
        Ok(Round::Claimed(claimed))
    }

    /// Who gets what: at most so many jobs, each of another repository, so that nothing of it needs to be written down before
    /// the last one is chosen.
    async fn pick(
        &self,
        tx: &mut Tx,
        search: &mut Search<'_>,
        at_most: usize,
        further: bool,
    ) -> Result<Vec<Chosen>, StoreError> {
        let Search { wanted, free, choose, passed } = search;
        let mut chosen: Vec<Chosen> = Vec::new();
        while chosen.len() < at_most
            && let Some(asked) = free.front()
        {
            let suiting = to_json(&wanted.suiting(&asked.labels).collect::<Vec<_>>())?;
            let further = further || !chosen.is_empty();
            let Some(taken) = self.first(tx, &suiting, passed, further).await? else { break };
            passed.push(taken.build.repo.id.0);
            let Some(at) = choose(&taken.next(), free.make_contiguous()) else { continue };
            // Whoever asked suits in any case.
            let at = if free.get(at).is_some_and(|it| it.has(&taken.labels)) { at } else { 0 };
            let Some(mut taker) = free.remove(at) else { break };
            chosen.push(Chosen { taker: taker.clone(), taken });
            taker.slots -= 1;
            if taker.slots > 0 {
                free.push_back(taker);
            }
        }
        // After this turn they may have another one.
        passed.retain(|repo| chosen.iter().all(|it| it.taken.build.repo.id.0 != *repo));
        Ok(chosen)
    }

    /// The first job in these label sets, of another repository than those that are passed over. Those that have nothing
    /// now become more: they run as many jobs as they may, or others have their hands on what they have.
    async fn first(
        &self,
        tx: &mut Tx,
        suiting: &str,
        passed: &mut Vec<i64>,
        further: bool,
    ) -> Result<Option<Taken>, StoreError> {
        passed.extend(self.full_repos(tx.conn()).await?);
        loop {
            let Some(first) = lock_first(tx.conn(), suiting, passed, further).await? else {
                let next = if further { None } else { next_repo(tx.conn(), suiting, passed).await? };
                let Some(repo) = next else { return Ok(None) };
                passed.push(repo);
                continue;
            };
            tx.now = first.now;
            let (job, repo) = (first.job_id, first.build.repo_id());
            match first.understand() {
                Ok(taken) => return Ok(Some(taken)),
                // One job must not stand in the way of all others.
                Err(error) => {
                    tracing::error!(%error, job, "a job cannot be claimed");
                    passed.push(repo);
                }
            }
        }
    }

    /// Repositories that run as many jobs as they may.
    async fn full_repos(&self, conn: &mut Conn) -> Result<Vec<i64>, StoreError> {
        let most = self.jobs_per_repo.load(Ordering::Relaxed);
        if most == 0 {
            return Ok(Vec::new());
        }
        let full = "SELECT b.repo_id FROM attempts a JOIN builds b ON b.number = a.build
                    WHERE a.lease_until IS NOT NULL GROUP BY b.repo_id HAVING count(*) >= $1";
        Ok(sqlx::query_scalar(full).bind(i64::from(most)).fetch_all(conn).await?)
    }
}

impl First {
    fn understand(self) -> Result<Taken, StoreError> {
        let job = JobId(self.job_id);
        for status in [&self.job_status, &self.attempt_status] {
            if read::<Status>(status)? != Status::Queued {
                return Err(StoreError::Corrupt(format!("job {job} waits but is {status}")));
            }
        }
        let build = self.build.into_build()?;
        if !build.trust.may_start() {
            return Err(StoreError::Corrupt(format!(
                "job {job} waits for a worker, and nobody approved of it"
            )));
        }
        let token = secret::random::<16>().to_vec();
        let spec: JobSpec = from_json(&self.spec)?;
        Ok(Taken {
            job,
            labels: build.trust.origin.labels(&spec),
            spec,
            lease: Lease { attempt_id: AttemptId(self.attempt_id), attempt: self.attempt as u32, token },
            build,
            waited: Duration::from_micros((self.now - self.since).max(0) as u64),
        })
    }
}

impl Taken {
    fn next(&self) -> Next<'_> {
        Next {
            clone_url: &self.build.repo.clone_url,
            image: self.spec.image.as_deref(),
            labels: &self.labels,
            waited: self.waited,
        }
    }
}

/// `further`: this transaction has claimed already, and does not wait for a build that another one has locked.
async fn lock_first(
    conn: &mut Conn,
    suiting: &str,
    passed: &[i64],
    further: bool,
) -> Result<Option<First>, StoreError> {
    let (wait, skip) =
        (first_job!(for_no_key_update_of_build!()), first_job!(for_no_key_update_of_build_skip_locked!()));
    let query = sqlx::query_as(if further { skip } else { wait });
    Ok(query.bind(suiting).bind(to_json(passed)?).fetch_optional(conn).await?)
}

/// The repository whose turn it is.
async fn next_repo(conn: &mut Conn, suiting: &str, passed: &[i64]) -> Result<Option<i64>, StoreError> {
    let query = sqlx::query_scalar(concat!(next_line!(), "SELECT repo_id FROM line"));
    Ok(query.bind(suiting).bind(to_json(passed)?).fetch_optional(conn).await?)
}
