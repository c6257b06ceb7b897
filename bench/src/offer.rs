//! From the commit of a job to its offer in the hands of an idle worker, over gRPC.

use std::path::Path;

use anyhow::{Context, Result, bail};
use ocelot_api::body::{NewBuild, NewToken};
use ocelot_api::proto::from_server::Message as Down;
use ocelot_api::proto::from_worker::Message as Up;
use ocelot_api::proto::worker_api_client::WorkerApiClient;
use ocelot_api::proto::{Accept, AttemptResult, FromServer, FromWorker, Hello, Offer, Ready, StageReport};
use ocelot_model::access::Role;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use crate::report::{Figure, median, write};
use crate::server;

const TIMES: usize = 60;

/// See the module.
pub(crate) async fn measure(ocelot: &Path) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let yml = "image: none\nstages:\n  - name: s\n    script: ['true']\n";
    let path = server::repository(folder.path(), "offer", yml)?;
    let up = server::up(ocelot, &folder.path().join("data"), &["--slots", "0"]).await?;
    let repo = up.add(&path, "offer").await?;
    let token = NewToken { name: "bench".into(), role: Role::Worker, repos: Vec::new(), expires_days: None };
    let secret = up.client.create_token(&token).await?.secret;
    let mut worker = Worker::new(up.url(), secret).await?;
    let mut late = vec![];
    for _ in 0..TIMES {
        let new = NewBuild { repo: repo.clone(), branch: Some("main".into()), ..NewBuild::default() };
        let (build, offer) = tokio::join!(up.client.start(&new), worker.offer());
        let (offer, arrived) = offer?;
        // The database's clock is this machine's.
        late.push((arrived - build?.queued_at).total(jiff::Unit::Millisecond)?);
        worker.finish(&offer).await?;
    }
    let figures =
        [Figure { name: "offer", value: median(&late), target: 5.0, more_is_better: false, unit: "ms" }];
    write("offer", &figures, &json!({"late_ms": late}))
}

/// A worker that takes everything and does nothing.
struct Worker {
    client: WorkerApiClient<Channel>,
    up: mpsc::UnboundedSender<FromWorker>,
    down: Streaming<FromServer>,
    secret: String,
}

impl Worker {
    async fn new(url: &str, secret: String) -> Result<Worker> {
        let mut client = WorkerApiClient::connect(url.to_owned()).await?;
        let (up, said) = mpsc::unbounded_channel();
        let hello = Hello {
            protocol_min: ocelot_api::PROTOCOL_MIN,
            protocol_max: ocelot_api::PROTOCOL_MAX,
            name: "bench".into(),
            labels: [("executor".to_owned(), "docker".to_owned())].into(),
            slots: 1,
            ..Hello::default()
        };
        for message in [Up::Hello(hello), Up::Ready(Ready { slots: 1 })] {
            up.send(FromWorker { message: Some(message) })?;
        }
        let request = with_token(&secret, UnboundedReceiverStream::new(said))?;
        let down = client.session(request).await?.into_inner();
        Ok(Worker { client, up, down, secret })
    }

    async fn offer(&mut self) -> Result<(Offer, jiff::Timestamp)> {
        while let Some(FromServer { message }) = self.down.message().await? {
            if let Some(Down::Offer(offer)) = message {
                return Ok((offer, jiff::Timestamp::now()));
            }
        }
        bail!("the server ended the session")
    }

    async fn finish(&mut self, offer: &Offer) -> Result<()> {
        let lease = offer.lease.clone();
        self.up.send(FromWorker { message: Some(Up::Accept(Accept { lease: lease.clone() })) })?;
        let report = |stage: &ocelot_api::proto::StageRef, status: &str| StageReport {
            lease: lease.clone(),
            stage_id: stage.id,
            status: status.into(),
            ..StageReport::default()
        };
        let first = offer.stages.first().context("an offer has stages")?;
        self.client.report_stage(with_token(&self.secret, report(first, "running"))?).await?;
        let stages = offer.stages.iter().map(|stage| report(stage, "passed")).collect();
        let result = AttemptResult { lease, status: "passed".into(), stages, ..AttemptResult::default() };
        self.client.finish_attempt(with_token(&self.secret, result)?).await?;
        self.up.send(FromWorker { message: Some(Up::Ready(Ready { slots: 1 })) })?;
        Ok(())
    }
}

fn with_token<T>(secret: &str, body: T) -> Result<Request<T>> {
    let mut request = Request::new(body);
    request.metadata_mut().insert("authorization", format!("Bearer {secret}").parse()?);
    Ok(request)
}
