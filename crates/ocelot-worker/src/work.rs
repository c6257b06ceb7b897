//! A worker's whole life: find what an earlier life left, hold a session, work, drain.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ocelot_api::proto::{self, Welcome};
use ocelot_model::id::{AttemptId, JobId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::attempt::{Shop, Start, clean, work_on};
use crate::board::{Board, Stop};
use crate::config::{Config, ExecutorKind};
use crate::connect;
use crate::contact::Shared;
use crate::error::WorkerError;
use crate::executor::{DockerConfig, Executor, ExecutorError, HostConfig, Place, Sharing};
use crate::folder::{Cancel, Folder, State, lease};
use crate::identity::{self, Identity};
use crate::keep::{Keeper, sweep};
use crate::mirror::Mirrors;
use crate::session::{Session, keep};
use crate::watch::{Health, Watch};

/// Leftovers are looked for this often.
const SWEEP: Duration = Duration::from_mins(10);
/// From the start to the first look whether networks are apart; then as often as for leftovers.
const WALLS: Duration = Duration::from_mins(1);

/// Attempts of an earlier life wait so long for an engine.
const ENGINE_AWAY: Duration = Duration::from_mins(2);
/// Longest that a worker without a server takes to end what it still has.
const LAST: Duration = Duration::from_mins(1);

/// How a worker is told to end.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Takes no new jobs; ends when those that run have ended.
    pub drain: CancellationToken,
    /// Cancels those that run as well.
    pub cancel: CancellationToken,
}

impl From<CancellationToken> for Shutdown {
    fn from(drain: CancellationToken) -> Shutdown {
        Shutdown { drain, cancel: CancellationToken::new() }
    }
}

/// Works until told to end, and returns when the last job has. Fails when there is no executor, when the folder
/// cannot be used, and when the server refuses the token.
pub async fn work(config: Config, shutdown: impl Into<Shutdown>) -> Result<(), WorkerError> {
    let shutdown = shutdown.into();
    let config = Config { data: prepare(&config)?, ..config };
    let identity = identity::of(&config.data, &config.token)
        .map_err(WorkerError::io("cannot use the file with the worker's identity"))?
        .ok_or(WorkerError::NoToken)?;
    let board = Arc::new(Board::new(config.slots));
    let (whole, torn) =
        Folder::list(&config.jobs()).map_err(WorkerError::io("cannot read the folder of jobs"))?;
    if !whole.is_empty() && !identity::is_as_before(&config.data, &identity) {
        return Err(WorkerError::AnotherToken(config.jobs().display().to_string()));
    }
    let old = whole.into_iter().map(|(folder, offer, state)| seat(&board, folder, offer, state)).collect();

    let (starts, inbox) = mpsc::unbounded_channel();
    let welcome = watch::Sender::new(None);
    // With Docker the first job finds out.
    let sharing = watch::Sender::new(match config.executor {
        ExecutorKind::Host => "host".to_owned(),
        ExecutorKind::Docker => String::new(),
    });
    let contact = Shared::new();
    let session = Session {
        config: config.clone(),
        identity: identity.clone(),
        process: identity::process().map_err(WorkerError::io("cannot read /dev/urandom"))?,
        board: Arc::clone(&board),
        starts,
        welcome: welcome.clone(),
        sharing: sharing.subscribe(),
        contact: contact.clone(),
    };
    let end = CancellationToken::new();
    let _end = end.clone().drop_guard();
    let mut session = thread(session, end)?;
    let shutdown = Shutdown { drain: shutdown.drain.child_token(), cancel: shutdown.cancel };
    let worker = Worker {
        config,
        identity,
        board: Arc::clone(&board),
        health: Arc::default(),
        contact,
        shutdown: shutdown.clone(),
        sharing,
    };
    let mut live = pin!(worker.live(old, torn, inbox, welcome.subscribe()));
    let refused = tokio::select! {
        biased;
        refused = &mut session => refused.map_err(|_| stopped()).flatten(),
        done = &mut live => return done,
    };
    if welcome.borrow().is_none() {
        // Nothing was begun, and what an earlier life began is as it was.
        return refused;
    }
    // Others are given what runs here, so it must not go on.
    shutdown.drain.cancel();
    board.stop_all(Stop::Drop);
    if tokio::time::timeout(LAST, live).await.is_err() {
        tracing::warn!("not everything of the last jobs could be ended in time");
    }
    refused
}

