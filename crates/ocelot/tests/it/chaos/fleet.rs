//! Very many workers at once, and workers of other versions. They speak the real protocol and do nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ocelot_api::body::NewToken;
use ocelot_api::proto::from_server::Message as Down;
use ocelot_api::proto::from_worker::Message as Up;
use ocelot_api::proto::worker_api_client::WorkerApiClient;
use ocelot_api::proto::{
    Accept, AttemptResult, FromServer, FromWorker, Heartbeat, Hello, LogChunk, Offer, Ready, StageReport,
};
use ocelot_model::Status;
use ocelot_model::access::Role;
use ocelot_testkit::wait_for;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Request;
use tonic::transport::Channel;

use super::world::{Plan, World};

type Client = WorkerApiClient<Channel>;

/// SHA-256 of nothing.
const NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

fn hello(name: &str) -> Hello {
    Hello {
        protocol_min: 1,
        protocol_max: 1,
        name: name.to_owned(),
        version: "0.0.1".to_owned(),
        labels: [("tag".to_owned(), "here".to_owned()), ("executor".to_owned(), "host".to_owned())].into(),
        slots: 1,
        ..Hello::default()
    }
}

fn with<T>(secret: &str, body: T) -> Request<T> {
    let mut request = Request::new(body);
    request.metadata_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
    request
}

/// One session until it ends: takes what is offered and says that it passed.
async fn session(
    url: String,
    secret: &str,
    hello: Hello,
    greeted: impl FnOnce(u32),
) -> Result<(), tonic::Status> {
    let channel = Channel::from_shared(url).unwrap().connect().await;
    let mut client = Client::new(channel.map_err(|error| tonic::Status::unavailable(error.to_string()))?);
    let (up, said) = mpsc::unbounded_channel();
    let say = |message| drop(up.send(FromWorker { message: Some(message) }));
    say(Up::Hello(hello));
    say(Up::Ready(Ready { slots: 1 }));
    let mut down = client.session(with(secret, UnboundedReceiverStream::new(said))).await?.into_inner();
    let mut greeted = Some(greeted);
    let mut beat = tokio::time::interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            message = down.message() => match message? {
                Some(FromServer { message: Some(Down::Welcome(welcome)) }) => {
                    if let Some(greeted) = greeted.take() { greeted(welcome.protocol) }
                }
                Some(FromServer { message: Some(Down::Offer(offer)) }) => {
                    say(Up::Accept(Accept { lease: offer.lease.clone() }));
                    finish(&mut client, secret, &offer).await?;
                    say(Up::Ready(Ready { slots: 1 }));
                }
                Some(_) => {}
                None => return Ok(()),
            },
            _ = beat.tick() => say(Up::Heartbeat(Heartbeat::default())),
        }
    }
}

async fn finish(client: &mut Client, secret: &str, offer: &Offer) -> Result<(), tonic::Status> {
    let lease = offer.lease.clone();
    let report = |stage: &ocelot_api::proto::StageRef, status: &str| StageReport {
        lease: lease.clone(),
        stage_id: stage.id,
        status: status.to_owned(),
        exit_code: (status == "passed").then_some(0),
        ..StageReport::default()
    };
    for stage in &offer.stages {
        client.report_stage(with(secret, report(stage, "running"))).await?;
    }
    let ends = offer.stages.iter().map(|stage| LogChunk {
        lease: lease.clone(),
        stage_id: stage.id,
        end: true,
        sha256: NOTHING.to_vec().into(),
        ..LogChunk::default()
    });
    let chunks = tokio_stream::iter(ends.collect::<Vec<_>>());
    let mut acks = client.ship_logs(with(secret, chunks)).await?.into_inner();
    while acks.message().await?.is_some() {}
    let stages = offer.stages.iter().map(|stage| report(stage, "passed")).collect();
    let result = AttemptResult { lease, status: "passed".to_owned(), stages, ..AttemptResult::default() };
    client.finish_attempt(with(secret, result)).await.map(drop)
}

async fn started() -> (World, String) {
    let world = World::start(Plan::default()).await;
    let token = NewToken { name: "all".into(), role: Role::Worker, repos: Vec::new(), expires_days: None };
    let secret = world.admin().create_token(&token).await.unwrap().secret;
    (world, secret)
}

const YML: &str = "machineTag: here\nstages:\n  - name: a\n    script: [echo]\n";

/// A server that dies has all of them back, and goes on to work.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_workers_come_back_at_once() {
    const WORKERS: usize = 1_000;
    let (mut world, secret) = started().await;
    let greetings = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        let (url, secret, greetings) = (world.url.clone(), secret.clone(), Arc::clone(&greetings));
        workers.spawn(async move {
            let name = format!("w{number}");
            loop {
                let greeted = |_| {
                    greetings.fetch_add(1, Ordering::SeqCst);
                };
                let _ = session(url.clone(), &secret, hello(&name), greeted).await;
                // As a worker waits that was cut off, each for a time of its own.
                tokio::time::sleep(Duration::from_millis(50 + (number as u64 * 7919) % 200)).await;
            }
        });
    }
    let all = async |rounds: usize| {
        let have = || greetings.load(Ordering::SeqCst) >= rounds * WORKERS;
        wait_for("all workers", async || have().then_some(())).await;
    };
    all(1).await;
    let repo = world.add_repo("thousand", YML).await;
    world.servers[0].kill9();
    greetings.store(WORKERS, Ordering::SeqCst);
    world.restart_server(0).await;
    all(2).await;
    for _ in 0..20 {
        world.build_again(&repo).await;
    }
    for build in world.builds.clone() {
        let ended = world.finished(build).await;
        assert_eq!(
            (ended.status, ended.jobs.as_ref().unwrap()[0].attempt),
            (Status::Passed, 1),
            "{ended:#?}"
        );
    }
    assert_eq!(world.admin().workers().await.unwrap().len(), WORKERS);
    workers.shutdown().await;
    world.oracle().await;
}

/// Whether a worker that speaks these versions of the protocol, and says nothing that is not needed, gets work done.
async fn speaks(min: u32, max: u32) -> Result<u32, tonic::Status> {
    let (mut world, secret) = started().await;
    let hello = Hello { protocol_min: min, protocol_max: max, version: String::new(), ..hello("other") };
    let (told, welcome) = tokio::sync::oneshot::channel();
    let url = world.url.clone();
    let session = tokio::spawn(async move {
        let greeted = |protocol| told.send(protocol).unwrap();
        session(url, &secret, hello, greeted).await
    });
    let Ok(protocol) = welcome.await else { return Err(session.await.unwrap().unwrap_err()) };
    let build = world.build("other", YML).await;
    assert_eq!(world.finished(build).await.status, Status::Passed);
    session.abort();
    world.oracle().await;
    Ok(protocol)
}

#[tokio::test]
async fn an_older_worker_that_says_little_does_its_work() {
    assert_eq!(speaks(0, 1).await.unwrap(), 1);
}

#[tokio::test]
async fn a_newer_worker_speaks_what_the_server_understands() {
    assert_eq!(speaks(1, 7).await.unwrap(), 1);
}

#[tokio::test]
async fn a_worker_that_is_too_new_is_told_so() {
    let refused = speaks(6, 7).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("protocol"), "{refused:?}");
}
