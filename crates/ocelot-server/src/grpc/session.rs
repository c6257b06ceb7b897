//! One connected worker: hello, heartbeats, answers to offers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ocelot_api::proto::from_server::Message as Down;
use ocelot_api::proto::from_worker::Message as Up;
use ocelot_api::proto::{Beat, FromServer, FromWorker, Heartbeat, Lease as ProtoLease, Welcome};
use ocelot_model::{AttemptId, WorkerId, duration};
use ocelot_store::{Held, Identity, Lease, Standing, StoreError};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::dispatch::{after_refusal, give_back};
use super::fleet::{Outbox, send};
use super::stock::Stock;
use super::{hello, refusal};
use crate::App;
use crate::builds::fence::{fence, take_back};

/// The first message must come within this time.
const HELLO: Duration = Duration::from_secs(10);
/// Messages that wait for a worker at most.
const OUTBOX: usize = 256;

/// A worker's side of the stream as it is told.
pub(super) type Told = mpsc::Receiver<Box<Result<FromServer, Status>>>;

struct Session {
    app: App,
    /// What it came with.
    identity: Identity,
    worker: WorkerId,
    name: String,
    /// Which process of the worker it is, if that said so.
    process: String,
    number: u64,
    outbox: Outbox,
    /// It takes no more jobs, as it said.
    ending: AtomicBool,
    /// It was told something since the server's last beat.
    spoke: AtomicBool,
}

/// What was before this stream.
struct Before {
    /// What the worker says that it holds.
    holding: Vec<ProtoLease>,
    /// Offers that another stream of it left unanswered.
    unanswered: Vec<Lease>,
    /// What the store says that it holds.
    held: Vec<Held>,
}

/// Why a stream ended.
enum End {
    /// The worker may well be gone.
    Left(String),
    /// It will be back, or is, or must be waited for.
    Back(String),
}

/// Greets a worker and goes on with it in the background.
pub(super) async fn begin(
    app: App,
    identity: Identity,
    mut heard: Streaming<FromWorker>,
) -> Result<Told, Status> {
    let first = timeout(HELLO, heard.message()).await;
    let Some(FromWorker { message: Some(Up::Hello(hello)) }) =
        first.map_err(|_| Status::deadline_exceeded("no hello within 10 s"))??
    else {
        return Err(Status::invalid_argument("the first message must be a hello"));
    };
    let protocol = hello::check(&hello)?;
    let greeting = hello::greeting(identity, &hello);
    let worker = app.store.worker_hello(&greeting).await.map_err(|error| {
        if matches!(error, StoreError::Conflict(_)) {
            tracing::warn!(name = hello.name, "a worker was refused: {error}");
        }
        refusal(&error)
    })?;
    let standing = app.store.worker_standing(worker, identity).await.map_err(|e| refusal(&e))?;
    let Standing::Good { name, labels, drained, followed, .. } = standing else {
        return Err(super::auth::unknown());
    };
    // Before it can be offered anything new.
    let held = app.store.held_by_worker(worker).await.map_err(|e| refusal(&e))?;
    let (outbox, told) = mpsc::channel(OUTBOX);
    let welcome = Welcome {
        worker_id: worker.0,
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol,
        instance: app.store.instance().to_owned(),
        lease_hard_limit_ms: u32::try_from(app.config.lease_hard_limit.as_millis()).unwrap_or(u32::MAX),
        name: name.clone(),
    };
    send(&outbox, Down::Welcome(welcome));
    let mut stock = Stock::default();
    stock.set_mirrors(hello.mirrors.map(|it| it.names).unwrap_or_default());
    let seat = app.fleet.sit(worker, Arc::new(labels), greeting.slots, stock, outbox.clone());
    app.fleet.close(worker, seat.session, drained);
    if followed {
        // Another process may be at another server. Here its session is over already.
        app.store.look_at_worker(worker).await.map_err(|e| refusal(&e))?;
    }
    let well = greeting.condition.as_ref().is_none_or(|condition| condition.unwell.is_none());
    app.fleet.set_well(worker, seat.session, well);
    tracing::info!(%worker, name, slots = hello.slots, version = hello.version, "worker connected");
    let (number, ending, spoke) = (seat.session, AtomicBool::new(false), AtomicBool::new(false));
    let process = greeting.process;
    let session = Session { app, identity, worker, name, process, number, outbox, ending, spoke };
    // One that was connected here may be another process of the same name, or its own stream that has not ended yet:
    // what it holds is left to its lease.
    let held = if seat.again { Vec::new() } else { held };
    let before = Before { holding: hello.holding, unanswered: seat.unanswered, held };
    tokio::spawn(session.live(before, heard, seat.over, seat.look));
    Ok(told)
}

