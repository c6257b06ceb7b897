//! What the store gives and takes: one plain struct per row, no SQL.

mod builds;
mod logs;
mod outbox;
mod queue;
mod repos;
mod workers;

pub use builds::*;
pub use logs::*;
pub use outbox::*;
pub use queue::*;
pub use repos::*;
pub use workers::*;
