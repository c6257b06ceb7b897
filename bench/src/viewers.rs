//! Those who watch: what one that stops reading costs the sender, and what 200 followers of one log get and cost.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ocelot_api::body::{Event, NewBuild};
use ocelot_api::client::{Client, Happened};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::report::{Figure, median, write};
use crate::server::{self, Server};

const FOLLOWERS: usize = 200;
/// 400 MB, as fast as busybox makes them: until the buffers between server and viewer are full, a few MB, the viewer costs what a
/// reading one does.
const FLOOD: &str = "yes \"$(printf '%099d' 7)\" | head -c 400000000";
/// A line of 1 KB, twenty times a second, for 10 seconds.
const STEADY: &str = "i=0; while [ $i -lt 200 ]; do printf '%01000d\\n' $i; sleep 0.05; i=$((i+1)); done";

/// See the module.
pub(crate) async fn measure(ocelot: &Path, times: usize) -> Result<bool> {
    let image = ocelot_testkit::docker_image_busybox();
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let up = server::up(ocelot, &data, &["--slots", "1", "--log-cap", "1GiB"]).await?;
    up.has_worker().await?;
    let mut repos = vec![];
    for (name, script) in [("flood", FLOOD), ("steady", STEADY)] {
        let yml = format!("image: {image}\nstages:\n  - name: say\n    script:\n      - {}\n", json!(script));
        let repo = server::repository(folder.path(), name, &yml)?;
        repos.push(up.add(&repo, name).await?);
    }
    let token = std::fs::read_to_string(data.join("admin-token"))?;
    let (mut with, mut without) = (vec![], vec![]);
    for _ in 0..times {
        without.push(flood(&up, &repos[0], None).await?);
        with.push(flood(&up, &repos[0], Some(token.trim())).await?);
    }
    let ratio = median(&with) / median(&without);
    let seen = followers(&up, &repos[1]).await?;
    let figures = [
        Figure {
            name: "stuck_viewer_ratio",
            value: ratio,
            target: 1.05,
            more_is_better: false,
            unit: "ratio",
        },
        Figure {
            name: "followers_largest_update",
            value: seen.largest as f64,
            target: f64::from(64 << 10),
            more_is_better: false,
            unit: "bytes",
        },
        Figure {
            name: "followers_updates_per_second",
            value: median(&seen.rates),
            target: 3.5,
            more_is_better: true,
            unit: "per second",
        },
    ];
    write(
        "viewers",
        &figures,
        &json!({"with_s": with, "without_s": without, "updates_per_second": seen.rates, "server_cpu": seen.cpu}),
    )
}

/// Seconds of a build that writes as fast as it can, with a viewer that asks for it and reads nothing, or without.
async fn flood(up: &Server, repo: &str, token: Option<&str>) -> Result<f64> {
    let new = NewBuild { repo: repo.into(), branch: Some("main".into()), ..NewBuild::default() };
    let number = up.client.start(&new).await?.number;
    let mut stuck = None;
    if let Some(token) = token {
        let host = up.url().trim_start_matches("http://");
        let mut socket = TcpStream::connect(host).await?;
        let request = format!(
            "GET /api/v1/builds/{number}/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await?;
        stuck = Some(socket);
    }
    wait(&up.client, number).await?;
    drop(stuck);
    let build = up.client.build(number).await?;
    ensure!(build.status.is_good(), "build {number} ended as {}: {:?}", build.status, build.reason);
    Ok(build.duration_ms.unwrap_or_default() as f64 / 1e3)
}

/// Until it is over; asked now and then, so that nobody follows it.
async fn wait(client: &Client, number: i64) -> Result<()> {
    while !client.build(number).await?.status.is_terminal() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// What followers saw.
struct Seen {
    largest: usize,
    /// Of each follower.
    rates: Vec<f64>,
    /// Seconds of processor in a second.
    cpu: f64,
}

async fn followers(up: &Server, repo: &str) -> Result<Seen> {
    let new = NewBuild { repo: repo.into(), branch: Some("main".into()), ..NewBuild::default() };
    let number = up.client.start(&new).await?.number;
    let (begin, cpu) = (Instant::now(), cpu_seconds(up.pid())?);
    let tasks: Vec<_> = (0..FOLLOWERS).map(|_| tokio::spawn(follow(up.client.clone(), number))).collect();
    let mut seen = Seen { largest: 0, rates: vec![], cpu: 0.0 };
    for task in tasks {
        let (largest, rate) = task.await??;
        seen.largest = seen.largest.max(largest);
        seen.rates.push(rate);
    }
    seen.cpu = (cpu_seconds(up.pid())? - cpu) / begin.elapsed().as_secs_f64();
    Ok(seen)
}

/// The largest piece of log, and how many came in a second, from the first to the last one.
async fn follow(client: Client, number: i64) -> Result<(usize, f64)> {
    let mut events = client.events(number, None);
    let (mut largest, mut times) = (0, vec![]);
    while let Some(event) = events.next().await {
        if let Happened::Event { event: Event::Log { text, .. }, .. } = event? {
            // The setup's lines are short; those that are measured are not.
            if text.len() >= 1000 {
                largest = largest.max(text.len());
                times.push(Instant::now());
            }
        }
    }
    let [first, .., last] = times.as_slice() else { anyhow::bail!("a follower saw nothing") };
    Ok((largest, (times.len() - 1) as f64 / last.duration_since(*first).as_secs_f64()))
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    Ok((ticks(11).context("no user time")? + ticks(12).context("no system time")?) / 100.0)
}
