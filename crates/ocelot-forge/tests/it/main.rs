//! Git against real repositories; webhooks and APIs against forges that the testkit fakes over HTTP.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

mod access;
mod api;
mod faults;
mod fixtures;
mod git;
mod hostile;
mod webhooks;
