//! Looks from time to time whether forges told of everything, and once after a start: nobody listened before it. Each
//! repository is looked at by one server; one that hangs or fails stops no other.

use std::time::Duration;

use ocelot_store::StoreError;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::App;
use crate::builds::reconcile;

/// How often it is looked for what has come round.
const EVERY: Duration = Duration::from_secs(2);
/// For so long it is this server's. Git and a forge's pages take less.
const TURN: Duration = Duration::from_mins(10);
/// So many at once.
const MOST: usize = 4;

/// Runs until the server stops.
pub(super) async fn reconcile(app: App) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(EVERY.min(app.config.reconcile_every));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut works = JoinSet::new();
    let mut begun = false;
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
            Some(ended) = works.join_next() => ended?,
        }
        if let Err(error) = begin(&app, &mut begun, &mut works).await {
            tracing::warn!(%error, "what forges never told cannot be looked for now");
        }
    }
}

async fn begin(app: &App, begun: &mut bool, works: &mut JoinSet<()>) -> Result<(), StoreError> {
    if !*begun {
        app.store.look_at_all().await?;
        *begun = true;
    }
    while works.len() < MOST {
        let Some((repo, known, turn)) = app.store.take_look(TURN).await? else { break };
        let app = app.clone();
        works.spawn(async move {
            match reconcile::look(&app, &repo, &known, turn).await {
                // It is not watched any more, or another server was faster.
                Ok(()) | Err(StoreError::Stale) => {}
                Err(error) => {
                    tracing::warn!(%error, "what the forge of {} never told is looked for later", repo.name);
                }
            }
        });
    }
    Ok(())
}
