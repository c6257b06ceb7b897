//! Two servers on one PostgreSQL, 50 workers, 5,000 builds, and one of the servers dies in the middle: is anything lost or
//! done twice? And how long it takes after the silent end of a worker until its job is tried again.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ocelot_api::body::{Build, NewBuild};
use ocelot_api::client::{BuildQuery, Client};
use ocelot_api::proto::from_server::Message as Down;
use ocelot_api::proto::{Lease, Offer};
use ocelot_testkit::Postgres;
use serde_json::json;
use tokio::task::JoinSet;

use crate::report::{Figure, write};
use crate::server::{self, Server};
use crate::worker::{BEAT, Worker};

const WORKERS: usize = 50;
const BUILDS: usize = 5_000;
/// Who asks for builds, at once.
const ASKING: usize = 8;
/// The server dies when so many have been asked for.
const DIES_AT: usize = BUILDS / 2;
const DEADLINE: Duration = Duration::from_mins(10);
const LIMIT: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) async fn measure(ocelot: &Path) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let yml = "image: none\nstages:\n  - name: s\n    script: ['true']\n";
    let path = server::repository(folder.path(), "two", yml)?;
    let cluster = tokio::task::spawn_blocking(Postgres::durable).await?;
    let database = cluster.database();
    let limit = format!("{}s", LIMIT.as_secs());
    let logs = format!("file://{}", folder.path().join("logs").display());
    let options = [
        "--database-url",
        &database,
        "--lease-hard-limit",
        &limit,
        "--log-store",
        &logs,
        "--log-store-shared",
    ];
    let port = server::free_port()?;
    let one = server::start(ocelot, "server", &folder.path().join("one"), port, &options).await?;
    let port = server::free_port()?;
    let other = server::start(ocelot, "server", &folder.path().join("other"), port, &options).await?;
    let repo = one.add(&path, "two").await?;
    let secret = one.worker_token().await?;
    let done = Done::default();
    let fleet = start_fleet([one.url(), other.url()], &secret, &done);
    let begin = Instant::now();
    let asked = ask(one, &other, &repo).await?;
    let builds = all_over(&other, &asked).await?;
    let took = begin.elapsed().as_secs_f64();
    drop(fleet);
    let tried = loss(&other, &secret, &repo).await?;
    let passed = |number: &&i64| builds.get(number).is_some_and(|build| build.status.is_good());
    let lost = asked.len() - asked.iter().filter(passed).count();
    let twice = done.twice();
    let most = |name, value, target, unit| Figure { name, value, target, more_is_better: false, unit };
    let figures = [
        most("two_servers_lost", lost as f64, 0.0, "builds"),
        most("two_servers_double_claims", twice as f64, 0.0, "claims"),
        most("loss_to_new_attempt_beyond_limit", tried.as_secs_f64() - LIMIT.as_secs_f64(), 5.0, "s"),
    ];
    let raw = json!({"workers": WORKERS, "builds": asked.len(), "seconds": took, "lease_hard_limit_s": LIMIT.as_secs()});
    write("two", &figures, &raw)
}

/// Asks both servers for builds, and ends one of them on the way; the builds that were promised.
async fn ask(one: Server, other: &Server, repo: &str) -> Result<BTreeSet<i64>> {
    let clients = [Arc::new(one.client.clone()), Arc::new(other.client.clone())];
    let mut one = Some(one);
    let mut asked = BTreeSet::new();
    let mut asking = JoinSet::new();
    for at in 0..BUILDS {
        if at == DIES_AT
            && let Some(one) = one.take()
        {
            one.kill()?;
        }
        if asking.len() >= ASKING {
            asked.extend(asking.join_next().await.context("someone asks")??);
        }
        // Who gets no answer from one asks the other; the first may have made a build all the same.
        let (first, second) = (Arc::clone(&clients[at % 2]), Arc::clone(&clients[(at + 1) % 2]));
        let new = NewBuild { repo: repo.to_owned(), branch: Some("main".into()), ..NewBuild::default() };
        asking.spawn(async move {
            match first.start(&new).await {
                Ok(build) => Some(build.number),
                Err(_) => second.start(&new).await.ok().map(|build| build.number),
            }
        });
    }
    while let Some(number) = asking.join_next().await {
        asked.extend(number?);
    }
    if asked.len() < BUILDS {
        bail!("{} of {BUILDS} requests had no answer from either server", BUILDS - asked.len());
    }
    Ok(asked)
}

