//! From a line being written in a container to a follower of the build having it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use ocelot_api::body::{Event, NewBuild};
use ocelot_api::client::Happened;
use serde_json::json;

use crate::report::{Figure, median, write};
use crate::server;

/// Lines, one every fifth of a second. Containers share the machine's `/proc/uptime`, which counts hundredths.
const LINES: usize = 50;

/// See the module.
pub(crate) async fn measure(ocelot: &Path) -> Result<bool> {
    let image = ocelot_testkit::docker_image_busybox();
    let folder = tempfile::tempdir()?;
    let say = format!(
        "i=0; while [ $i -lt {LINES} ]; do read now idle </proc/uptime; echo \"at $now\"; sleep 0.2; i=$((i+1)); done"
    );
    let yml = format!("image: {image}\nstages:\n  - name: say\n    script: ['{say}']\n");
    let repo = server::repository(folder.path(), "live", &yml)?;
    let up = server::up(ocelot, &folder.path().join("data"), &["--slots", "1"]).await?;
    up.has_worker().await?;
    let name = up.add(&repo, "live").await?;
    let new = NewBuild { repo: name, branch: Some("main".into()), ..NewBuild::default() };
    let number = up.client.start(&new).await?.number;
    let mut events = up.client.events(number, None);
    let mut late = vec![];
    while let Some(event) = events.next().await {
        let Happened::Event { event: Event::Log { text, .. }, .. } = event? else { continue };
        let now = uptime()?;
        // A line that came in two pieces is left out; what is left must be nearly all.
        let written = text.lines().filter_map(|line| line.strip_prefix("at ")?.parse::<f64>().ok());
        late.extend(written.map(|then| (now - then).max(0.0) * 1e3));
    }
    ensure!(late.len() >= LINES * 9 / 10, "only {} of {LINES} lines were seen", late.len());
    late.sort_by(f64::total_cmp);
    let worst = late.last().copied().unwrap_or_default();
    let figures = [
        Figure { name: "live_log", value: median(&late), target: 200.0, more_is_better: false, unit: "ms" },
        Figure { name: "live_log_worst", value: worst, target: 200.0, more_is_better: false, unit: "ms" },
    ];
    write("live", &figures, &json!({"late_ms": late}))
}

fn uptime() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/uptime")?;
    Ok(text.split_whitespace().next().context("/proc/uptime is empty")?.parse()?)
}
