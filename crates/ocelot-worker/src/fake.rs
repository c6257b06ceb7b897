//! A far side for tests: a server that speaks the real protocol over TCP, keeps what it hears in memory, and can
//! be killed and come back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ocelot_api::proto::from_server::Message as Down;
use ocelot_api::proto::from_worker::Message as Up;
use ocelot_api::proto::worker_api_server::{WorkerApi, WorkerApiServer};
use ocelot_api::proto::{
    Ack, AttemptResult, Condition, Enrolled, Enrolment, FromServer, FromWorker, Lease, LogAck, LogChunk,
    Offer, StageReport, Welcome,
};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

/// What the server has heard.
#[derive(Debug, Default, Clone)]
pub(crate) struct Heard {
    pub(crate) reports: Vec<(i64, String)>,
    pub(crate) logs: BTreeMap<i64, Vec<u8>>,
    pub(crate) complete: Vec<i64>,
    pub(crate) result: Option<AttemptResult>,
    pub(crate) ready: u32,
    /// Why it takes no jobs, each time it was said; empty when it takes them.
    pub(crate) unwell: Vec<String>,
    pub(crate) stale: bool,
    /// The worker takes no more jobs.
    pub(crate) ending: bool,
    /// Why offers were refused.
    pub(crate) refused: Vec<String>,
}

impl Heard {
    /// A stage's log, as text.
    pub(crate) fn log(&self, stage: i64) -> String {
        String::from_utf8_lossy(self.logs.get(&stage).map_or(&[][..], Vec::as_slice)).into_owned()
    }

    /// `id status` of every report but those of the setup, in order.
    pub(crate) fn stages(&self) -> Vec<String> {
        let stages = self.result.iter().flat_map(|result| &result.stages);
        stages.map(|s| format!("{} {} {}", s.stage_id, s.status, s.reason).trim_end().to_owned()).collect()
    }
}

/// The server. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    heard: Arc<watch::Sender<Heard>>,
    offer: Arc<Mutex<Option<Offer>>>,
    down: Arc<Mutex<Option<DownWay>>>,
    token: Arc<Mutex<&'static str>>,
    enrolled: Arc<Mutex<Known>>,
    limit_ms: Arc<AtomicU32>,
}

/// A worker with a secret of its own.
#[derive(Debug, Default)]
struct Known {
    secret: Option<String>,
    asked: u32,
}

/// A fake that listens; dropped, all of its connections are cut.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Fake {
    pub(crate) fn new(offer: Offer) -> Fake {
        Fake {
            heard: Arc::default(),
            offer: Arc::new(Mutex::new(Some(offer))),
            down: Arc::default(),
            token: Arc::new(Mutex::new("Bearer secret")),
            enrolled: Arc::default(),
            limit_ms: Arc::new(60_000.into()),
        }
    }

    /// Has no job to offer.
    pub(crate) fn offer_nothing(&self) {
        *self.offer.lock().unwrap() = None;
    }

    /// Listens at `address`; port 0 takes a free one.
    pub(crate) async fn listen(&self, address: SocketAddr) -> Running {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = self.clone();
        // A runtime of its own, so that with it every connection ends at once, as by a kill.
        let serving = tokio::spawn(async move {
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let _stop = stop;
            let listener = listener.into_std().unwrap();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.spawn(async move {
                    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                    let service = WorkerApiServer::new(fake);
                    let server = tonic::transport::Server::builder().add_service(service);
                    server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
                });
                runtime.block_on(async move {
                    while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                });
            });
            std::future::pending::<()>().await;
        });
        Running { address, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Waits until what was heard is as `want` says.
    pub(crate) async fn wait(&self, what: &str, want: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(30), heard.wait_for(want)).await;
        let waited = waited.map(|heard| heard.unwrap().clone());
        waited.unwrap_or_else(|_| panic!("waited for {what}, heard {:#?}", self.heard.borrow()))
    }

    /// Tells the worker.
    pub(crate) fn tell(&self, message: Down) {
        self.say(FromServer { message: Some(message) });
    }

    /// Something that this worker does not know yet.
    pub(crate) fn tell_news(&self) {
        self.say(FromServer { message: None });
    }

    fn say(&self, message: FromServer) {
        self.down.lock().unwrap().as_ref().unwrap().send(Ok(message)).unwrap();
    }

    /// What it is to offer may be anyone's.
    pub(crate) fn distrust(&self) {
        self.offer.lock().unwrap().as_mut().unwrap().untrusted = true;
    }

    /// From the next greeting on, leases run out after so long.
    pub(crate) fn limit(&self, ms: u32) {
        self.limit_ms.store(ms, Ordering::Relaxed);
    }

    /// From now on the worker's token is not good any more.
    pub(crate) fn revoke(&self) {
        *self.token.lock().unwrap() = "Bearer other";
    }

    /// From now on the lease is not good any more.
    pub(crate) fn make_stale(&self) {
        self.heard.send_modify(|heard| heard.stale = true);
    }

    fn check(&self, lease: Option<&Lease>) -> Result<(), Status> {
        if lease.is_none_or(|lease| lease.token != "token") || self.heard.borrow().stale {
            return Err(Status::failed_precondition("stale"));
        }
        Ok(())
    }

    fn authenticate(&self, metadata: &tonic::metadata::MetadataMap) -> Result<(), Status> {
        let secret = metadata.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let enrolled = self.enrolled.lock().unwrap();
        let own = enrolled.secret.as_ref().is_some_and(|own| secret == format!("Bearer {own}"));
        if own || secret == *self.token.lock().unwrap() {
            return Ok(());
        }
        Err(Status::unauthenticated("no token has this secret"))
    }

    /// How often someone asked to enrol.
    pub(crate) fn enrolments(&self) -> u32 {
        self.enrolled.lock().unwrap().asked
    }

    fn hear(&self, message: Up) {
        match message {
            Up::Ready(ready) => {
                if let Some(offer) = self.offer.lock().unwrap().take() {
                    self.tell(Down::Offer(offer));
                }
                self.heard.send_modify(|heard| heard.ready += ready.slots);
            }
            Up::Hello(hello) => self.condition(hello.condition),
            Up::Heartbeat(beat) => {
                self.heard.send_modify(|heard| heard.ending |= beat.ending);
                self.condition(beat.condition);
            }
            Up::Accept(_) => {}
            Up::Refuse(refuse) => self.heard.send_modify(|heard| heard.refused.push(refuse.reason)),
        }
    }

    fn condition(&self, condition: Option<Condition>) {
        let Some(condition) = condition else { return };
        self.heard.send_modify(|heard| heard.unwell.push(condition.unwell));
    }

    fn store(&self, chunk: &LogChunk) -> Result<LogAck, Status> {
        self.check(chunk.lease.as_ref())?;
        let mut ack = LogAck { stage_id: chunk.stage_id, ..LogAck::default() };
        self.heard.send_modify(|heard| {
            let log = heard.logs.entry(chunk.stage_id).or_default();
            let known = log.len() as u64;
            assert!(chunk.offset <= known, "a gap before {}, have {known}", chunk.offset);
            let new = (known - chunk.offset).min(chunk.data.len() as u64) as usize;
            assert_eq!(&log[chunk.offset as usize..][..new], &chunk.data[..new], "sent again, but different");
            log.extend_from_slice(&chunk.data[new..]);
            ack.durable = log.len() as u64;
            ack.complete = chunk.end;
            if chunk.end {
                assert_eq!((chunk.total, &chunk.sha256[..]), (ack.durable, &Sha256::digest(&*log)[..]));
                heard.complete.push(chunk.stage_id);
            }
        });
        Ok(ack)
    }
}

