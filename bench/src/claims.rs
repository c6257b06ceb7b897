//! Claims through the store against the least that a claim can be: one update of one row in a transaction that is on
//! disk when it ends. Both on the same database, in turns, with a short queue, with 100,000 jobs that nobody serves in
//! front of it, and with 100,000 jobs that are served.
//!
//! A server claims for all its free slots in one transaction. So do the claims here that are counted: ten free slots, as
//! after a push to a fleet that was idle, against ten bare transactions. What a claim for one slot alone costs, as on a
//! fleet that is busy, stands beside it in the raw numbers (`alone`).

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ocelot_model::access::Role;
use ocelot_model::{Approvals, EventKind, Status, Trust, WorkerId, pipeline};
use ocelot_store::{Free, Hello, Identity, LogStoreOptions, NewBuild, NewRepo, Options, Plan, Repo, Store};
use ocelot_testkit::Postgres;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, SqliteConnection,
};

use crate::report::{Figure, median, ms, write};

/// A round takes eleven.
const FEW: usize = 110;
const MANY: usize = 100_000;
/// Jobs of one build.
const JOBS: usize = 1_000;
const REPOS: usize = 10;
/// Free slots, each of which gets a job, and how often.
const ROUND: usize = 10;
const ROUNDS: usize = 10;

/// See the module.
pub(crate) async fn measure() -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ocelot.db");
    let data = folder.path().join("data");
    let sqlite = format!("sqlite://{}", file.display());
    let log_store = LogStoreOptions::default();
    let lite =
        Options { database_url: sqlite, data: data.clone(), log_store: log_store.clone(), key_file: None };
    let lite = series(&lite, "BEGIN IMMEDIATE").await?;
    let cluster = tokio::task::spawn_blocking(Postgres::durable).await?;
    let postgres = Options {
        database_url: cluster.database(),
        data: folder.path().join("other"),
        log_store,
        key_file: None,
    };
    let great = series(&postgres, "BEGIN").await?;
    let figures = [
        at_least("claims_sqlite_ratio", lite.ratio(), 0.4),
        at_least("claims_postgres_ratio", great.ratio(), 0.5),
        at_most("claims_sqlite_flat", lite.flat(), 1.5),
        at_most("claims_postgres_flat", great.flat(), 1.5),
    ];
    let raw = |series: &Series| {
        let [few, unserved, many] = &series.scenes;
        json!({"few": few.raw(), "unserved_in_front": unserved.raw(), "many": many.raw()})
    };
    write("claims", &figures, &json!({"sqlite": raw(&lite), "postgres": raw(&great)}))
}

fn at_least(name: &'static str, value: f64, target: f64) -> Figure {
    Figure { name, value, target, more_is_better: true, unit: "ratio" }
}

fn at_most(name: &'static str, value: f64, target: f64) -> Figure {
    Figure { name, value, target, more_is_better: false, unit: "ratio" }
}

/// Milliseconds of each claim.
struct Scene {
    /// One of ten in one transaction.
    ours: Vec<f64>,
    alone: Vec<f64>,
    bare: Vec<f64>,
}

impl Scene {
    fn raw(&self) -> serde_json::Value {
        let second = |times: &[f64]| 1e3 / median(times);
        json!({
            "claims_per_second": second(&self.ours),
            "alone_per_second": second(&self.alone),
            "bare_per_second": second(&self.bare),
        })
    }
}

struct Series {
    scenes: [Scene; 3],
}

impl Series {
    /// Ours against the bare one, in the worst scene.
    fn ratio(&self) -> f64 {
        let of = |scene: &Scene| median(&scene.bare) / median(&scene.ours);
        self.scenes.iter().map(of).fold(f64::INFINITY, f64::min)
    }

    /// The slowest scene against the short queue.
    fn flat(&self) -> f64 {
        let [few, ..] = &self.scenes;
        let of = |scene: &Scene| median(&scene.ours) / median(&few.ours);
        self.scenes.iter().map(of).fold(0.0, f64::max)
    }
}

async fn series(options: &Options, begin: &'static str) -> Result<Series> {
    let store = Store::open(options).await?;
    let mut repos = Vec::new();
    for at in 0..REPOS {
        repos.push(repo(&store, at).await?);
    }
    let (linux, mac) = (free(&store, "linux").await?, free(&store, "mac").await?);
    let mut bare = Bare::new(&options.database_url, begin).await?;
    bare.fill(FEW).await?;
    fill(&store, &repos, "linux", FEW, FEW / REPOS).await?;
    let few = scene(&store, &linux, &mut bare).await?;
    fill(&store, &repos, "mac", MANY, JOBS).await?;
    fill(&store, &repos, "linux", FEW, FEW / REPOS).await?;
    bare.fill(MANY).await?;
    bare.tidy().await?;
    let unserved = scene(&store, &linux, &mut bare).await?;
    let many = scene(&store, &mac, &mut bare).await?;
    store.close().await;
    Ok(Series { scenes: [few, unserved, many] })
}

