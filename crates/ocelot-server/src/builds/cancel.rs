//! Stopping a build. What waits ends at once; what runs is told to stop, and a second time not to clean up either.

use ocelot_model::BuildNumber;
use ocelot_model::access::Actor;
use ocelot_model::build::Happening;
use ocelot_store::{BuildDetail, StoreError};

use super::advance::after;
use crate::App;

/// Cancels; on a build that is over nothing happens. Answers the build as it is then.
pub async fn cancel(app: &App, number: BuildNumber, actor: &Actor) -> Result<BuildDetail, StoreError> {
    let missing = || StoreError::NotFound(format!("build {number}"));
    let build = app.store.find_build(number).await?.ok_or_else(missing)?;
    if !build.status.is_terminal() {
        let reason = format!("cancelled by {}", name(actor));
        let changes = app.store.advance(number, Happening::CancelRequested { reason }).await?;
        after(app, number, &changes).await;
    }
    app.store.find_build_detail(number).await?.ok_or_else(missing)
}

fn name(actor: &Actor) -> &str {
    match actor {
        Actor::Token { name, .. } => name,
        Actor::Anonymous => "nobody",
        Actor::Worker(_) => "a worker",
    }
}
