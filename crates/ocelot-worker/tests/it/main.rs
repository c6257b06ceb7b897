//! The executors against a real Docker Engine and real processes. A missing engine fails the tests, with the
//! command that installs one.
#![expect(clippy::unwrap_used, reason = "a panic is the failure")]

mod docker;
mod hostile;
mod image;
mod machine;
mod many;
mod restart;
mod stages;
mod world;
