//! The worker: claims jobs from a server and runs them through an executor.
//!
//! [`watch`] looks whether the machine is fit for jobs, and [`keep`] keeps it in order. [`session`] talks to the server and fills the slots of the [`board`]; [`attempt`] works on one job: [`setup`]
//! (rooms, and the checkout by [`mirror`] and [`workspace`]), one [`stage`] after the other, [`pump`] and [`ship`] for
//! the logs, [`report`] for the results. [`folder`] keeps what a worker that was killed must find again. Nothing here
//! knows Docker; that is the [`executor`]'s.

pub mod executor;

mod attempt;
mod backoff;
mod board;
mod breaker;
mod chunk;
mod condition;
mod config;
mod connect;
mod contact;
mod env;
mod error;
#[cfg(test)]
mod fake;
mod folder;
mod git;
mod identity;
mod keep;
#[cfg(test)]
mod life;
mod limit;
mod mask;
mod mirror;
mod plan;
mod pump;
mod report;
mod secrets;
mod session;
mod setup;
mod ship;
mod stage;
mod watch;
mod work;
mod workspace;

pub use condition::MinFree;
pub use config::{Config, ExecutorKind};
pub use error::WorkerError;
pub use identity::file as identity_file;
pub use keep::Keep;
pub use work::{Shutdown, work};
