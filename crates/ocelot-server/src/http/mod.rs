//! The HTTP side: one table of routes, who may call them, and the handlers by noun.
//!
//! Handlers read the store and call `builds/`; errors leave through [`problem`]. Nothing here
//! calls `grpc/`, and no handler decides on rights by itself: that is `ocelot_model::access::may`.

mod audit;
pub mod auth;
pub(crate) mod badges;
mod body;
mod builds;
mod creds;
mod cursor;
mod deliveries;
pub mod describe;
mod events;
mod export;
mod extract;
mod fleet;
mod follow;
mod forges;
mod guard;
mod insights;
mod live;
mod logs;
mod logtext;
mod middleware;
mod notifications;
mod origin;
mod past;
mod pause;
pub mod problem;
mod recent;
mod repos;
pub mod router;
mod secrets;
mod session;
mod stats;
mod status;
mod subscriptions;
mod times;
mod tokens;
mod webhook;
mod workers;

pub(crate) use extract::{Segments, build_number};
pub use guard::Right;
pub(crate) use guard::check_proxies;
pub use live::Live;
pub use recent::Recent;
pub use router::{metrics_router, router};
