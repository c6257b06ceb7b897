//! Concurrency groups: after a build came or went, the next one may go on, or an older one must make room.

use ocelot_store::{Build, GroupKey, StoreError};

use super::advance::count;
use crate::App;

/// Looks at the group of this build. What cannot be done now is done by the loop that looks at all groups.
pub(super) async fn settle(app: &App, build: &Build) {
    let Some(group) = build.group() else { return };
    if let Err(error) = settle_group(app, &group).await {
        tracing::warn!(%error, build = %build.number, "its concurrency group cannot be looked at now");
    }
}

/// Looks at all groups in which a build waits: nothing is left waiting by a server that died in between.
pub(crate) async fn settle_all(app: &App) -> Result<(), StoreError> {
    for group in app.store.waiting_groups().await? {
        settle_group(app, &group).await?;
    }
    Ok(())
}

async fn settle_group(app: &App, group: &GroupKey) -> Result<(), StoreError> {
    for (number, changes) in app.store.settle_group(group).await? {
        count(app, number, &changes).await;
    }
    Ok(())
}
