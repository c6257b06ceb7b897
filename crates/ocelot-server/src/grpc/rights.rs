//! What a stream of log chunks may write: stages of attempts whose leases are good.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use ocelot_api::proto::LogChunk;
use ocelot_model::AttemptId;
use ocelot_store::{Identity, Lease};
use tonic::Status;

use super::session::from_proto;
use super::{auth, refusal};
use crate::App;

/// A lease that was good a moment ago is not asked about again for each chunk.
const TRUSTED_FOR: Duration = Duration::from_secs(3);

/// The attempts that a stream wrote about so far.
#[derive(Debug)]
pub(super) struct Rights {
    caller: Identity,
    known: HashMap<AttemptId, Right>,
}

#[derive(Debug)]
struct Right {
    lease: Lease,
    stages: HashSet<i64>,
    checked: Instant,
}

impl Rights {
    /// Of this caller; nothing is known yet.
    pub(super) fn new(caller: Identity) -> Rights {
        Rights { caller, known: HashMap::new() }
    }

    /// Refuses a chunk whose lease is over or whose stage is another attempt's.
    pub(super) async fn check(&mut self, app: &App, chunk: &LogChunk) -> Result<(), Status> {
        let lease =
            chunk.lease.as_ref().map(from_proto).ok_or_else(|| Status::invalid_argument("no lease"))?;
        let right = match self.known.get_mut(&lease.attempt_id).filter(|right| right.lease == lease) {
            Some(right) => {
                if right.checked.elapsed() > TRUSTED_FOR {
                    app.store.check_lease(&lease).await.map_err(|e| refusal(&e))?;
                    right.checked = Instant::now();
                }
                right
            }
            None => {
                auth::check_own(app, self.caller, &lease).await?;
                let id = lease.attempt_id;
                let right = Right::of(app, lease).await?;
                self.known.entry(id).insert_entry(right).into_mut()
            }
        };
        if right.stages.contains(&chunk.stage_id) {
            return Ok(());
        }
        Err(Status::permission_denied("this stage is not part of the leased attempt"))
    }
}

impl Right {
    async fn of(app: &App, lease: Lease) -> Result<Right, Status> {
        let held = app.store.check_lease(&lease).await.map_err(|e| refusal(&e))?;
        let detail = app.store.find_build_detail(held.build).await.map_err(|e| refusal(&e))?;
        let attempts = detail.into_iter().flat_map(|detail| detail.jobs).flat_map(|job| job.attempts);
        let stages =
            attempts.filter(|attempt| attempt.id == lease.attempt_id).flat_map(|attempt| attempt.stages);
        let stages = stages.map(|stage| stage.id.0).collect();
        Ok(Right { lease, stages, checked: Instant::now() })
    }
}
