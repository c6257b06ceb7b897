//! 1,000 connected workers without work: what the server needs for them, and how they come back after its restart.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ocelot_api::proto::from_server::Message as Down;
use serde_json::json;
use tokio::task::JoinSet;

use crate::report::{Figure, write};
use crate::server::{self, Server};
use crate::worker::{BEAT, Worker};

const WORKERS: usize = 1_000;
/// So long the server is watched.
const WATCHED: Duration = Duration::from_mins(1);
/// Nothing takes longer.
const DEADLINE: Duration = Duration::from_mins(2);

/// See the module.
pub(crate) async fn measure(ocelot: &Path) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let port = server::free_port()?;
    let up = server::start(ocelot, "up", &data, port, &["--slots", "0"]).await?;
    let secret = up.worker_token().await?;
    let fleet = Fleet::start(up.url(), &secret);
    fleet.all_there().await?;
    let cpu = up.cpu_seconds()?;
    let begin = Instant::now();
    tokio::time::sleep(WATCHED).await;
    let busy = (up.cpu_seconds()? - cpu) / begin.elapsed().as_secs_f64();
    let memory = up.memory("status", "VmRSS:")? / 1e6;
    // By SIGTERM.
    drop(up);
    let again = server::start(ocelot, "up", &data, port, &["--slots", "0"]).await?;
    let begin = Instant::now();
    let (back, failed) = tokio::join!(fleet.all_there(), requests(&again, &fleet));
    back?;
    let back = begin.elapsed().as_secs_f64();
    let (made, failed) = failed;
    let most = |name, value, target, unit| Figure { name, value, target, more_is_better: false, unit };
    let figures = [
        most("fleet_memory", memory, 150.0, "MB"),
        most("fleet_cpu", busy, 0.05, "cores"),
        most("fleet_back_after_restart", back, 60.0, "s"),
        most("fleet_failed_requests", failed as f64, 0.0, "requests"),
    ];
    let refused = fleet.refused.load(Ordering::Relaxed);
    write("fleet", &figures, &json!({"workers": WORKERS, "requests": made, "sessions_refused": refused}))
}

/// Asks for the list of workers again and again until all are back: how often, and how often in vain.
async fn requests(server: &Server, fleet: &Fleet) -> (usize, usize) {
    let (mut made, mut failed) = (0, 0);
    while fleet.there.load(Ordering::Relaxed) < WORKERS {
        made += 1;
        failed += usize::from(server.client.workers().await.is_err());
    }
    (made, failed)
}

struct Fleet {
    there: Arc<AtomicUsize>,
    /// Sessions that a server which was ready did not take.
    refused: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Fleet {
    fn start(url: &str, secret: &str) -> Fleet {
        let (there, refused) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let mut tasks = JoinSet::new();
        for at in 0..WORKERS {
            let (url, secret) = (url.to_owned(), secret.to_owned());
            let (there, refused) = (Arc::clone(&there), Arc::clone(&refused));
            tasks.spawn(async move {
                let mut wait = Duration::ZERO;
                loop {
                    // Like real ones: not all in the same moment.
                    tokio::time::sleep(wait + Duration::from_millis(at as u64)).await;
                    match Worker::connect(&url, &secret, &format!("w{at}"), &[]).await {
                        Ok(worker) => {
                            there.fetch_add(1, Ordering::Relaxed);
                            wait = idle(worker).await;
                            there.fetch_sub(1, Ordering::Relaxed);
                        }
                        Err(_) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                            wait = Duration::from_secs(1);
                        }
                    }
                }
            });
        }
        Fleet { there, refused, _tasks: tasks }
    }

    async fn all_there(&self) -> Result<()> {
        let begin = Instant::now();
        while self.there.load(Ordering::Relaxed) < WORKERS {
            if begin.elapsed() > DEADLINE {
                bail!("{} of {WORKERS} workers are there", self.there.load(Ordering::Relaxed));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// Beats until the session ends; how long to stay away then.
async fn idle(mut worker: Worker) -> Duration {
    if worker.ready().is_err() {
        return Duration::ZERO;
    }
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            _ = beat.tick() => if worker.beat(&[]).is_err() { return Duration::ZERO },
            heard = worker.heard() => match heard {
                Ok(Down::GoingAway(away)) => return Duration::from_millis(u64::from(away.retry_after_ms)),
                Ok(_) => {}
                Err(_) => return Duration::ZERO,
            },
        }
    }
}
