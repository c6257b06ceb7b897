//! The server: HTTP, gRPC, what becomes of builds, the loops and the website.

mod admin;
pub mod app;
mod audit;
pub mod builds;
pub mod config;
pub mod forges;
pub mod grpc;
mod heads;
mod hooks;
pub mod http;
mod listen;
pub mod loops;
pub mod metrics;
pub mod notify;
mod serve;
mod site;
mod tls;

pub use app::App;
pub use builds::insight::Insights;
pub use config::{Config, Keep, Patience, Tls};
pub use hooks::Hooks;
pub use ocelot_store::{LogPlace, LogStoreOptions};
pub use serve::{Server, start};
