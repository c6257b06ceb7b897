//! From the commit of a job to its offer in the hands of an idle worker, over gRPC.

use std::path::Path;

use anyhow::Result;
use ocelot_api::body::NewBuild;
use serde_json::json;

use crate::report::{Figure, median, write};
use crate::server;
use crate::worker::Worker;

const TIMES: usize = 60;

/// See the module.
pub(crate) async fn measure(ocelot: &Path) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let yml = "image: none\nstages:\n  - name: s\n    script: ['true']\n";
    let path = server::repository(folder.path(), "offer", yml)?;
    let up = server::up(ocelot, &folder.path().join("data"), &["--slots", "0"]).await?;
    let repo = up.add(&path, "offer").await?;
    let secret = up.worker_token().await?;
    let mut worker = Worker::connect(up.url(), &secret, "bench", &[]).await?;
    worker.ready()?;
    let mut late = vec![];
    for _ in 0..TIMES {
        let new = NewBuild { repo: repo.clone(), branch: Some("main".into()), ..NewBuild::default() };
        let (build, offer) = tokio::join!(up.client.start(&new), async {
            let offer = worker.offer().await;
            (offer, jiff::Timestamp::now())
        });
        let (offer, arrived) = (offer.0?, offer.1);
        // The database's clock is this machine's.
        late.push((arrived - build?.queued_at).total(jiff::Unit::Millisecond)?);
        worker.finish(&offer).await?;
        worker.ready()?;
    }
    let figures =
        [Figure { name: "offer", value: median(&late), target: 5.0, more_is_better: false, unit: "ms" }];
    write("offer", &figures, &json!({"late_ms": late}))
}
