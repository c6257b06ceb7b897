//! Takes attempts back from a worker before their leases run out.

use ocelot_model::WorkerId;
use ocelot_store::{Held, StoreError};

use super::advance;
use crate::App;

/// Takes everything back that this worker holds. What it had begun with gets a new attempt.
pub async fn fence(app: &App, worker: WorkerId, reason: &str) -> Result<(), StoreError> {
    for held in app.store.held_by_worker(worker).await? {
        take_back(app, &held, reason).await?;
    }
    Ok(())
}

/// Takes one attempt back. An offer that nobody answered goes back into the queue and costs the job nothing.
pub async fn take_back(app: &App, held: &Held, reason: &str) -> Result<(), StoreError> {
    let taken = match app.store.withdraw_offer(held).await {
        Ok(false) => advance::lost(app, held, reason.to_owned()).await,
        other => other.map(drop),
    };
    match taken {
        // It ended in the same moment.
        Err(StoreError::Stale) => Ok(()),
        other => other,
    }
}