/// Waits until no build goes on; all that there are.
async fn all_over(server: &Server, asked: &BTreeSet<i64>) -> Result<HashMap<i64, Build>> {
    let begin = Instant::now();
    loop {
        let builds = list(&server.client).await?;
        let open = asked.iter().filter(|number| builds.get(number).is_none_or(|b| !b.status.is_terminal()));
        let open = open.count();
        if open == 0 {
            return Ok(builds);
        }
        if begin.elapsed() > DEADLINE {
            bail!("{open} builds are not over after {DEADLINE:?}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn list(client: &Client) -> Result<HashMap<i64, Build>> {
    let mut all = HashMap::new();
    let mut query = BuildQuery { limit: Some(500), ..BuildQuery::default() };
    loop {
        let page = client.builds(&query).await?;
        all.extend(page.items.into_iter().map(|build| (build.number, build)));
        match page.next {
            Some(cursor) => query.cursor = Some(cursor),
            None => return Ok(all),
        }
    }
}

/// A worker takes a job and is never heard again: the time from its last word to the next attempt's offer to another.
async fn loss(server: &Server, secret: &str, repo: &str) -> Result<Duration> {
    let mut lost = Worker::connect(server.url(), secret, "lost", &[]).await?;
    lost.ready()?;
    let new = NewBuild { repo: repo.to_owned(), branch: Some("main".into()), ..NewBuild::default() };
    let build = server.client.start(&new).await?.number;
    let offer = lost.offer().await?;
    lost.accept(&offer)?;
    lost.beat(&offer.lease.into_iter().collect::<Vec<_>>())?;
    let silent = Instant::now();
    let mut next = Worker::connect(server.url(), secret, "next", &[]).await?;
    next.ready()?;
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            _ = beat.tick() => next.beat(&[])?,
            heard = next.heard() => if let Down::Offer(offer) = heard? {
                anyhow::ensure!(offer.build_number == build, "an offer of another build");
                let took = silent.elapsed();
                next.finish(&offer).await?;
                return Ok(took);
            },
        }
        if silent.elapsed() > DEADLINE {
            bail!("the job of a lost worker was not tried again");
        }
    }
}

/// Which attempts were begun, and how often.
#[derive(Clone, Default)]
struct Done(Arc<Mutex<HashMap<(i64, u32), usize>>>);

impl Done {
    fn began(&self, lease: &Lease) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry((lease.attempt_id, lease.attempt)).or_default() += 1;
    }

    fn twice(&self) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter(|times| **times > 1).count()
    }
}

fn start_fleet(urls: [&str; 2], secret: &str, done: &Done) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for at in 0..WORKERS {
        let (urls, secret, done) = (urls.map(str::to_owned), secret.to_owned(), done.clone());
        tasks.spawn(async move {
            let mut hands = None;
            for turn in at.. {
                // The other server when this one does not answer.
                let _ = session(&urls[turn % 2], &secret, &format!("w{at}"), &mut hands, &done).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    tasks
}

/// Works until the session ends; what it has in hands then is taken along to the next one.
async fn session(url: &str, secret: &str, name: &str, hands: &mut Option<Offer>, done: &Done) -> Result<()> {
    let leases: Vec<Lease> = hands.iter().filter_map(|offer| offer.lease.clone()).collect();
    let mut worker = Worker::connect(url, secret, name, &leases).await?;
    let mut beat = tokio::time::interval(BEAT);
    loop {
        if let Some(offer) = hands {
            match worker.pass(offer).await {
                Ok(()) => {}
                // Not ours any more; anything else is tried again in the next session.
                Err(error) if is_stale(&error) => {}
                Err(error) => return Err(error),
            }
            *hands = None;
        }
        worker.ready()?;
        loop {
            tokio::select! {
                _ = beat.tick() => worker.beat(&[])?,
                heard = worker.heard() => match heard? {
                    Down::Offer(offer) => {
                        worker.accept(&offer)?;
                        done.began(offer.lease.as_ref().context("an offer has a lease")?);
                        *hands = Some(offer);
                        break;
                    }
                    Down::GoingAway(_) => bail!("the server goes away"),
                    _ => {}
                },
            }
        }
    }
}

fn is_stale(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<tonic::Status>()
        .is_some_and(|status| status.code() == tonic::Code::FailedPrecondition)
}
