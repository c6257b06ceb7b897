//! Webhooks as they are stored, and what became of them.

use jiff::Timestamp;
use ocelot_model::build::Change;
use ocelot_model::delivery::Part;
use ocelot_model::{BuildNumber, DeliveryId, DeliveryState, ForgeId, ForgeKind, RepoId};

use crate::{BuildDetail, Repo};

/// Hook and event of what no forge told, but Ocelot found there. Its body is an `Event`, as JSON. No webhook has this id.
pub const RECONCILE: &str = "reconcile";

/// A webhook that was verified, or what Ocelot found.
#[derive(Debug, Clone)]
pub struct NewDelivery<'a> {
    /// Who sent it.
    pub forge: ForgeId,
    /// The repository that it is about; `None` when that is not here.
    pub repo: Option<RepoId>,
    /// The webhook with whose secret it was signed; `None` for the forge's own.
    pub hook: Option<&'a str>,
    /// What the forge calls it.
    pub remote_id: &'a str,
    /// The forge's word for what happened.
    pub event: &'a str,
    /// The raw bytes.
    pub body: &'a [u8],
    /// What it tells.
    pub told: &'a Told,
}

/// What a webhook tells, or what became of it at once.
pub type Told = Result<Vec<Part>, (DeliveryState, String)>;

/// A delivery without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: DeliveryId,
    /// Short name of the forge.
    pub forge: String,
    /// Which language it speaks.
    pub kind: ForgeKind,
    /// Its repository.
    pub repo: Option<Repo>,
    /// The webhook; `None` for the forge's own.
    pub hook: Option<String>,
    /// What the forge calls it.
    pub remote_id: String,
    /// The forge's word for what happened.
    pub event: String,
    /// When it came.
    pub received_at: Timestamp,
    /// What became of it.
    pub state: DeliveryState,
    /// The same in words.
    pub outcome: String,
    /// When that was known.
    pub handled_at: Option<Timestamp>,
    /// How often it was tried.
    pub tries: u32,
    /// What it tells, in order.
    pub parts: Vec<DeliveryPart>,
}

/// One thing that a delivery tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPart {
    /// `refs/heads/x`, `refs/tags/x` or `pull/3`.
    pub subject: String,
    /// What became of it.
    pub state: DeliveryState,
    /// The same in words.
    pub outcome: String,
    /// The build of its commit.
    pub build: Option<BuildNumber>,
}

/// A delivery that this server works on now.
#[derive(Debug, Clone)]
pub struct TakenDelivery {
    /// The delivery.
    pub delivery: Delivery,
    /// The raw bytes.
    pub body: Vec<u8>,
    /// For so many microseconds it has been tried.
    pub tried_for_us: i64,
}

/// Which part of which delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartId {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Place among its parts, from 0.
    pub place: u32,
}

/// Why a build is made.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The part that tells of its commit.
    pub part: PartId,
    /// Of a pull request that has a build of this very commit already, no further one is made.
    pub again_is_same: bool,
    /// Older builds of the same branch or pull request are of no interest any more.
    pub supersedes: bool,
}

/// What came of a part that asked for a build.
#[derive(Debug)]
pub enum Arrived {
    /// A build.
    Made {
        /// This one.
        build: Box<BuildDetail>,
        /// The older ones that it cancelled, and what changed in each.
        superseded: Vec<(BuildNumber, Vec<Change>)>,
    },
    /// No further one.
    Settled(DeliveryState, String),
}

/// Which deliveries to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Only about this repository.
    pub repo: Option<RepoId>,
    /// Only about these, which the caller may read; `None`: about any, and about what is not here.
    pub readable: Option<Vec<RepoId>>,
    /// Only from this forge.
    pub forge: Option<String>,
    /// Only with this state.
    pub state: Option<DeliveryState>,
    /// Only with a smaller number.
    pub before: Option<DeliveryId>,
}