struct Worker {
    config: Config,
    identity: Identity,
    board: Arc<Board>,
    health: Arc<Health>,
    contact: Shared,
    shutdown: Shutdown,
    sharing: watch::Sender<String>,
}

impl Worker {
    async fn live(
        &self,
        old: Vec<Start>,
        torn: Vec<PathBuf>,
        mut inbox: mpsc::UnboundedReceiver<Start>,
        mut welcome: watch::Receiver<Option<Welcome>>,
    ) -> Result<(), WorkerError> {
        // What an earlier life began is touched only when the server has taken us in: it may have been given to others, and
        // with a wrong token it would be lost.
        let instance = tokio::select! {
            instance = self.instance(&mut welcome) => instance?,
            () = self.shutdown.drain.cancelled() => return Ok(()),
        };
        identity::remember(&self.config.data, &self.identity)
            .map_err(WorkerError::io("cannot write to the worker's folder"))?;
        let watch = Watch {
            board: Arc::clone(&self.board),
            health: Arc::clone(&self.health),
            data: self.config.data.clone(),
            min_free: self.config.min_free,
            every: self.config.look,
        };
        let Some(executor) = self.wait_for_executor(&instance, &watch).await? else { return Ok(()) };
        // Before the first job is welcome.
        watch.look(&executor).await;
        let _watching = AbortOnDropHandle::new(tokio::spawn(watch.keep_looking(executor.clone())));
        let _telling =
            AbortOnDropHandle::new(tokio::spawn(tell_sharing(executor.clone(), self.sharing.clone())));
        sweep(&executor, &self.board).await;
        if let Err(error) = executor.get_ready(self.config.slots, &self.config.jobs()).await {
            // The first job tries again, and says what is wrong where people look.
            tracing::warn!("the Docker Engine cannot be prepared yet: {error}");
        }
        for path in torn {
            discard(&executor, path).await;
        }
        let shop = Arc::new(Shop {
            executor: executor.clone(),
            client: connect::client(&self.config, &self.identity.secret)?,
            mirrors: Mirrors::new(self.config.data.join("mirrors")),
            known_hosts: self.config.data.join("known_hosts"),
            health: Arc::clone(&self.health),
            contact: self.contact.clone(),
            log_cap: self.config.log_cap_bytes,
        });
        let keeper = Keeper {
            shop: Arc::clone(&shop),
            board: Arc::clone(&self.board),
            health: Arc::clone(&self.health),
            config: self.config.clone(),
        };
        let _keeping = AbortOnDropHandle::new(tokio::spawn(keeper.keep_order()));
        let mut attempts = JoinSet::new();
        for start in old {
            self.begin(&mut attempts, &shop, start);
        }
        self.board.open();
        self.serve(&shop, &mut attempts, &mut inbox).await;
        if let Err(error) = executor.leave().await {
            tracing::warn!("something of the worker is left on the engine: {error}");
        }
        Ok(())
    }