async fn scene(store: &Store, worker: &Free, bare: &mut Bare) -> Result<Scene> {
    let mut scene = Scene { ours: vec![], alone: vec![], bare: vec![] };
    for _ in 0..ROUNDS {
        for (slots, times) in [(ROUND, &mut scene.ours), (1, &mut scene.alone)] {
            let free = [Free { slots: slots as u32, ..worker.clone() }];
            let begin = Instant::now();
            let claimed = store.claim_for(&free, &|_, _| Some(0)).await?;
            times.push(ms(begin.elapsed()) / slots as f64);
            ensure!(claimed.len() == slots, "{} claims instead of {slots}", claimed.len());
        }
        for _ in 0..ROUND {
            scene.bare.push(ms(bare.claim().await?));
        }
    }
    Ok(scene)
}

pub(crate) async fn repo(store: &Store, at: usize) -> Result<Repo> {
    let name = format!("git/repo{at}");
    let new = NewRepo {
        name: name.parse().context("a handle")?,
        remote_id: name,
        clone_url: "https://example.org/x.git".into(),
        default_branch: "main".into(),
        public: false,
        approvals: Approvals::default(),
    };
    Ok(store.add_repo(&new, "bench").await?)
}

pub(crate) async fn worker(store: &Store, os: &str) -> Result<WorkerId> {
    let (token, _) = store.create_token(os, Role::Worker, &[], None, "bench").await?;
    let hello = Hello {
        identity: Identity::Token(token.id),
        name: os.into(),
        labels: labels(os),
        slots: 1,
        version: "0".into(),
        sharing: String::new(),
        condition: None,
        process: String::new(),
    };
    Ok(store.worker_hello(&hello).await?)
}

async fn free(store: &Store, os: &str) -> Result<Free> {
    Ok(Free { worker: worker(store, os).await?, labels: labels(os).into(), slots: 1 })
}

fn labels(os: &str) -> BTreeMap<String, String> {
    [("os".to_owned(), os.to_owned()), ("executor".to_owned(), "docker".to_owned())].into()
}

/// Builds with so many jobs each, until there are `count` jobs, of all repositories in turn.
pub(crate) async fn fill(store: &Store, repos: &[Repo], os: &str, count: usize, each: usize) -> Result<()> {
    let yml = (0..each).fold(format!("labels: {{os: {os}}}\nimage: a\njobs:\n"), |text, at| {
        text + &format!("  j{at}: {{stages: [{{name: s, script: x}}]}}\n")
    });
    let pipeline = pipeline::parse(yml.as_bytes()).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    for at in 0..count / each {
        let new = NewBuild {
            repo: repos[at % repos.len()].id,
            event: EventKind::Push,
            branch: "main".into(),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            message: "a change".into(),
            author: "Ann".into(),
            triggered_by: None,
            retry_of: None,
            due: None,
            beside: None,
            notify: None,
            concurrency: None,
            trust: Trust::own(),
            pull_request: None,
            tag: None,
            plan: Plan::Jobs(pipeline.jobs.iter().map(|job| (job.clone(), Status::Queued)).collect()),
        };
        store.create_build(&new).await?;
    }
    Ok(())
}

/// A table with nothing but a queue in it.
struct Bare {
    conn: Conn,
    begin: &'static str,
    take: &'static str,
}

enum Conn {
    Lite(SqliteConnection),
    Great(PgConnection),
}

impl Conn {
    /// Answers how many rows changed.
    async fn run(&mut self, sql: &str) -> Result<u64> {
        let sql = AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Conn::Lite(conn) => conn.execute(sqlx::query(sql)).await?.rows_affected(),
            Conn::Great(conn) => conn.execute(sqlx::query(sql)).await?.rows_affected(),
        })
    }
}

impl Bare {
    async fn new(url: &str, begin: &'static str) -> Result<Bare> {
        let lite = url.starts_with("sqlite");
        let mut conn = if lite {
            // The same promise as the store's: what was committed is on the disk.
            let options = SqliteConnectOptions::from_str(url)?.synchronous(SqliteSynchronous::Full);
            Conn::Lite(options.busy_timeout(Duration::from_secs(5)).connect().await?)
        } else {
            Conn::Great(PgConnection::connect(url).await?)
        };
        conn.run("CREATE TABLE bare (id BIGINT PRIMARY KEY, taken BOOLEAN NOT NULL)").await?;
        conn.run("CREATE INDEX bare_order ON bare (id) WHERE NOT taken").await?;
        let take = if lite {
            "UPDATE bare SET taken = true WHERE id = (SELECT id FROM bare WHERE NOT taken ORDER BY id LIMIT 1)"
        } else {
            "UPDATE bare SET taken = true WHERE id =
             (SELECT id FROM bare WHERE NOT taken ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)"
        };
        Ok(Bare { conn, begin, take })
    }

    /// So many further rows.
    async fn fill(&mut self, count: usize) -> Result<()> {
        let sql = format!(
            "INSERT INTO bare WITH RECURSIVE n (at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n WHERE at < {count})
             SELECT at + (SELECT coalesce(max(id), 0) FROM bare), false FROM n"
        );
        self.conn.run(&sql).await.map(drop)
    }

    /// What a running database does by itself within a minute.
    async fn tidy(&mut self) -> Result<()> {
        self.conn
            .run(if matches!(self.conn, Conn::Great(_)) { "VACUUM ANALYZE" } else { "ANALYZE" })
            .await
            .map(drop)
    }

    async fn claim(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        self.conn.run(self.begin).await?;
        let taken = self.conn.run(self.take).await?;
        self.conn.run("COMMIT").await?;
        ensure!(taken == 1, "nothing to take");
        Ok(begin.elapsed())
    }
}
