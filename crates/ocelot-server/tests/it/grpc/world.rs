//! A whole server in this process, and workers that follow a script over real gRPC.

use std::path::Path;
use std::time::Duration;

use ocelot_api::proto::from_server::Message as Down;
use ocelot_api::proto::from_worker::Message as Up;
use ocelot_api::proto::worker_api_client::WorkerApiClient;
use ocelot_api::proto::{
    Accept, AttemptResult, FromServer, FromWorker, Heartbeat, Hello, Lease, LogAck, LogChunk, Offer, Ready,
    StageReport, Welcome,
};
use ocelot_model::access::Role;
use ocelot_model::{Approvals, BuildNumber, EventKind, Status, Trust, pipeline};
use ocelot_server::{App, Config, Server};
use ocelot_store::{BuildDetail, NewBuild, NewRepo, Plan};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};

/// Longest wait for something that must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server and its folder.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) secret: String,
    pub(crate) folder: TempDir,
    change: fn(&mut Config),
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A server's options here: no wake-up by time, so that only the real ones count.
fn config(folder: &Path, change: fn(&mut Config)) -> Config {
    let mut config = crate::room::config(folder);
    config.patience.look = Duration::from_hours(1);
    change(&mut config);
    config
}

impl World {
    pub(crate) async fn new() -> World {
        World::with(|_| {}).await
    }

    /// A server with other options.
    pub(crate) async fn with(change: fn(&mut Config)) -> World {
        let folder = tempfile::tempdir().unwrap();
        let server = ocelot_server::start(config(folder.path(), change)).await.unwrap();
        let secret = server.local_worker_token().await.unwrap();
        let repo = NewRepo {
            name: "git/example".parse().unwrap(),
            remote_id: "example".into(),
            clone_url: "https://example.com/example.git".into(),
            default_branch: "main".into(),
            public: false,
            approvals: Approvals::default(),
        };
        server.app().store.add_repo(&repo, "tests").await.unwrap();
        World { server, secret, folder, change }
    }

    /// The same database, served by another server after this one has stopped.
    pub(crate) async fn restart(self) -> World {
        self.server.stop().await;
        let server = ocelot_server::start(config(self.folder.path(), self.change)).await.unwrap();
        World { server, ..self }
    }

    /// A further server on the same database, which stops again.
    pub(crate) async fn passing_server(&self) {
        let server = ocelot_server::start(config(self.folder.path(), self.change)).await.unwrap();
        server.stop().await;
    }

    pub(crate) fn app(&self) -> &App {
        self.server.app()
    }

    pub(crate) async fn token(&self, role: Role) -> String {
        self.app().store.create_token(&format!("a {role}"), role, &[], None, "tests").await.unwrap().1
    }

    /// Queues a build of one small job.
    pub(crate) async fn build(&self) -> BuildNumber {
        self.build_of(crate::room::SMALL).await
    }

    /// Only stored, as if the server had died right after.
    pub(crate) async fn build_of(&self, yml: &str) -> BuildNumber {
        self.build_in("git/example", COMMIT, yml).await
    }

    /// The same of another repository and commit.
    pub(crate) async fn build_in(&self, handle: &str, commit: &str, yml: &str) -> BuildNumber {
        let pipeline = pipeline::parse(yml.as_bytes()).unwrap();
        let repo = self.app().store.find_repo(&handle.parse().unwrap()).await.unwrap().unwrap();
        let build = NewBuild {
            repo: repo.id,
            event: EventKind::Manual,
            branch: "main".into(),
            commit: commit.into(),
            message: "a change".into(),
            author: "Ann".into(),
            triggered_by: None,
            retry_of: None,
            due: None,
            beside: None,
            notify: Some(pipeline.notify),
            concurrency: pipeline.concurrency,
            trust: Trust::own(),
            pull_request: None,
            tag: None,
            plan: Plan::Jobs(pipeline.jobs.into_iter().map(|job| (job, Status::Queued)).collect()),
        };
        self.app().store.create_build(&build).await.unwrap().build.number
    }

    pub(crate) async fn detail(&self, number: BuildNumber) -> BuildDetail {
        self.app().store.find_build_detail(number).await.unwrap().unwrap()
    }

    /// Waits until the build looks so.
    pub(crate) async fn until(
        &self,
        number: BuildNumber,
        want: impl Fn(&BuildDetail) -> bool,
    ) -> BuildDetail {
        let mut wakes = self.app().store.wakes();
        let waiting = async {
            loop {
                let detail = self.detail(number).await;
                if want(&detail) {
                    return detail;
                }
                let _ = wakes.recv().await;
            }
        };
        let Ok(detail) = tokio::time::timeout(DEADLINE, waiting).await else {
            panic!("build {number} does not get there: {:?}", self.detail(number).await);
        };
        detail
    }

    pub(crate) async fn client(&self) -> WorkerApiClient<Channel> {
        WorkerApiClient::connect(format!("http://{}", self.server.address)).await.unwrap()
    }

