//! Host executor: from the trigger to the first command, against a bare `git fetch` + checkout of that repository.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use ocelot_api::body::NewBuild;
use serde_json::json;

use crate::report::{Figure, median, ms, write};
use crate::server;

// GNU date: this stage runs on the machine itself.
const YML: &str = "labels: {executor: host}\nstages:\n  - name: now\n    command: [date, +%s%N]\n";

/// See the module.
pub(crate) async fn measure(ocelot: &Path, times: usize) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let repo = server::repository(folder.path(), "host", YML)?;
    let data = folder.path().join("data");
    let up = server::up(ocelot, &data, &["--slots", "1", "--executor", "host"]).await?;
    up.has_worker().await?;
    let name = up.add(&repo, "host").await?;
    up.build(&name, "main").await?;
    let (mut ours, mut bare) = (vec![], vec![]);
    for at in 0..times {
        server::touch(&repo, &format!("round {at}"))?;
        bare.push(fetch_and_checkout(folder.path(), &repo, at)?);
        let begin = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let new = NewBuild { repo: name.clone(), branch: Some("main".into()), ..NewBuild::default() };
        let number = up.client.start(&new).await?.number;
        let mut events = up.client.events(number, None);
        while let Some(event) = events.next().await {
            event?;
        }
        let log = up.client.log(number).await?;
        let said = log.lines().rev().find_map(|line| line.trim().parse::<u128>().ok());
        let started = said.with_context(|| format!("the stage printed no time: {log}"))?;
        ours.push(started.saturating_sub(begin) as f64 / 1e6);
    }
    let ratios: Vec<f64> = ours.iter().zip(&bare).map(|(o, b)| o / b).collect();
    let figures = [
        Figure {
            name: "host_start_ratio",
            value: median(&ratios),
            target: 2.0,
            more_is_better: false,
            unit: "ratio",
        },
        Figure { name: "host_start", value: median(&ours), target: 60.0, more_is_better: false, unit: "ms" },
    ];
    write("host", &figures, &json!({"trigger_to_command_ms": ours, "bare_git_ms": bare}))
}

/// `git init`, `git fetch --depth=50` of the head and `git checkout` into a fresh folder, in milliseconds.
fn fetch_and_checkout(root: &Path, repo: &Path, at: usize) -> Result<f64> {
    let target = root.join(format!("bare{at}"));
    std::fs::create_dir_all(&target)?;
    let url = format!("file://{}", repo.display());
    let begin = Instant::now();
    server::git(&target, &["init", "-q"])?;
    server::git(&target, &["fetch", "-q", "--depth=50", &url, "main"])?;
    server::git(&target, &["checkout", "-q", "--detach", "FETCH_HEAD"])?;
    Ok(ms(begin.elapsed()))
}
