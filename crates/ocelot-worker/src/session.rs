//! The stream to the server: hello, heartbeats, offers, cancels. It comes back by itself, for ever.
//!
//! It runs on a thread of its own, so that heartbeats do not wait for the work of jobs. It never works on an
//! attempt itself: it seats it on the board and hands it over.

use std::sync::Arc;
use std::time::Duration;

use ocelot_api::proto::from_server::Message as Down;
use ocelot_api::proto::from_worker::Message as Up;
use ocelot_api::proto::{Accept, Enrolment, FromWorker, Heartbeat, Hello, Mirrors, Offer, Refuse, Welcome};
use ocelot_api::{PROTOCOL_MAX, PROTOCOL_MIN};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::attempt::Start;
use crate::backoff::Backoff;
use crate::board::{Board, Out, Stop, Taken};
use crate::config::{Config, ExecutorKind};
use crate::connect::{self, Client, is_server_down};
use crate::contact::{Contact, Shared};
use crate::error::WorkerError;
use crate::folder::{Folder, State, boot_ms};
use crate::identity::{self, Identity};
use crate::mirror;

/// A connection on which nothing was heard for so long is given up.
const SILENCE: Duration = Duration::from_secs(35);
/// A stream that lasted so long was no failure.
const STEADY: Duration = Duration::from_secs(5);
/// Longest for the server to answer a hello.
const HELLO: Duration = Duration::from_secs(20);
/// A slot whose offer could not be taken for want of disk is offered again after this.
const AFTER_REFUSAL: Duration = Duration::from_secs(10);

/// What a session works with.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    /// Tells this process from others with the same identity.
    pub(crate) process: String,
    pub(crate) board: Arc<Board>,
    /// Attempts to begin with.
    pub(crate) starts: mpsc::UnboundedSender<Start>,
    /// The server's last greeting.
    pub(crate) welcome: watch::Sender<Option<Welcome>>,
    pub(crate) sharing: watch::Receiver<String>,
    pub(crate) contact: Shared,
}

/// Why one stream ended.
enum End {
    /// The token is not good.
    Refused(String),
    /// The server stops, and asked to come back after this time.
    Away(Duration),
    /// Anything else.
    Broken,
}

/// Why enrolment did not work.
enum Enrolling {
    /// It will not work later either.
    No(WorkerError),
    /// The server is not there, or too old.
    Later(String),
}

/// Keeps a session until `stop`. Ends by itself only when the token is refused.
pub(crate) async fn keep(session: Session, stop: CancellationToken) -> Result<(), WorkerError> {
    let client = connect::client(&session.config, &session.identity.secret)?;
    let contact = session.contact.clone();
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = guard(&session.board, &contact) => Ok(()),
        refused = come_back(&session, client, &contact) => Err(refused),
    }
}

/// Ends all attempts when others may have been given them.
async fn guard(board: &Board, contact: &Shared) {
    let mut look = tokio::time::interval(Duration::from_millis(250));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if contact.is_lost() && !board.holding().is_empty() {
            let ended = board.stop_all(Stop::Drop);
            tracing::error!(
                attempts = ended,
                "the server was not heard for too long: {ended} attempts are ended"
            );
        }
    }
}

async fn come_back(session: &Session, client: Client, contact: &Shared) -> WorkerError {
    let mut backoff = Backoff::new();
    let mut enrolled = false;
    loop {
        let began = Instant::now();
        let end = once(session, client.clone(), contact).await;
        session.board.detach();
        // One that always ends at once is not pressed: another process may have the same identity.
        if began.elapsed() >= STEADY {
            backoff.reset();
        }
        match end {
            End::Refused(why) => {
                let enrolment = session.identity.enrolment.as_ref().filter(|_| !enrolled);
                let Some(enrolment) = enrolment else { return session.refused(why) };
                match session.enrol(enrolment).await {
                    Ok(()) => {
                        enrolled = true;
                        continue;
                    }
                    Err(Enrolling::No(error)) => return error,
                    Err(Enrolling::Later(why)) => tracing::warn!("this worker cannot enrol yet: {why}"),
                }
            }
            End::Away(after) => tokio::time::sleep(after).await,
            End::Broken => {}
        }
        backoff.wait().await;
    }
}

