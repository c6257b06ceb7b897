//! The server from outside: over HTTP, with a real database and real git repositories.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

mod forges;
mod grpc;
mod hooks;
mod http;
mod notify;
mod room;
mod tls;
mod trust_machine;
