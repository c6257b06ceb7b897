//! What earlier builds say about one: which lines of a failed log are new, since when a branch is broken, how long a build
//! takes as a rule. What is learned are numbers that stand for shapes of lines, and where new lines are; the words stay in
//! the log alone, so that who removes a log removes all of it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use ocelot_model::expect::{self, State};
use ocelot_model::novel::{self, NovelLine, Search, Shapes};
use ocelot_model::{StageId, Status};
use ocelot_store::{BrokenSince, Build, BuildDetail, Compared, Job, Stage, StoreError};
use tokio::sync::Notify;

use super::waiting::Picture;
use crate::App;

/// New lines that are kept of one log.
const LINES: usize = 20;
/// Stages of one build whose logs are spoken of.
const STAGES: usize = 10;
/// Bytes of a log that are read at once, and of one of its lines that are shown.
const PIECE: usize = 1 << 20;
const SHOWN: usize = 500;
/// Stages that wait to be looked at. More are passed over: what a passed run teaches the next one teaches too.
const DUE: usize = 10_000;
/// With more waiting jobs than this nobody works out when one of them begins.
const QUEUE: u64 = 5_000;

/// Stages that are over and were not looked at yet, in the order in which they ended.
#[derive(Debug, Clone, Default)]
pub struct Insights {
    due: Arc<Mutex<VecDeque<StageId>>>,
    wake: Arc<Notify>,
}

impl Insights {
    /// These are over.
    pub(crate) fn tell(&self, stages: impl IntoIterator<Item = StageId>) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let room = DUE.saturating_sub(due.len());
        due.extend(stages.into_iter().take(room));
        self.wake.notify_one();
    }

    /// The next one.
    pub(crate) async fn next(&self) -> StageId {
        loop {
            let next = self.due.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                Some(stage) => return stage,
                None => self.wake.notified().await,
            }
        }
    }
}

/// Learns from a stage that is over.
pub(crate) async fn look(app: &App, id: StageId) -> Result<(), StoreError> {
    let Some((build, stage)) = app.store.find_stage(id).await? else { return Ok(()) };
    match stage.status {
        // What comes from elsewhere teaches nothing: else a fork could make faults look usual.
        Status::Passed if build.trust.origin.is_trusted() => learn(app, id).await,
        status if is_bad(status) => compare(app, id).await.map(drop),
        _ => Ok(()),
    }
}

fn is_bad(status: Status) -> bool {
    matches!(status, Status::Failed | Status::TimedOut | Status::Error)
}

async fn learn(app: &App, id: StageId) -> Result<(), StoreError> {
    if let Some(shapes) = read(app, id, Shapes::default(), Shapes::feed).await? {
        app.store.learn_shapes(id, &shapes.finish()).await?;
    }
    Ok(())
}

/// What is new in the log of a failed stage, kept from the first time on; `None` while its log is not complete, or when it
/// was removed.
async fn compare(app: &App, id: StageId) -> Result<Option<Compared>, StoreError> {
    if let Some(known) = app.store.find_novel(id).await? {
        return Ok(Some(known));
    }
    let (known, with): (HashSet<u64>, u32) = app.store.known_shapes(id).await?;
    let Some(search) = read(app, id, Search::new(known), Search::feed).await? else { return Ok(None) };
    app.store.keep_novel(id, &search.finish(LINES), with).await?;
    // Another server may have been first.
    app.store.find_novel(id).await
}

/// Feeds a whole log to something, beside the threads that serve.
async fn read<T: Send + 'static>(
    app: &App,
    id: StageId,
    mut reader: T,
    feed: fn(&mut T, &[u8]),
) -> Result<Option<T>, StoreError> {
    let state = app.store.log_state(id).await?;
    if !state.complete || state.removed {
        return Ok(None);
    }
    let mut at = 0;
    while at < state.bytes {
        let data = app.store.read_log(id, at, PIECE).await?.data;
        if data.is_empty() {
            return Ok(None);
        }
        at += data.len() as u64;
        let fed = tokio::task::spawn_blocking(move || {
            feed(&mut reader, &data);
            reader
        });
        reader =
            fed.await.map_err(|error| StoreError::Corrupt(format!("a log cannot be looked at: {error}")))?;
    }
    Ok(Some(reader))
}

/// What is new in the log of one failed stage.
#[derive(Debug, Clone)]
pub(crate) struct NewLines {
    /// Its job, by name.
    pub(crate) job: String,
    pub(crate) stage: StageId,
    pub(crate) name: String,
    /// Passed runs that it was compared with.
    pub(crate) with: u32,
    /// New shapes in all.
    pub(crate) all: u64,
    /// Those that say most, with their words.
    pub(crate) lines: Vec<(NovelLine, String)>,
}

/// What is new in the logs of the failed stages of a build.
pub(crate) async fn new_lines(app: &App, detail: &BuildDetail) -> Result<Vec<NewLines>, StoreError> {
    let mut all = Vec::new();
    for (job, stage) in failed_stages(detail).take(STAGES) {
        let Some(Compared { novel, with }) = compare(app, stage.id).await? else { continue };
        // A log that was removed since has other words where they stood.
        if app.store.log_state(stage.id).await?.removed {
            continue;
        }
        let mut lines = Vec::with_capacity(novel.lines.len());
        for line in novel.lines {
            let words = words(app, stage.id, &line).await?;
            lines.push((line, words));
        }
        let (job, name) = (job.spec.name.clone(), stage.name.clone());
        all.push(NewLines { job, stage: stage.id, name, with, all: novel.all, lines });
    }
    Ok(all)
}