/// A lease as the store writes it.
pub(super) fn from_proto(lease: &ProtoLease) -> Lease {
    Lease { attempt_id: AttemptId(lease.attempt_id), attempt: lease.attempt, token: lease.token.to_vec() }
}

/// Passes a cancel on that a worker may not have heard of.
pub(super) async fn remind_when_cancelled(app: &App, held: &Held) {
    match app.store.find_build(held.build).await {
        Ok(Some(build)) if build.cancel_requested_at.is_some() => {
            app.fleet.remind_of_cancel(held.worker, held.attempt_id);
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, build = %held.build, "cancels cannot be looked for now"),
    }
}

/// A session waits nearly all of its time, and there may be thousands: what speaks to the database is on the heap while it does.
impl Session {
    async fn live(
        self,
        before: Before,
        heard: Streaming<FromWorker>,
        over: CancellationToken,
        look: Arc<Notify>,
    ) {
        let end = tokio::select! {
            end = self.listen(&before, heard) => end,
            end = self.stand(&look) => end,
            end = self.beat() => end,
            () = self.outbox.closed() => End::Left("the connection ended".to_owned()),
            () = over.cancelled() => End::Back("it connected again".to_owned()),
            // Workers learn from GoingAway that the server stops; the stream ends with it.
            () = self.app.shutdown.cancelled() => End::Back("the server stops".to_owned()),
        };
        let (End::Left(why) | End::Back(why)) = &end;
        tracing::info!(worker = %self.worker, why, "worker disconnected");
        let Some(unanswered) = self.app.fleet.leave(self.worker, self.number) else { return };
        for lease in unanswered {
            Box::pin(give_back(&self.app, &lease, Duration::ZERO)).await;
        }
        // One that has work to report is waited for: it is seen as unreachable, not as gone.
        if matches!(end, End::Left(_)) && !Box::pin(self.holds_something()).await {
            Box::pin(self.goodbye()).await;
        }
    }

    async fn listen(&self, before: &Before, mut heard: Streaming<FromWorker>) -> End {
        if let Err(error) = Box::pin(self.resume(before)).await {
            return self.give_up(&error).await;
        }
        // Before its attempts are given to others, or they would be offered to it again.
        let silence = self.app.config.patience.silence.min(self.app.config.lease_hard_limit / 2);
        loop {
            match timeout(silence, heard.message()).await {
                Ok(Ok(Some(FromWorker { message: Some(message) }))) => {
                    // At each beat: whoever is not trusted any more must not go on until it happens to come back. Of those
                    // that hold nothing `roll` sees it.
                    if matches!(&message, Up::Heartbeat(beat) if !beat.holding.is_empty())
                        && let Some(end) = Box::pin(self.barred()).await
                    {
                        return end;
                    }
                    if let Err(error) = Box::pin(self.hear(message)).await {
                        return self.give_up(&error).await;
                    }
                }
                Ok(Ok(Some(FromWorker { message: None }))) => {}
                Ok(Ok(None)) => return End::Left("it ended its stream".to_owned()),
                Ok(Err(status)) => return End::Left(status.message().to_owned()),
                Err(_) => {
                    let why = format!("it was silent for {}", duration::exact(silence));
                    let _ = self.outbox.try_send(Box::new(Err(Status::deadline_exceeded(why.clone()))));
                    return End::Back(why);
                }
            }
        }
    }

