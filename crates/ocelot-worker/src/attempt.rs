//! One attempt at a job, from the offer to the clean slot; also one that an earlier life of this worker began.
//!
//! Order matters at the end: logs acknowledged, rooms gone, result written down, result told, folder deleted. So
//! whenever the worker is killed, what is left says what remains to be done.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ocelot_api::proto;
use ocelot_model::Status;
use ocelot_model::pipeline::Job;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::board::{Stop, at_least};
use crate::chunk::Chunker;
use crate::connect::Client;
use crate::contact::Shared;
use crate::executor::{Executor, Place, Room};
use crate::folder::{Cancel, Current, Ended, Folder, Outcome, State, boot_ms, lease};
use crate::mask::Mask;
use crate::mirror::Mirrors;
use crate::plan::{self, Mood, Next, Planned};
use crate::pump::{Source, pump};
use crate::report::{self, Reporter};
use crate::secrets::Secrets;
use crate::ship::{Shipper, Stale};
use crate::watch::Health;

/// What all attempts of a worker use.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) executor: Executor,
    pub(crate) client: Client,
    pub(crate) mirrors: Mirrors,
    /// Keys of the hosts that were met over ssh.
    pub(crate) known_hosts: PathBuf,
    /// What jobs tell of this machine.
    pub(crate) health: Arc<Health>,
    /// Whether the attempts can still be this worker's.
    pub(crate) contact: Shared,
    /// Bytes of log that a stage may write.
    pub(crate) log_cap: u64,
}

/// An attempt to be worked on.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) folder: Folder,
    pub(crate) offer: proto::Offer,
    pub(crate) state: State,
    pub(crate) stop: watch::Receiver<Stop>,
    /// An earlier life of this worker has begun it.
    pub(crate) resumed: bool,
}

/// An attempt under way.
pub(crate) struct Attempt {
    pub(crate) shop: Arc<Shop>,
    pub(crate) folder: Folder,
    pub(crate) offer: proto::Offer,
    pub(crate) lease: proto::Lease,
    pub(crate) job: Job,
    pub(crate) plan: Vec<Planned>,
    pub(crate) secrets: Secrets,
    pub(crate) place: Place,
    pub(crate) state: State,
    pub(crate) stop: watch::Receiver<Stop>,
    pub(crate) rooms: BTreeMap<String, Room>,
    pub(crate) shipper: Shipper,
    pub(crate) reporter: Reporter,
    pumps: JoinSet<Result<(), Stale>>,
    /// Stages whose logs are on their way, or there.
    logs: Vec<i64>,
    /// An opening was broken off: there may be rooms that `rooms` does not have.
    pub(crate) unsure: bool,
}

/// Works on an attempt until nothing of it is left on this machine.
pub(crate) async fn work_on(shop: Arc<Shop>, start: Start) {
    let place = start.folder.place(&start.offer, start.state.slot);
    let (id, url) = (place.attempt, start.offer.clone_url.clone());
    tracing::info!(attempt = %id, repo = start.offer.repo, resumed = start.resumed, "attempt {id} begins");
    let mut word = start.stop.clone();
    let told = tokio::select! {
        biased;
        () = at_least(&mut word, Stop::Drop) => Err(Stale),
        told = whole(Arc::clone(&shop), start) => told,
    };
    if let Ok(outcome) = &told {
        tracing::info!(attempt = %id, "attempt {id} is {}", outcome.status);
    } else {
        tracing::info!(attempt = %id, "attempt {id} is not ours any more");
    }
    clean(&shop.executor, &place, told.is_err()).await;
    if told.is_ok() {
        shop.mirrors.tidy(&url).await;
    }
}

/// Deletes the folder; with `rooms`, looks for rooms that are still there and ends them first.
pub(crate) async fn clean(executor: &Executor, place: &Place, rooms: bool) {
    if rooms {
        close_found(executor, place).await;
    }
    if let Err(error) = executor.remove_place(place).await {
        let id = place.attempt;
        tracing::warn!(attempt = %id, "the folder of attempt {id} is left: {error}");
    }
}

async fn close_found(executor: &Executor, place: &Place) {
    let id = place.attempt;
    match executor.reattach(place).await {
        Ok(rooms) => {
            for room in rooms {
                if let Err(error) = room.close().await {
                    tracing::warn!(attempt = %id, "room {} of attempt {id} is left: {error}", room.name());
                }
            }
        }
        Err(error) => tracing::warn!(attempt = %id, "rooms of attempt {id} may be left: {error}"),
    }
}

