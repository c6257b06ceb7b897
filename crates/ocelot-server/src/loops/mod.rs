//! What happens without being asked: one file per loop. A loop that dies stops the process.

mod deliveries;
mod groups;
mod history;
mod insights;
mod janitor;
mod leases;
mod log_store;
mod outbox;
mod queue;
mod reconcile;
mod retention;
mod times;

pub use times::times;

use crate::App;
use crate::serve::Parts;

/// Starts all loops.
pub(crate) fn start(app: &App, parts: &mut Parts) {
    parts.spawn("handing out jobs", crate::grpc::dispatch::dispatch(app.clone()));
    parts.spawn("noting who is there", crate::grpc::roll::roll(app.clone()));
    parts.spawn("working on webhooks", deliveries::deliveries(app.clone()));
    parts.spawn("looking at leases", leases::leases(app.clone()));
    parts.spawn("looking at concurrency groups", groups::groups(app.clone()));
    parts.spawn("looking at the queue", queue::queue(app.clone()));
    parts.spawn("mending what cannot end", janitor::janitor(app.clone()));
    parts.spawn("sending statuses to forges", outbox::outbox(app.clone()));
    parts.spawn("looking at logs", insights::insights(app.clone()));
    parts.spawn("copying logs into the log store", log_store::log_store(app.clone()));
    parts.spawn("looking at polls, schedules and subscriptions", times(app.clone()));
    parts.spawn("looking for what forges never told", reconcile::reconcile(app.clone()));
    parts.spawn("counting what ended", history::history(app.clone()));
    parts.spawn("removing what is old", retention::retention(app.clone()));
}