/// One stream, from hello to its end.
async fn once(session: &Session, mut client: Client, contact: &Shared) -> End {
    let (out, said) = mpsc::unbounded_channel();
    let mut sharing = session.sharing.clone();
    let condition = session.board.condition();
    let hello = session.hello(sharing.borrow_and_update().clone());
    contact.with(Contact::greet);
    say(&out, Up::Hello(Hello { condition: Some(condition.to_proto()), ..hello }));
    session.board.attach(out.clone(), &condition);
    let answer = tokio::time::timeout(HELLO, client.session(UnboundedReceiverStream::new(said))).await;
    let mut heard = match answer {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return ended(&status, contact),
        Err(_) => return End::Broken,
    };
    let mut told = session.mirrors();
    let mut beaten = Instant::now();
    loop {
        tokio::select! {
            message = heard.message() => match message {
                Ok(Some(message)) => {
                    contact.with(Contact::hear);
                    if let Some(end) = message.message.and_then(|message| session.take(message, &out, contact)) {
                        return end;
                    }
                }
                Ok(None) => return End::Broken,
                Err(status) => return ended(&status, contact),
            },
            () = sleep_until(beaten + session.beat()) => {
                beaten = Instant::now();
                if contact.with(|contact, now| contact.silence(now)) > SILENCE {
                    return End::Broken;
                }
                let names = session.mirrors();
                let mirrors = (names != told).then(|| Mirrors { names: names.clone() });
                told = names;
                let number = contact.with(Contact::beat);
                let beat = Heartbeat { mirrors, number, ..session.heartbeat() };
                say(&out, Up::Heartbeat(beat));
            }
            // It is found out long after the first hello.
            Ok(()) = sharing.changed() => {
                let words = sharing.borrow_and_update().clone();
                let beat = Heartbeat { sharing: words, ..session.heartbeat() };
                say(&out, Up::Heartbeat(beat));
            }
        }
    }
}

fn ended(status: &tonic::Status, contact: &Shared) -> End {
    if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) {
        return End::Refused(status.message().to_owned());
    }
    if status.code() == Code::AlreadyExists {
        // It may end, so this one stays and says it each time.
        tracing::error!("the server does not take this worker: {}", status.message());
        return End::Broken;
    }
    if status.code() == Code::FailedPrecondition {
        // No version in common. Either side may be brought up to date, so the worker stays and says it each time.
        tracing::error!("the server does not take this worker: {}", status.message());
        return End::Broken;
    }
    if is_server_down(status) {
        contact.with(Contact::refused);
    }
    let why = connect::why(status);
    tracing::warn!("no session with the server: {}: {why}", status.code());
    End::Broken
}

fn say(out: &Out, message: Up) {
    // The stream's other end is gone only when the stream is about to be.
    let _ = out.send(FromWorker { message: Some(message) });
}