    /// Works on what comes until drained.
    async fn serve(
        &self,
        shop: &Arc<Shop>,
        attempts: &mut JoinSet<()>,
        inbox: &mut mpsc::UnboundedReceiver<Start>,
    ) {
        let mut sweeps = tokio::time::interval(SWEEP);
        sweeps.reset();
        let mut walls = tokio::time::interval_at(tokio::time::Instant::now() + WALLS, SWEEP);
        let mut looks = JoinSet::new();
        let (mut draining, mut cancelled) = (false, false);
        loop {
            tokio::select! {
                Some(start) = inbox.recv() => self.begin(attempts, shop, start),
                Some(_) = attempts.join_next() => {}
                Some(_) = looks.join_next() => {}
                // Nothing begins before it is done.
                _ = sweeps.tick() => sweep(&shop.executor, &self.board).await,
                _ = walls.tick() => drop(looks.spawn(look_at_walls(shop.executor.clone()))),
                () = self.shutdown.drain.cancelled(), if !draining => {
                    draining = true;
                    self.board.close();
                    tracing::info!(jobs = self.board.attempts().len(), "no new jobs; the worker ends when those that run have");
                }
                () = self.shutdown.cancel.cancelled(), if !cancelled => {
                    (draining, cancelled) = (true, true);
                    self.board.close();
                    self.board.stop_all(Stop::Halt);
                }
                () = self.board.idle(), if draining => break,
            }
        }
        // What it has started is removed by itself, within seconds.
        while looks.join_next().await.is_some() {}
    }

    fn begin(&self, attempts: &mut JoinSet<()>, shop: &Arc<Shop>, start: Start) {
        let (slot, board) = (start.state.slot, Arc::clone(&self.board));
        let free = Release { slot, board };
        let shop = Arc::clone(shop);
        attempts.spawn(async move {
            let health = Arc::clone(&shop.health);
            work_on(shop, start).await;
            drop(free);
            health.attempt_left();
        });
    }

    /// What the server calls itself on labels: as in an earlier life, else as in its greeting, which is waited for.
    async fn instance(&self, welcome: &mut watch::Receiver<Option<Welcome>>) -> Result<String, WorkerError> {
        let Ok(greeting) = welcome.wait_for(Option::is_some).await else { return Err(stopped()) };
        let instance = greeting.as_ref().map(|welcome| welcome.instance.clone()).unwrap_or_default();
        let path = self.config.data.join("instance");
        if let Ok(known) = fs::read_to_string(&path)
            && !known.is_empty()
        {
            return Ok(known);
        }
        fs::write(path, &instance).map_err(WorkerError::io("cannot write to the worker's folder"))?;
        Ok(instance)
    }

    /// The executor, as soon as there is one; `None` when the worker is to end before that. Attempts of an earlier life are
    /// given up when it takes long: nothing watches over them.
    async fn wait_for_executor(
        &self,
        instance: &str,
        watch: &Watch,
    ) -> Result<Option<Executor>, WorkerError> {
        let begin = tokio::time::Instant::now();
        loop {
            let error = match self.executor(instance.to_owned()).await {
                Err(WorkerError::Executor(error @ ExecutorError::NoEngine(_))) => error,
                done => return done.map(Some),
            };
            watch.no_executor(&error.to_string());
            if begin.elapsed() > ENGINE_AWAY && !self.board.holding().is_empty() {
                let given_up = self.board.stop_all(Stop::Drop);
                tracing::error!("there is no Docker Engine for too long: {given_up} attempts are given up");
            }
            tokio::select! {
                () = tokio::time::sleep(self.config.look) => {}
                () = self.shutdown.drain.cancelled() => return Ok(None),
            }
        }
    }

    async fn executor(&self, instance: String) -> Result<Executor, WorkerError> {
        Ok(match self.config.executor {
            ExecutorKind::Docker => {
                let docker_host = self.config.docker_host.clone();
                let name = name_on_engine(&self.config.data, &self.config.name)
                    .map_err(WorkerError::io("cannot write to the worker's folder"))?;
                let images = Some(self.config.data.join("images"));
                let config = DockerConfig { docker_host, images, ..DockerConfig::new(instance, name) };
                Executor::docker(config).await?
            }
            ExecutorKind::Host => Executor::host(HostConfig { data: self.config.data.clone() })?,
        })
    }
}

