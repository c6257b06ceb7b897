//! The worker protocol, spoken by a worker that says exactly what a test tells it to.

mod cancel;
mod leases;
mod log_store;
mod logs;
mod offers;
mod queue;
mod reports;
mod retention;
mod start;
mod workers;
pub(crate) mod world;
