//! A worker that takes everything and does nothing, over real gRPC.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ocelot_api::proto::from_server::Message as Down;
use ocelot_api::proto::from_worker::Message as Up;
use ocelot_api::proto::worker_api_client::WorkerApiClient;
use ocelot_api::proto::{
    Accept, AttemptResult, FromServer, FromWorker, Heartbeat, Hello, Lease, Offer, Ready, StageRef,
    StageReport,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

/// Real workers beat this often.
pub(crate) const BEAT: Duration = Duration::from_secs(10);

/// One session.
pub(crate) struct Worker {
    client: WorkerApiClient<Channel>,
    up: mpsc::UnboundedSender<FromWorker>,
    down: Streaming<FromServer>,
    secret: String,
    beats: AtomicU64,
}

impl Worker {
    /// Connects and waits for the server's greeting.
    pub(crate) async fn connect(url: &str, secret: &str, name: &str, holding: &[Lease]) -> Result<Worker> {
        let endpoint = Endpoint::from_shared(url.to_owned())?.connect_timeout(BEAT).tcp_nodelay(true);
        let mut client = WorkerApiClient::new(endpoint.connect().await?);
        let (up, said) = mpsc::unbounded_channel();
        let hello = Hello {
            protocol_min: ocelot_api::PROTOCOL_MIN,
            protocol_max: ocelot_api::PROTOCOL_MAX,
            name: name.to_owned(),
            labels: [("executor".to_owned(), "docker".to_owned())].into(),
            slots: 1,
            holding: holding.to_vec(),
            ..Hello::default()
        };
        up.send(FromWorker { message: Some(Up::Hello(hello)) })?;
        let request = with_token(secret, UnboundedReceiverStream::new(said))?;
        let down = client.session(request).await?.into_inner();
        let mut worker = Worker { client, up, down, secret: secret.to_owned(), beats: AtomicU64::new(0) };
        match worker.heard().await? {
            Down::Welcome(_) => Ok(worker),
            other => bail!("no greeting but {other:?}"),
        }
    }

    /// A slot is free.
    pub(crate) fn ready(&self) -> Result<()> {
        self.say(Up::Ready(Ready { slots: 1 }))
    }

    /// A sign of life, which the server confirms.
    pub(crate) fn beat(&self, holding: &[Lease]) -> Result<()> {
        let number = self.beats.fetch_add(1, Ordering::Relaxed) + 1;
        self.say(Up::Heartbeat(Heartbeat { holding: holding.to_vec(), number, ..Heartbeat::default() }))
    }

    /// The next message. May be dropped while it waits.
    pub(crate) async fn heard(&mut self) -> Result<Down> {
        while let Some(FromServer { message }) = self.down.message().await? {
            if let Some(message) = message {
                return Ok(message);
            }
        }
        bail!("the server ended the session")
    }

    /// The next offer.
    pub(crate) async fn offer(&mut self) -> Result<Offer> {
        loop {
            if let Down::Offer(offer) = self.heard().await? {
                return Ok(offer);
            }
        }
    }

    /// Takes the offer.
    pub(crate) fn accept(&self, offer: &Offer) -> Result<()> {
        self.say(Up::Accept(Accept { lease: offer.lease.clone() }))
    }

    /// Takes the offer and says at once that all of it passed.
    pub(crate) async fn finish(&mut self, offer: &Offer) -> Result<()> {
        self.accept(offer)?;
        self.pass(offer).await
    }

    /// Says that all of it passed.
    pub(crate) async fn pass(&mut self, offer: &Offer) -> Result<()> {
        let lease = offer.lease.clone();
        let report = |stage: &StageRef, status: &str| StageReport {
            lease: lease.clone(),
            stage_id: stage.id,
            status: status.into(),
            ..StageReport::default()
        };
        let first = offer.stages.first().context("an offer has stages")?;
        self.client.report_stage(with_token(&self.secret, report(first, "running"))?).await?;
        let stages = offer.stages.iter().map(|stage| report(stage, "passed")).collect();
        let result = AttemptResult {
            lease: lease.clone(),
            status: "passed".into(),
            stages,
            ..AttemptResult::default()
        };
        self.client.finish_attempt(with_token(&self.secret, result)?).await?;
        Ok(())
    }

    fn say(&self, message: Up) -> Result<()> {
        Ok(self.up.send(FromWorker { message: Some(message) })?)
    }
}

fn with_token<T>(secret: &str, body: T) -> Result<Request<T>> {
    let mut request = Request::new(body);
    request.metadata_mut().insert("authorization", format!("Bearer {secret}").parse()?);
    Ok(request)
}