    /// Ends when the worker may not go on; looks whenever something about it has changed.
    async fn stand(&self, look: &Notify) -> End {
        loop {
            look.notified().await;
            if let Some(end) = Box::pin(self.barred()).await {
                return end;
            }
        }
    }

    /// The end, when what it came with is no longer good: what it holds goes to others at once. Otherwise notes whether
    /// it is drained. A database that does not answer is no reason for anything.
    async fn barred(&self) -> Option<End> {
        let (why, status) = match self.app.store.worker_standing(self.worker, self.identity).await.ok()? {
            Standing::Good { process: Some(process), .. }
                if !self.process.is_empty() && process != self.process =>
            {
                let name = &self.name;
                tracing::warn!(worker = %self.worker, "two processes use the identity of worker {name}");
                let words = format!("another process has come as worker {name}, with the same identity");
                let _ = self.outbox.send(Box::new(Err(Status::aborted(words.clone())))).await;
                return Some(End::Back(words));
            }
            Standing::Good { drained, .. } => {
                self.app.fleet.close(
                    self.worker,
                    self.number,
                    drained || self.ending.load(Ordering::Relaxed),
                );
                return None;
            }
            // Who comes with a token that is good may come back, as a new worker.
            Standing::Removed if matches!(self.identity, Identity::Token(_)) => {
                ("it was removed", Status::aborted("this worker was removed from the list; it may come back"))
            }
            Standing::Removed => ("it was removed", Status::unauthenticated("this worker was removed")),
            Standing::Barred => ("its token was revoked or has ended", super::auth::unknown()),
        };
        let reason = format!("the worker {}: {why}", self.name);
        if let Err(error) = fence(&self.app, self.worker, &reason).await {
            tracing::warn!(%error, worker = %self.worker, "attempts cannot be taken back now; their leases will end");
        }
        let _ = self.outbox.send(Box::new(Err(status))).await;
        Some(End::Left(why.to_owned()))
    }

    /// Worker and server begin anew on another stream.
    async fn give_up(&self, error: &StoreError) -> End {
        let _ = self.outbox.send(Box::new(Err(refusal(error)))).await;
        End::Back(format!("a message of it failed: {error}"))
    }

    /// When that is not known, it is waited for.
    async fn holds_something(&self) -> bool {
        self.app.store.held_by_worker(self.worker).await.map_or(true, |held| !held.is_empty())
    }

    async fn goodbye(&self) {
        if let Err(error) = self.app.store.worker_goodbye(self.worker).await {
            tracing::warn!(%error, worker = %self.worker, "a goodbye cannot be stored");
        }
    }

    async fn beat(&self) -> End {
        let every = ocelot_api::beat(self.app.config.lease_hard_limit);
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        loop {
            beat.tick().await;
            // What the worker just heard is a sign of life too.
            if !self.spoke.swap(false, Ordering::Relaxed)
                && !send(&self.outbox, Down::Beat(Beat { heard: 0 }))
            {
                return End::Back("it does not read".to_owned());
            }
        }
    }

    /// What it holds since before this stream goes on. What it was offered and does not hold goes to others, and so does
    /// what it had begun with and has lost: there is nothing to wait for.
    async fn resume(&self, before: &Before) -> Result<(), StoreError> {
        let leases: Vec<Lease> = before.holding.iter().map(from_proto).collect();
        let stale = self.renew(&leases).await?;
        for lease in leases.iter().filter(|lease| !stale.contains(lease)) {
            // Its answer may have been lost with the stream before.
            match self.app.store.accept(lease).await {
                Ok(()) => {
                    let held = self.app.store.check_lease(lease).await?;
                    remind_when_cancelled(&self.app, &held).await;
                }
                Err(StoreError::Stale) => {
                    self.app.fleet.drop_attempt(self.worker, lease.attempt_id);
                }
                Err(error) => return Err(error),
            }
        }
        for lease in before.unanswered.iter().filter(|lease| !leases.contains(lease)) {
            give_back(&self.app, lease, Duration::ZERO).await;
        }
        let holds = |held: &&Held| !leases.iter().any(|lease| lease.attempt_id == held.attempt_id);
        for held in before.held.iter().filter(holds) {
            let reason = format!("the worker {} came back without it", self.name);
            tracing::warn!(worker = %self.worker, build = %held.build, attempt = %held.attempt_id, reason);
            take_back(&self.app, held, &reason).await?;
        }
        Ok(())
    }