/// Runs what is to be run and tells the server how it ended.
async fn whole(shop: Arc<Shop>, start: Start) -> Result<Outcome, Stale> {
    let resumed = start.resumed;
    let (client, lease) = (shop.client.clone(), lease(&start.offer));
    match Attempt::new(shop, start) {
        Ok(mut attempt) => {
            let shipper = attempt.shipper.clone();
            tokio::select! {
                biased;
                () = shipper.stale() => Err(Stale),
                told = attempt.go(resumed) => told,
            }
        }
        Err(reason) => {
            let outcome = Outcome { status: Status::Error, reason, infrastructure: false };
            let reporter = Reporter::start(client);
            reporter.finish(result(lease, &outcome, Vec::new())).await.map(|()| outcome)
        }
    }
}

impl Attempt {
    fn new(shop: Arc<Shop>, start: Start) -> Result<Attempt, String> {
        let Start { folder, offer, state, stop, resumed: _ } = start;
        let job: Job = serde_json::from_str(&offer.job_json).map_err(|error| {
            format!("this worker does not understand the job, it may be too old: {error}")
        })?;
        let plan = plan::plan(&job, &offer.stages, &offer.branch)?;
        Ok(Attempt {
            lease: lease(&offer),
            place: folder.place(&offer, state.slot),
            shipper: Shipper::start(shop.client.clone()),
            reporter: Reporter::start(shop.client.clone()),
            rooms: BTreeMap::new(),
            pumps: JoinSet::new(),
            logs: Vec::new(),
            unsure: false,
            secrets: Secrets::of(&offer),
            shop,
            folder,
            offer,
            job,
            plan,
            state,
            stop,
        })
    }

    async fn go(&mut self, resumed: bool) -> Result<Outcome, Stale> {
        if resumed {
            // Nothing new may begin before the server has said that the attempt is still ours.
            let report = self.report_of(self.setup_id());
            report::confirm(self.shop.client.clone(), report).await?;
        }
        let outcome = match self.state.result.clone() {
            Some(outcome) => outcome,
            None => self.run(resumed).await?,
        };
        let stages = self.offer.stages.iter().map(|stage| self.report_of(stage.id)).collect();
        self.reporter.finish(result(self.lease.clone(), &outcome, stages)).await?;
        Ok(outcome)
    }

    async fn run(&mut self, resumed: bool) -> Result<Outcome, Stale> {
        // Before anything is asked of them.
        let _held = self.shop.executor.hold_images(plan::images(&self.plan)).await;
        if resumed {
            self.take_up().await;
        }
        if !self.state.ended.contains_key(&self.setup_id()) {
            self.setup().await;
        }
        for index in 0..self.plan.len() {
            self.one(index).await?;
        }
        // The rooms hold what the server may still ask for, so they go last.
        self.all_logs().await?;
        self.close().await;
        let names = self.offer.stages.iter();
        let ended = names.filter_map(|stage| Some((stage.name.as_str(), self.state.ended.get(&stage.id)?)));
        let outcome = plan::outcome(ended);
        self.state.result = Some(outcome.clone());
        self.save();
        Ok(outcome)
    }

    /// Finds the rooms again, and sends the logs of what has ended once more: the server says what it has.
    async fn take_up(&mut self) {
        match self.shop.executor.reattach(&self.place).await {
            Ok(rooms) => self.rooms = rooms.into_iter().map(|room| (room.name().to_owned(), room)).collect(),
            Err(error) => {
                tracing::warn!(attempt = self.lease.attempt_id, "rooms cannot be found again: {error}");
            }
        }
        let ended: Vec<_> = self.state.ended.iter().map(|(id, ended)| (*id, ended.room.clone())).collect();
        for (id, room) in ended {
            if id == self.setup_id() {
                self.open_setup_log(None);
            } else if let Some(room) = room.and_then(|name| self.rooms.get(&name))
                && let Ok(Some(stage)) = room.stage(&id.to_string()).await
            {
                self.begin_log(id, Source::stage(stage));
            }
        }
    }

    /// Decides about the stage at `index` and runs it when it is to be run.
    async fn one(&mut self, index: usize) -> Result<(), Stale> {
        let planned = self.plan[index].clone();
        if self.state.ended.contains_key(&planned.id) {
            return Ok(());
        }
        let began = self.state.current.as_ref().is_some_and(|current| current.stage == planned.id);
        let level = self.stop_level();
        let setup = self.state.ended.get(&self.setup_id());
        let ready = setup.is_some_and(|setup| setup.status == Status::Passed);
        let mood = Mood::of(self.state.ended.values(), level);
        match plan::next(&planned, mood, ready) {
            // What runs already is ended by the stage's own rules.
            _ if began => self.stage(&planned, mood != Mood::Going).await,
            Next::Run => self.stage(&planned, false).await,
            Next::RunBriefly => self.stage(&planned, true).await,
            Next::Leave(status, reason) => {
                let left = Ended {
                    status,
                    exit_code: None,
                    duration_ms: 0,
                    reason,
                    room: None,
                    forgiven: false,
                    infrastructure: false,
                };
                self.end(planned.id, left);
                Ok(())
            }
        }
    }

