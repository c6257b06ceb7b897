//! 200 MB of 100-byte lines through a Docker stage, until the whole log is durable and readable, against what the
//! engine's attach stream gives for the same output.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use crate::report::{Figure, median, write};
use crate::{docker, server};

const BYTES: u64 = 200_000_000;
// 99 characters and a line feed, as fast as busybox makes them.
const SCRIPT: &str = "yes \"$(printf '%099d' 7)\" | head -c 200000000";

/// See the module.
pub(crate) async fn measure(ocelot: &Path, times: usize) -> Result<bool> {
    let image = ocelot_testkit::docker_image_busybox();
    let folder = tempfile::tempdir()?;
    let yml = format!("image: {image}\nstages:\n  - name: flood\n    script:\n      - {SCRIPT}\n");
    let repo = server::repository(folder.path(), "log", &yml)?;
    let up = server::up(ocelot, &folder.path().join("data"), &["--slots", "1", "--log-cap", "1GiB"]).await?;
    up.has_worker().await?;
    let name = up.add(&repo, "log").await?;
    let engine = docker::connect().await?;
    let (mut ours, mut bare, mut peaks) = (vec![], vec![], vec![]);
    for _ in 0..times {
        let (bytes, time) = docker::attach_stream(&engine, image, SCRIPT).await?;
        bare.push(bytes as f64 / 1e6 / time.as_secs_f64());
        let (build, _) = up.build(&name, "main").await?;
        let stage =
            build.jobs.iter().flatten().flat_map(|job| &job.stages).find(|stage| stage.name == "flood");
        let Some(stage) = stage else { bail!("the stage is missing") };
        if stage.log_bytes < BYTES as i64 {
            bail!("the log has {} bytes only", stage.log_bytes);
        }
        // The stage's time counts until its log is whole: the worker reports the job's end after that.
        let time = Duration::from_millis(build.duration_ms.unwrap_or_default() as u64);
        ours.push(stage.log_bytes as f64 / 1e6 / time.as_secs_f64());
        peaks.push(peak_mb(up.pid())?);
    }
    let ratios: Vec<f64> = ours.iter().zip(&bare).map(|(o, b)| o / b).collect();
    let growth = peaks.last().unwrap_or(&0.0) - peaks.first().unwrap_or(&0.0);
    let figures = [
        Figure {
            name: "log_ratio",
            value: median(&ratios),
            target: 2.0,
            more_is_better: true,
            unit: "ratio",
        },
        Figure {
            name: "log_peak_memory",
            value: *peaks.last().unwrap_or(&0.0),
            target: 150.0,
            more_is_better: false,
            unit: "MB",
        },
    ];
    write(
        "log",
        &figures,
        &json!({"mb_per_s": ours, "bare_mb_per_s": bare, "peak_mb": peaks, "peak_growth_mb": growth}),
    )
}

/// The most memory that a process ever had.
pub(crate) fn peak_mb(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|v| v.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.unwrap_or_default() * 1024.0 / 1e6)
}