    async fn hear(&self, message: Up) -> Result<(), StoreError> {
        match message {
            Up::Hello(_) => {}
            Up::Heartbeat(beat) => self.heard_beat(beat).await?,
            Up::Ready(ready) => self.app.fleet.add_credit(self.worker, self.number, ready.slots),
            Up::Accept(accept) => self.accepted(accept.lease.as_ref()).await?,
            Up::Refuse(refuse) => {
                let lease = refuse.lease.as_ref().map(from_proto);
                if let Some(lease) = lease.filter(|lease| self.app.fleet.settle_offer(self.worker, lease)) {
                    let reason: String = refuse.reason.chars().take(200).collect();
                    tracing::info!(worker = %self.worker, attempt = %lease.attempt_id, reason, "offer refused");
                    give_back(&self.app, &lease, after_refusal()).await;
                }
            }
        }
        Ok(())
    }

    async fn heard_beat(&self, beat: Heartbeat) -> Result<(), StoreError> {
        if let Some(mirrors) = beat.mirrors {
            self.app.fleet.set_mirrors(self.worker, self.number, mirrors.names);
        }
        if beat.ending && !self.ending.swap(true, Ordering::Relaxed) {
            self.app.fleet.close(self.worker, self.number, true);
            self.app.store.worker_ends(self.worker).await?;
        }
        if beat.holding.is_empty() {
            self.app.fleet.beat(self.worker);
            self.confirm(beat.number);
        } else {
            let leases: Vec<Lease> = beat.holding.iter().map(from_proto).collect();
            match self.renew(&leases).await {
                // A short absence of the database does not end sessions: the next beat renews.
                Err(StoreError::Unavailable(why)) => {
                    tracing::warn!(worker = %self.worker, why, "leases cannot be renewed now");
                }
                renewed => {
                    renewed?;
                    self.confirm(beat.number);
                }
            }
        }
        if let Some(condition) = beat.condition {
            let condition = hello::condition(&condition);
            self.app.fleet.set_well(self.worker, self.number, condition.unwell.is_none());
            self.app.store.worker_condition(self.worker, &condition).await?;
        }
        if !beat.sharing.is_empty() {
            self.app.store.worker_shares(self.worker, &hello::sharing(&beat.sharing)).await?;
        }
        Ok(())
    }

    /// Says that this heartbeat was taken in.
    fn confirm(&self, number: u64) {
        if number > 0 {
            self.spoke.store(true, Ordering::Relaxed);
            send(&self.outbox, Down::Beat(Beat { heard: number }));
        }
    }

    async fn accepted(&self, lease: Option<&ProtoLease>) -> Result<(), StoreError> {
        let Some(lease) = lease.map(from_proto) else { return Ok(()) };
        let in_time = self.app.fleet.take_offer(self.worker, &lease);
        let stored = if in_time { self.app.store.accept(&lease).await } else { Err(StoreError::Stale) };
        match stored {
            // Too late, or taken away in the meantime: the worker lets go of it.
            Err(StoreError::Stale) => {
                self.app.fleet.drop_attempt(self.worker, lease.attempt_id);
                Ok(())
            }
            other => other,
        }
    }

    /// Renews what the worker holds and tells it what it no longer may; answers that.
    async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError> {
        let stale = self.app.store.renew(self.worker, leases, self.app.config.lease_hard_limit).await?;
        for lease in &stale {
            self.app.fleet.drop_attempt(self.worker, lease.attempt_id);
        }
        Ok(stale)
    }
}
