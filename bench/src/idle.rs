//! `ocelot up` with 1,000 builds stored: anonymous memory 60 s after the start, and the time from start to ready.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use ocelot_api::body::NewBuild;
use serde_json::json;

use crate::report::{Figure, median, ms, write};
use crate::server;

const BUILDS: usize = 1_000;

/// See the module.
pub(crate) async fn measure(ocelot: &Path, times: usize) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    // Nothing serves this label, so the builds are stored and cost no containers; they are cancelled then.
    let yml = "image: none\nlabels: {nobody: serves}\nstages:\n  - name: s\n    script: ['true']\n";
    let repo = server::repository(folder.path(), "idle", yml)?;
    let data = folder.path().join("data");
    let up = server::up(ocelot, &data, &[]).await?;
    let name = up.add(&repo, "idle").await?;
    for _ in 0..BUILDS {
        let new = NewBuild { repo: name.clone(), branch: Some("main".into()), ..NewBuild::default() };
        let build = up.client.start(&new).await?;
        up.client.cancel(build.number).await?;
    }
    drop(up);
    let mut ready = vec![];
    for _ in 0..times {
        let up = server::up(ocelot, &data, &[]).await?;
        ready.push(ms(up.ready_after));
    }
    let up = server::up(ocelot, &data, &[]).await?;
    up.has_worker().await?;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let anonymous = up.memory("smaps_rollup", "Anonymous:")? / 1e6;
    let figures = [
        Figure { name: "idle_anonymous", value: anonymous, target: 30.0, more_is_better: false, unit: "MB" },
        Figure {
            name: "start_to_ready",
            value: median(&ready),
            target: 150.0,
            more_is_better: false,
            unit: "ms",
        },
    ];
    write("idle", &figures, &json!({"builds": BUILDS, "ready_ms": ready}))
}