impl Session {
    fn hello(&self, sharing: String) -> Hello {
        Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            name: self.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            labels: self.config.all_labels().into_iter().collect(),
            slots: self.config.slots,
            holding: self.board.holding(),
            sharing,
            mirrors: Some(Mirrors { names: self.mirrors() }),
            condition: None,
            process: self.process.clone(),
        }
    }

    /// As the server wants it; before its greeting, as most servers do.
    fn beat(&self) -> Duration {
        let limit = self.welcome.borrow().as_ref().map(|welcome| welcome.lease_hard_limit_ms);
        ocelot_api::beat(Duration::from_millis(limit.map_or(u64::MAX, u64::from)))
    }

    /// Makes the worker's own secret known to the server. May be done again.
    async fn enrol(&self, token: &SecretString) -> Result<(), Enrolling> {
        let mut client = connect::client(&self.config, token).map_err(Enrolling::No)?;
        let secret = self.identity.secret.expose_secret().to_owned();
        let call = client.enrol(Enrolment { name: self.config.name.clone(), secret });
        let late = |_| tonic::Status::deadline_exceeded("no answer");
        match tokio::time::timeout(HELLO, call).await.map_err(late).flatten() {
            Ok(answer) => {
                tracing::info!("enrolled as worker {}", answer.into_inner().name);
                Ok(())
            }
            Err(status) => Err(match status.code() {
                Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument => {
                    Enrolling::No(WorkerError::Enrolment(status.message().to_owned()))
                }
                Code::AlreadyExists => Enrolling::No(self.refused(status.message().to_owned())),
                Code::Unimplemented => Enrolling::Later("the server is too old for it".to_owned()),
                _ => Enrolling::Later(connect::why(&status)),
            }),
        }
    }

    fn refused(&self, why: String) -> WorkerError {
        if self.identity.own {
            WorkerError::Unknown(why, identity::file(&self.config.data).display().to_string())
        } else {
            WorkerError::Token(why)
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        self.board.heartbeat()
    }

    fn mirrors(&self) -> Vec<String> {
        mirror::names(&self.config.data.join("mirrors"))
    }

    fn take(&self, message: Down, out: &Out, contact: &Shared) -> Option<End> {
        match message {
            Down::Welcome(welcome) => {
                let hard = Duration::from_millis(u64::from(welcome.lease_hard_limit_ms));
                contact.with(|contact, _| {
                    contact.limit(hard);
                    contact.confirm(0);
                });
                // A server of the version before tells no name.
                let name = if welcome.name.is_empty() { &self.config.name } else { &welcome.name };
                tracing::info!(
                    "connected to Ocelot {} as worker {name} ({})",
                    welcome.server_version,
                    welcome.worker_id
                );
                self.welcome.send_replace(Some(welcome));
            }
            Down::Offer(offer) => self.offered(offer, out),
            Down::Cancel(cancel) => {
                let level = if cancel.force { Stop::Force } else { Stop::Gently };
                self.board.stop(cancel.attempt_id, level);
            }
            Down::Drop(drop) => {
                self.board.stop(drop.attempt_id, Stop::Drop);
            }
            Down::Beat(beat) if beat.heard > 0 => contact.with(|contact, _| contact.confirm(beat.heard)),
            Down::Beat(_) => {}
            Down::GoingAway(away) => {
                contact.with(|contact, _| contact.goodbye());
                return Some(End::Away(Duration::from_millis(u64::from(away.retry_after_ms))));
            }
        }
        None
    }

    /// The folder of an offered job, or why this worker does not run it.
    fn place(&self, slot: u32, offer: &Offer) -> Result<(Folder, State), String> {
        if offer.untrusted && self.config.executor == ExecutorKind::Host {
            // The server knows that too; but it is this machine that would be lost.
            return Err("this worker has no containers, and the commit may be anyone's".to_owned());
        }
        let state = State { slot, began_ms: boot_ms(), ..State::default() };
        match Folder::create(&self.config.jobs(), offer, &state) {
            Ok(folder) => Ok((folder, state)),
            Err(error) => Err(format!("the worker's disk: {error}")),
        }
    }

    /// Takes an offer when a slot is free: the folder first, then the answer, then the work.
    fn offered(&self, offer: Offer, out: &Out) {
        let Some(lease) = offer.lease.clone() else { return };
        let refuse = |reason: String| say(out, Up::Refuse(Refuse { lease: Some(lease.clone()), reason }));
        match self.board.take(&lease) {
            Taken::Already => say(out, Up::Accept(Accept { lease: Some(lease) })),
            Taken::No(why) => refuse(why),
            Taken::Slot(slot, stop) => {
                match self.place(slot, &offer) {
                    Ok((folder, state)) => {
                        say(out, Up::Accept(Accept { lease: Some(lease) }));
                        // Nobody takes it any more only when the worker ends.
                        let _ = self.starts.send(Start { folder, offer, state, stop, resumed: false });
                    }
                    Err(why) => {
                        tracing::error!("an offered job is refused: {why}");
                        refuse(why);
                        let board = Arc::clone(&self.board);
                        tokio::spawn(async move {
                            tokio::time::sleep(AFTER_REFUSAL).await;
                            board.release(slot);
                        });
                    }
                }
            }
        }
    }
}
