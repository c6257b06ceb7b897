//! Ids are types: a job's id cannot be passed where a stage's is wanted.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

id! {
    /// The global, ever-rising number of a build, from 1.
    BuildNumber,
    /// A configured forge.
    ForgeId,
    /// A webhook as it came.
    DeliveryId,
    /// A repository that Ocelot knows.
    RepoId,
    /// A job of a build.
    JobId,
    /// One try at a job.
    AttemptId,
    /// A stage of an attempt.
    StageId,
    /// A worker's durable identity.
    WorkerId,
    /// An access token (never its secret).
    TokenId,
}
