//! What every handler and loop gets: the store, the configuration, the connected workers.

use std::sync::Arc;

use ocelot_store::Store;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::grpc::Fleet;
use crate::hooks::Hooks;
use crate::http::{Live, Recent};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// The database.
    pub store: Store,
    /// As started.
    pub config: Arc<Config>,
    /// The workers that are connected to this server.
    pub fleet: Fleet,
    /// Logs that are followed through this server.
    pub live: Live,
    /// Lists that were just asked for.
    pub recent: Recent,
    /// Stages that are over, whose logs are to be compared.
    pub insights: crate::builds::insight::Insights,
    /// What webhooks are signed with.
    pub hooks: Hooks,
    /// Repositories as git sees them.
    pub git: ocelot_forge::Git,
    /// Forges that this server has spoken to.
    pub forges: crate::forges::Forges,
    /// What goes out to others than forges.
    pub web: crate::notify::Web,
    /// Address that people and forges use, without a slash at the end.
    pub public_url: Arc<str>,
    /// Cancelled when the server is about to stop: it still serves, but says that it is not ready.
    pub stopping: CancellationToken,
    /// Cancelled when the server stops.
    pub shutdown: CancellationToken,
}