    /// A worker that says hello; what comes of it.
    pub(crate) async fn greet(&self, hello: Hello) -> Result<Worker, tonic::Status> {
        let mut client = self.client().await;
        let (up, said) = mpsc::unbounded_channel();
        up.send(FromWorker { message: Some(Up::Hello(hello)) }).unwrap();
        let request = with_token(&self.secret, UnboundedReceiverStream::new(said));
        let mut down = client.session(request).await?.into_inner();
        let Some(FromServer { message: Some(Down::Welcome(welcome)) }) = down.message().await? else {
            panic!("no welcome");
        };
        Ok(Worker { up, down, client, secret: self.secret.clone(), welcome })
    }

    /// A connected worker that may be offered this many jobs.
    pub(crate) async fn worker(&self, name: &str, slots: u32) -> Worker {
        let worker = self.greet(hello(name, slots)).await.unwrap();
        worker.say(Up::Ready(Ready { slots }));
        worker
    }

    /// A worker with a job that it took.
    pub(crate) async fn working(&self, name: &str) -> (Worker, Offer, BuildNumber) {
        let mut worker = self.worker(name, 1).await;
        let build = self.build().await;
        let offer = worker.offer().await;
        worker.take(&offer).await;
        (worker, offer, build)
    }
}

/// A call with a token.
pub(crate) fn with_token<T>(secret: &str, body: T) -> Request<T> {
    let mut request = Request::new(body);
    request.metadata_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
    request
}

/// A hello of a worker for Docker.
pub(crate) fn hello(name: &str, slots: u32) -> Hello {
    Hello {
        protocol_min: 1,
        protocol_max: 1,
        name: name.into(),
        version: "0".into(),
        labels: [("executor".to_owned(), "docker".to_owned())].into(),
        slots,
        holding: Vec::new(),
        sharing: "same-paths".into(),
        mirrors: None,
        condition: None,
        process: String::new(),
    }
}

/// A worker's end of its connection.
pub(crate) struct Worker {
    pub(crate) up: mpsc::UnboundedSender<FromWorker>,
    pub(crate) down: Streaming<FromServer>,
    pub(crate) client: WorkerApiClient<Channel>,
    pub(crate) welcome: Welcome,
    secret: String,
}

impl Worker {
    pub(crate) fn say(&self, message: Up) {
        self.up.send(FromWorker { message: Some(message) }).unwrap();
    }

    /// What the server says next, beats left out; `None` at the end of the stream.
    pub(crate) async fn hear(&mut self) -> Option<Down> {
        loop {
            let next =
                tokio::time::timeout(DEADLINE, self.down.message()).await.expect("the server is silent");
            match next {
                Ok(Some(FromServer { message: Some(Down::Beat(_)) })) => {}
                Ok(next) => return next.and_then(|message| message.message),
                Err(_) => return None,
            }
        }
    }

    pub(crate) async fn offer(&mut self) -> Offer {
        match self.hear().await {
            Some(Down::Offer(offer)) => offer,
            other => panic!("no offer but {other:?}"),
        }
    }

    /// Accepts, and returns when the server knows it.
    pub(crate) async fn take(&mut self, offer: &Offer) {
        self.say(Up::Accept(Accept { lease: offer.lease.clone() }));
        self.report(offer, 0, "running", None).await.unwrap();
    }

    pub(crate) fn beat(&self, holding: &[Lease]) {
        let beat = Heartbeat { holding: holding.to_vec(), ..Heartbeat::default() };
        self.say(Up::Heartbeat(beat));
    }

    /// Says how the offer's `at`-th stage stands.
    pub(crate) async fn report(
        &mut self,
        offer: &Offer,
        at: usize,
        status: &str,
        exit_code: Option<i32>,
    ) -> Result<(), tonic::Status> {
        let mut report = stage(offer, at, status);
        report.exit_code = exit_code;
        let request = with_token(&self.secret, report);
        self.client.report_stage(request).await.map(drop)
    }

    /// Says that the attempt ended so, and all its stages with it.
    pub(crate) async fn finish(&mut self, offer: &Offer, status: &str) -> Result<(), tonic::Status> {
        let stages = (0..offer.stages.len()).map(|at| stage(offer, at, status)).collect();
        let lease = offer.lease.clone();
        let result = AttemptResult { lease, status: status.into(), stages, ..AttemptResult::default() };
        let request = with_token(&self.secret, result);
        self.client.finish_attempt(request).await.map(drop)
    }

    /// A stream of chunks, and its answers.
    pub(crate) async fn logs(&mut self) -> (mpsc::UnboundedSender<LogChunk>, Streaming<LogAck>) {
        let (chunks, sent) = mpsc::unbounded_channel();
        let request = with_token(&self.secret, UnboundedReceiverStream::new(sent));
        let acks = self.client.ship_logs(request).await.unwrap().into_inner();
        (chunks, acks)
    }
}

/// A report on the offer's `at`-th stage.
fn stage(offer: &Offer, at: usize, status: &str) -> StageReport {
    StageReport {
        lease: offer.lease.clone(),
        stage_id: offer.stages[at].id,
        status: status.into(),
        duration_ms: if status == "running" { 0 } else { 7 },
        ..StageReport::default()
    }
}

/// The refusal's code and words.
pub(crate) fn refused(result: Result<(), tonic::Status>, code: Code, words: &str) {
    let status = result.expect_err("it was not refused");
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(words), "{status:?}");
}