    /// How much the attempt is to be stopped; remembered for a next life.
    pub(crate) fn stop_level(&mut self) -> Stop {
        let level = *self.stop.borrow();
        let cancel = match level {
            Stop::No => None,
            Stop::Gently => Some(Cancel::Gently),
            Stop::Force | Stop::Halt | Stop::Drop => Some(Cancel::Force),
        };
        if cancel.is_some() && cancel != self.state.cancel {
            self.state.cancel = cancel;
            self.save();
        }
        level
    }

    /// Id of the stage `setup`.
    pub(crate) fn setup_id(&self) -> i64 {
        self.offer.stages.first().map_or(0, |setup| setup.id)
    }

    /// Writes down that a stage begins, and tells the server.
    pub(crate) fn begin(&mut self, stage: i64, room: Option<&str>) {
        self.state.current = Some(Current { stage, room: room.map(str::to_owned), began_ms: boot_ms() });
        self.save();
        self.reporter.stage(self.report_of(stage));
    }

    /// Writes down how a stage ended, and tells the server.
    pub(crate) fn end(&mut self, stage: i64, ended: Ended) {
        // Reasons hold words of git, of registries and of the engine.
        let ended = Ended { reason: self.secrets.hide(ended.reason), ..ended };
        self.state.ended.insert(stage, ended);
        self.state.current = None;
        self.save();
        self.reporter.stage(self.report_of(stage));
    }

    /// A state that cannot be written matters only to a next life: the work goes on.
    pub(crate) fn save(&self) {
        if let Err(error) = self.folder.save(&self.state) {
            tracing::warn!(
                attempt = self.lease.attempt_id,
                "the state of an attempt cannot be written: {error}"
            );
        }
    }

    fn report_of(&self, stage_id: i64) -> proto::StageReport {
        let lease = Some(self.lease.clone());
        let Some(ended) = self.state.ended.get(&stage_id) else {
            let status = Status::Running.to_string();
            return proto::StageReport { lease, stage_id, status, ..proto::StageReport::default() };
        };
        proto::StageReport {
            lease,
            stage_id,
            status: ended.status.to_string(),
            exit_code: ended.exit_code,
            duration_ms: ended.duration_ms,
            reason: ended.reason.clone(),
        }
    }

    /// Starts to send a stage's log.
    pub(crate) fn begin_log(&mut self, stage: i64, source: Source) {
        let chunker = Chunker::new(self.lease.clone(), stage);
        self.logs.push(stage);
        let mask = Mask::new(match source {
            Source::Setup(_) => self.secrets.patterns(),
            Source::Stage { .. } => self.secrets.patterns_of_stages(),
        });
        self.pumps.spawn(pump(source, chunker, mask, self.shop.log_cap, self.shipper.clone()));
    }

    /// Waits until the server has every byte.
    async fn all_logs(&mut self) -> Result<(), Stale> {
        while let Some(pumped) = self.pumps.join_next().await {
            match pumped {
                Ok(pumped) => pumped?,
                // A bug: that log will never be complete, so waiting for it would be for ever.
                Err(error) => {
                    tracing::error!(attempt = self.lease.attempt_id, "sending a log failed: {error}");
                    return Err(Stale);
                }
            }
        }
        self.shipper.complete(&self.logs).await
    }

    /// Waits until the server has a stage's log, if it has one.
    pub(crate) async fn log_of(&self, stage: i64) -> Result<(), Stale> {
        let begun = self.logs.iter().copied().filter(|log| *log == stage);
        self.shipper.complete(&begun.collect::<Vec<_>>()).await
    }

    /// Ends all rooms.
    pub(crate) async fn close(&mut self) {
        for (name, room) in std::mem::take(&mut self.rooms) {
            if let Err(error) = room.close().await {
                tracing::warn!(attempt = self.lease.attempt_id, "room {name} did not end: {error}");
                self.unsure = true;
            }
        }
        if std::mem::take(&mut self.unsure) {
            close_found(&self.shop.executor, &self.place).await;
        }
    }
}

fn result(lease: proto::Lease, outcome: &Outcome, stages: Vec<proto::StageReport>) -> proto::AttemptResult {
    proto::AttemptResult {
        lease: Some(lease),
        status: outcome.status.to_string(),
        reason: outcome.reason.clone(),
        infrastructure: outcome.infrastructure,
        stages,
    }
}