type DownWay = mpsc::UnboundedSender<Result<FromServer, Status>>;
type Answers<T> = UnboundedReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl WorkerApi for Fake {
    type SessionStream = Answers<FromServer>;
    type ShipLogsStream = Answers<LogAck>;

    async fn enrol(&self, request: Request<Enrolment>) -> Result<Response<Enrolled>, Status> {
        let token = request.metadata().get("authorization").cloned();
        let asked = request.into_inner();
        let mut enrolled = self.enrolled.lock().unwrap();
        enrolled.asked += 1;
        if token.is_none_or(|token| token != "Bearer oce_good") {
            return Err(Status::unauthenticated("the enrolment token is not known"));
        }
        if enrolled.secret.as_ref().is_some_and(|known| *known != asked.secret) {
            return Err(Status::unauthenticated("the enrolment token is used up"));
        }
        enrolled.secret = Some(asked.secret);
        Ok(Response::new(Enrolled { name: asked.name }))
    }

    async fn session(
        &self,
        request: Request<Streaming<FromWorker>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.authenticate(request.metadata())?;
        let mut said = request.into_inner();
        let (down, told) = mpsc::unbounded_channel();
        *self.down.lock().unwrap() = Some(down);
        let instance = "test".to_owned();
        self.tell(Down::Welcome(Welcome {
            instance,
            protocol: 1,
            lease_hard_limit_ms: self.limit_ms.load(Ordering::Relaxed),
            ..Welcome::default()
        }));
        let fake = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = said.message().await {
                fake.hear(message.message.unwrap());
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(told)))
    }

    async fn report_stage(&self, request: Request<StageReport>) -> Result<Response<Ack>, Status> {
        self.authenticate(request.metadata())?;
        let report = request.into_inner();
        self.check(report.lease.as_ref())?;
        self.heard.send_modify(|heard| heard.reports.push((report.stage_id, report.status.clone())));
        Ok(Response::new(Ack {}))
    }

    async fn finish_attempt(&self, request: Request<AttemptResult>) -> Result<Response<Ack>, Status> {
        self.authenticate(request.metadata())?;
        let result = request.into_inner();
        self.check(result.lease.as_ref())?;
        self.heard.send_modify(|heard| heard.result = Some(result));
        Ok(Response::new(Ack {}))
    }

    async fn ship_logs(
        &self,
        request: Request<Streaming<LogChunk>>,
    ) -> Result<Response<Self::ShipLogsStream>, Status> {
        self.authenticate(request.metadata())?;
        let mut chunks = request.into_inner();
        let (acks, answers) = mpsc::unbounded_channel();
        let fake = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(chunk)) = chunks.message().await {
                if acks.send(fake.store(&chunk)).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(answers)))
    }
}

/// An offer of a job of these stages (as in a pipeline's JSON), to be checked out from `repo`.
pub(crate) fn offer(repo: &Path, commit: &str, job: &serde_json::Value) -> Offer {
    let names = job["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap());
    let stages = std::iter::once("setup").chain(names).zip(10..);
    Offer {
        lease: Some(Lease { attempt_id: 7, attempt: 1, token: "token".into() }),
        build_number: 1,
        job_id: 3,
        repo: "git/example".into(),
        clone_url: repo.display().to_string(),
        commit: commit.into(),
        branch: "main".into(),
        job_json: job.to_string(),
        stages: stages.map(|(name, id)| ocelot_api::proto::StageRef { id, name: name.into() }).collect(),
        variables: vec![],
        allow_local: true,
        untrusted: false,
        ..Offer::default()
    }
}
