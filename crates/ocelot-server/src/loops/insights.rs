//! Looks at the logs of stages that are over, one after the other. What a server that dies did not look at is looked at when
//! somebody asks (failed stages), or not at all (passed ones: the next run teaches the same).

use crate::App;
use crate::builds::insight;

/// Runs until the server stops.
pub(super) async fn insights(app: App) -> anyhow::Result<()> {
    loop {
        let stage = tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            stage = app.insights.next() => stage,
        };
        if let Err(error) = insight::look(&app, stage).await {
            tracing::debug!(%error, %stage, "a log is not compared with others");
        }
    }
}
