//! The calls of the worker protocol.

use ocelot_api::proto::worker_api_server::WorkerApi;
use ocelot_api::proto::{
    Ack, AttemptResult, Enrolled, Enrolment, FromServer, FromWorker, LogAck, LogChunk, StageReport,
};
use ocelot_store::{StoreError, crash};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::adapters::Map;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::rights::Rights;
use super::{auth, hello, logs, refusal, report, session};
use crate::App;
use crate::builds::advance;

/// The service.
#[derive(Debug, Clone)]
pub struct Calls {
    pub(super) app: App,
}

type Said = Result<FromServer, Status>;
type Unboxed = Map<ReceiverStream<Box<Said>>, fn(Box<Said>) -> Said>;
type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl WorkerApi for Calls {
    type SessionStream = Unboxed;
    type ShipLogsStream = Answers<LogAck>;

    async fn enrol(&self, request: Request<Enrolment>) -> Result<Response<Enrolled>, Status> {
        let token = auth::secret(request.metadata())?.to_owned();
        let request = request.into_inner();
        hello::check_name(&request.name)?;
        hello::check_secret(&request.secret)?;
        match self.app.store.enrol(&token, &request.secret, &request.name).await {
            Ok(name) => {
                tracing::info!(name, "worker {name} has enrolled");
                Ok(Response::new(Enrolled { name }))
            }
            Err(StoreError::NotFound(_)) => Err(Status::unauthenticated(
                "the enrolment token is not known, used up, or has ended: `ocelot worker token create` makes another",
            )),
            Err(error) => Err(refusal(&error)),
        }
    }

    async fn session(
        &self,
        request: Request<Streaming<FromWorker>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let caller = auth::caller(&self.app, request.metadata()).await?;
        let told = session::begin(self.app.clone(), caller, request.into_inner()).await?;
        Ok(Response::new(ReceiverStream::new(told).map((|said| *said) as fn(Box<Said>) -> Said)))
    }

    async fn report_stage(&self, request: Request<StageReport>) -> Result<Response<Ack>, Status> {
        let caller = auth::caller(&self.app, request.metadata()).await?;
        let request = request.into_inner();
        let lease = report::lease(request.lease.as_ref())?;
        auth::check_own(&self.app, caller, &lease).await?;
        let update = report::stage(&request)?;
        advance::set_stage(&self.app, &lease, &update).await.map_err(|e| refusal(&e))?;
        // A word that cannot follow changed nothing; the worker should know.
        let stands = self.app.store.find_stage(update.id).await.map_err(|e| refusal(&e))?;
        if let Some((_, stage)) = stands.filter(|(_, stage)| stage.status != update.status) {
            let words = format!("the stage is {} and cannot become {}", stage.status, update.status);
            return Err(Status::failed_precondition(words));
        }
        Ok(Response::new(Ack {}))
    }

    async fn finish_attempt(&self, request: Request<AttemptResult>) -> Result<Response<Ack>, Status> {
        let caller = auth::caller(&self.app, request.metadata()).await?;
        let result = request.into_inner();
        let lease = report::lease(result.lease.as_ref())?;
        auth::check_own(&self.app, caller, &lease).await?;
        let (outcome, stages) = report::attempt(&result)?;
        advance::finish(&self.app, &lease, &stages, outcome).await.map_err(|e| refusal(&e))?;
        crash::point("attempt-finished");
        Ok(Response::new(Ack {}))
    }

    async fn ship_logs(
        &self,
        request: Request<Streaming<LogChunk>>,
    ) -> Result<Response<Self::ShipLogsStream>, Status> {
        let caller = auth::caller(&self.app, request.metadata()).await?;
        let (acks, answers) = mpsc::channel(64);
        tokio::spawn(logs::receive(self.app.clone(), Rights::new(caller), request.into_inner(), acks));
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