/// Of the newest attempts.
fn failed_stages(detail: &BuildDetail) -> impl Iterator<Item = (&Job, &Stage)> {
    let newest = detail.jobs.iter().filter_map(|job| Some((job, job.attempts.last()?)));
    let over = newest.filter(|(_, attempt)| attempt.status.is_terminal());
    over.flat_map(|(job, attempt)| attempt.stages.iter().map(move |stage| (job, stage)))
        .filter(|(_, stage)| is_bad(stage.status) && stage.log_bytes > 0)
}

/// The beginning of a line.
async fn words(app: &App, id: StageId, line: &NovelLine) -> Result<String, StoreError> {
    let data = app.store.read_log(id, line.offset, 4 * SHOWN).await?.data;
    let end = memchr::memchr(b'\n', &data).unwrap_or(data.len());
    Ok(novel::text(&data[..end]).chars().take(SHOWN).collect())
}

/// Since when its branch is broken; not asked of a build that passed.
pub(crate) async fn broken_since(app: &App, build: &Build) -> Result<Option<BrokenSince>, StoreError> {
    if build.status == Status::Passed { Ok(None) } else { app.store.broken_since(build.number).await }
}

/// How long a build takes as a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    /// From its first job's start to its last job's end.
    pub(crate) ms: i64,
    /// When it may be over; `None` when that hangs on something other than time.
    pub(crate) at: Option<Timestamp>,
}

/// For a build that is not over; `None` when its jobs have not passed before.
pub(crate) async fn expected(app: &App, detail: &BuildDetail) -> Result<Option<Expected>, StoreError> {
    let build = &detail.build;
    if build.status.is_terminal() {
        return Ok(None);
    }
    let usual = usual(app, build, &detail.jobs).await?;
    let all = |job: &Job| match job.status {
        Status::Skipped => State::Over,
        _ => State::Waits(0),
    };
    let Some(ms) = expect::remaining(&times(&detail.jobs, all), &usual) else { return Ok(None) };
    let now = app.store.now().await?;
    let middle = expect::median(&usual.values().copied().collect::<Vec<_>>()).unwrap_or(0);
    let left = match waits(app, detail, middle).await? {
        None => None,
        Some(waits) => {
            let state = |job: &Job| match job.status {
                Status::Running => State::Runs(running_for(job, now)),
                status if status.is_terminal() => State::Over,
                _ => State::Waits(waits.get(&job.spec.name).copied().unwrap_or(0)),
            };
            expect::remaining(&times(&detail.jobs, state), &usual)
        }
    };
    let at = left.and_then(|left| now.checked_add(jiff::SignedDuration::from_millis(left)).ok());
    Ok(Some(Expected { ms, at }))
}

fn times<'a>(jobs: &'a [Job], state: impl Fn(&Job) -> State) -> Vec<expect::Job<'a>> {
    let one = |job: &'a Job| expect::Job { name: &job.spec.name, needs: &job.spec.needs, state: state(job) };
    jobs.iter().map(one).collect()
}

/// The middle of what each job took on this branch; of what it took anywhere, when it never passed here.
async fn usual(app: &App, build: &Build, jobs: &[Job]) -> Result<BTreeMap<String, i64>, StoreError> {
    let mut times = app.store.usual_times(build.repo.id, Some(&build.branch)).await?;
    if jobs.iter().any(|job| !times.contains_key(&job.spec.name)) {
        for (name, more) in app.store.usual_times(build.repo.id, None).await? {
            times.entry(name).or_insert(more);
        }
    }
    Ok(times.into_iter().filter_map(|(name, times)| Some((name, expect::median(&times)?))).collect())
}

fn running_for(job: &Job, now: Timestamp) -> i64 {
    let stages = job.attempts.last().map(|attempt| &attempt.stages[..]).unwrap_or_default();
    let began = stages.iter().filter_map(|stage| stage.started_at).min();
    began.map_or(0, |began| now.duration_since(began).as_millis() as i64)
}

/// How long each of its waiting jobs waits for a worker; `None` when one of them waits for something that no clock knows.
async fn waits(
    app: &App,
    detail: &BuildDetail,
    usual: i64,
) -> Result<Option<BTreeMap<String, i64>>, StoreError> {
    let mut waits = BTreeMap::new();
    if detail.jobs.iter().any(|job| job.status == Status::Blocked) {
        return Ok(None);
    }
    if detail.jobs.iter().all(|job| job.status != Status::Queued) {
        return Ok(Some(waits));
    }
    if app.store.queue_depth().await? > QUEUE {
        return Ok(None);
    }
    let mut picture = Picture::load(app).await?;
    let number = detail.build.number;
    let own = (0..picture.queue.len()).filter(|at| picture.queue[*at].ticket.build == number);
    for (at, job) in picture.spoken_of(app, own).await? {
        // What needs another job waits for that one first.
        if !job.needs.is_empty() {
            continue;
        }
        let Some(ms) = picture.wait_ms(at, &job, usual) else { return Ok(None) };
        waits.insert(job.job, ms);
    }
    Ok(Some(waits))
}