/// Tells the session how files reach the engine, as soon as it is known.
async fn tell_sharing(executor: Executor, session: watch::Sender<String>) {
    let Executor::Docker(docker) = executor else { return };
    let mut known = docker.sharing();
    while let Ok(sharing) = known.wait_for(Option::is_some).await.map(|sharing| sharing.clone()) {
        let words = match sharing {
            Some(Sharing::Same) => "same-paths",
            Some(Sharing::Mapped { .. }) => "own-mounts",
            Some(Sharing::None) => "archive",
            None => "",
        };
        session.send_if_modified(|known| std::mem::replace(known, words.to_owned()) != words);
        if known.changed().await.is_err() {
            return;
        }
    }
}

async fn look_at_walls(executor: Executor) {
    if let Err(error) = executor.look_at_walls().await {
        tracing::warn!("whether jobs can reach each other is not known: {error}");
    }
}

/// Frees the slot when the attempt's work ends, in whatever way.
struct Release {
    slot: u32,
    board: Arc<Board>,
}

impl Drop for Release {
    fn drop(&mut self) {
        self.board.release(self.slot);
    }
}

/// Makes the worker's folders. Answers the absolute path of its own.
fn prepare(config: &Config) -> Result<PathBuf, WorkerError> {
    let unusable = || WorkerError::io(format!("cannot use the worker's folder {}", config.data.display()));
    fs::create_dir_all(config.jobs()).map_err(unusable())?;
    fs::canonicalize(&config.data).map_err(unusable())
}

/// The worker in labels and names on its engine: one per folder, or two workers of one name would end each other's
/// containers and put their jobs on one network.
fn name_on_engine(data: &Path, name: &str) -> std::io::Result<String> {
    let path = data.join("engine-name");
    if let Ok(known) = fs::read_to_string(&path)
        && !known.is_empty()
    {
        return Ok(known);
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).take(40).collect();
    let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
    let name = format!("{name}-{:08x}", random as u32);
    fs::write(path, &name)?;
    Ok(name)
}

/// Takes the slot of an attempt that an earlier life has begun.
fn seat(board: &Board, folder: Folder, offer: proto::Offer, state: State) -> Start {
    let level = match state.cancel {
        None => Stop::No,
        Some(Cancel::Gently) => Stop::Gently,
        Some(Cancel::Force) => Stop::Force,
    };
    let stop = board.seat(state.slot, lease(&offer), level);
    Start { folder, offer, state, stop, resumed: true }
}

/// Removes what looks like an attempt's folder but is not gone on with.
pub(crate) async fn discard(executor: &Executor, path: PathBuf) {
    let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    let Some(id) = id else {
        if let Err(error) = crate::folder::remove_if_there(&path) {
            tracing::warn!("{} is left: {error}", path.display());
        }
        return;
    };
    let place = Place { folder: path, job: JobId(0), attempt: AttemptId(id), slot: 0 };
    clean(executor, &place, true).await;
}

/// Runs the session on a thread and a runtime of its own. The answer comes when it ends by itself.
fn thread(
    session: Session,
    end: CancellationToken,
) -> Result<tokio::sync::oneshot::Receiver<Result<(), WorkerError>>, WorkerError> {
    let (done, answer) = tokio::sync::oneshot::channel();
    let unable = || WorkerError::io("cannot start the session's thread");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unable())?;
    let work = move || {
        // Nobody waits for the answer when the worker has ended.
        let _ = done.send(runtime.block_on(keep(session, end)));
    };
    std::thread::Builder::new().name("session".into()).spawn(work).map_err(unable())?;
    Ok(answer)
}

fn stopped() -> WorkerError {
    WorkerError::io("the session")(std::io::Error::other("its thread ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_of_one_name_are_two_on_their_engine() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = name_on_engine(one.path(), "my büro/1").unwrap();
        assert!(first.starts_with("my-b-ro-1-"), "{first}");
        assert_eq!(name_on_engine(one.path(), "renamed").unwrap(), first);
        assert_ne!(name_on_engine(other.path(), "my büro/1").unwrap(), first);
    }
}
