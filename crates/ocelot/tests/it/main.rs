//! The executable from outside: what people and scripts see.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there"))]

mod backup;
mod caps;
mod chaos;
mod cli;
mod clone;
mod drain;
mod e2e;
mod fake;
mod follow;
mod forges;
mod handover;
mod listings;
mod notify;
mod prometheus;
mod proxy;
mod registry;
mod restart;
mod secrets;
mod servers;
mod site;
mod subscriptions;
mod terminal;
mod tls;
mod workers;

const OCELOT: &str = env!("CARGO_BIN_EXE_ocelot");
