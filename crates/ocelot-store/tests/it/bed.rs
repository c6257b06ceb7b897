//! A fresh store for one test, and short ways to fill it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ocelot_model::access::Role;
use ocelot_model::build::{Happening, Outcome};
use ocelot_model::pipeline::{
    AllowFailure, Checkout, Condition, Job as JobSpec, Pull, Resources, Retry, Run, Stage,
};
use ocelot_model::turns::places;
use ocelot_model::{Approvals, BuildNumber, EventKind, Origin, StageId, Status, TokenId, Trust, WorkerId};
use ocelot_store::{
    BuildDetail, Claimed, Hello, Identity, LogStoreOptions, NewBuild, NewRepo, Options, Plan, Repo, Store,
    Waiting,
};
use sqlx::Connection as _;
use tempfile::TempDir;

use ocelot_testkit::Postgres;

/// One store and where it lives.
pub(crate) struct Bed {
    pub(crate) store: Store,
    pub(crate) options: Options,
    pub(crate) folder: TempDir,
}

impl Bed {
    pub(crate) async fn sqlite() -> Bed {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/ocelot.db", folder.path().display());
        Bed::open(url, folder).await
    }

    pub(crate) async fn postgres() -> Bed {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let cluster = tokio::task::spawn_blocking(Postgres::shared).await.unwrap();
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut admin =
            <sqlx::PgConnection as sqlx::Connection>::connect(&cluster.url("postgres")).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut admin).await.unwrap();
        Bed::open(cluster.url(&name), TempDir::new().unwrap()).await
    }

    async fn open(database_url: String, folder: TempDir) -> Bed {
        let log_store = LogStoreOptions::default();
        let options = Options { database_url, data: folder.path().join("data"), log_store, key_file: None };
        Bed { store: Store::open(&options).await.unwrap(), options, folder }
    }

    /// Another server on the same database.
    pub(crate) async fn second(&self) -> Store {
        Store::open(&self.options).await.unwrap()
    }

    /// Which database it is.
    #[cfg(not(debug_assertions))]
    pub(crate) fn kind(&self) -> &'static str {
        if self.is_shared() { "PostgreSQL" } else { "SQLite" }
    }

    /// True for PostgreSQL.
    pub(crate) fn is_shared(&self) -> bool {
        self.options.database_url.starts_with("postgres")
    }

    pub(crate) async fn repo(&self, handle: &str) -> Repo {
        self.store.add_repo(&new_repo(handle), "tests").await.unwrap()
    }

    pub(crate) async fn token(&self, name: &str) -> TokenId {
        self.store.create_token(name, Role::Worker, &[], None, "tests").await.unwrap().0.id
    }

    /// A worker with labels like `os=linux arch=arm64`.
    pub(crate) async fn worker(&self, name: &str, labels: &str) -> WorkerId {
        let token = self.token(&format!("token of {name}")).await;
        self.store.worker_hello(&hello(token, name, labels)).await.unwrap()
    }

    /// A build of these jobs in the repository `git/app`, which is made when it is missing.
    pub(crate) async fn build(&self, jobs: &str) -> BuildDetail {
        let name = "git/app".parse().unwrap();
        let repo = match self.store.find_repo(&name).await.unwrap() {
            Some(repo) => repo,
            None => self.repo("git/app").await,
        };
        self.store.create_build(&new_build(&repo, jobs)).await.unwrap()
    }

    /// Rows that hold bytes of this log, as the database has them.
    pub(crate) async fn log_rows(&self, stage: StageId) -> i64 {
        let count = "SELECT count(*) FROM log_chunks WHERE stage_id = $1";
        if self.is_shared() {
            let mut conn = sqlx::PgConnection::connect(&self.options.database_url).await.unwrap();
            return sqlx::query_scalar(count).bind(stage.0).fetch_one(&mut conn).await.unwrap();
        }
        let url = format!("sqlite://{}/logs.db", self.options.data.display());
        let mut conn = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::query_scalar(count).bind(stage.0).fetch_one(&mut conn).await.unwrap()
    }

    /// Changes the state's rows behind the store's back.
    pub(crate) async fn execute(&self, sql: &'static str) {
        if self.is_shared() {
            let mut conn = sqlx::PgConnection::connect(&self.options.database_url).await.unwrap();
            sqlx::query(sql).execute(&mut conn).await.unwrap();
        } else {
            let mut conn = sqlx::SqliteConnection::connect(&self.options.database_url).await.unwrap();
            sqlx::query(sql).execute(&mut conn).await.unwrap();
        }
    }

    pub(crate) async fn claim(&self, worker: WorkerId) -> Option<Claimed> {
        self.store.claim(worker).await.unwrap()
    }

    /// All that there is to say of what waits, the oldest build first.
    pub(crate) async fn waiting(&self) -> Vec<Waiting> {
        let queue = self.store.list_queue().await.unwrap();
        let jobs: Vec<_> = queue.iter().map(|place| place.ticket.job).collect();
        self.store.waiting(&jobs).await.unwrap()
    }

    /// Names of the jobs that may be claimed, in the order in which a worker that suits all of them gets them.
    pub(crate) async fn order(&self) -> Vec<String> {
        let queue = self.store.list_queue().await.unwrap();
        let rows = queue.iter().zip(self.waiting().await).filter(|(place, _)| place.ready);
        let (tickets, names): (Vec<_>, Vec<_>) = rows.map(|(place, row)| (place.ticket, row.job)).unzip();
        let mut placed: Vec<_> = places(&tickets).into_iter().zip(names).collect();
        placed.sort_unstable();
        placed.into_iter().map(|(_, name)| name).collect()
    }

    /// The state of a build as text: `running: a passed, b queued#2`, with the newest attempt when it is not the first.
    pub(crate) async fn picture(&self, number: BuildNumber) -> String {
        let detail = self.store.find_build_detail(number).await.unwrap().unwrap();
        let jobs: Vec<String> = detail
            .jobs
            .iter()
            .map(|job| {
                let last = job.attempts.last().unwrap();
                let again = if last.number > 1 { format!("#{}", last.number) } else { String::new() };
                format!("{} {}{again}", job.spec.name, job.status)
            })
            .collect();
        format!("{}: {}", detail.build.status, jobs.join(", "))
    }
}

pub(crate) fn new_repo(handle: &str) -> NewRepo {
    NewRepo {
        name: handle.parse().unwrap(),
        remote_id: handle.into(),
        clone_url: format!("https://example.org/{handle}.git"),
        default_branch: "main".into(),
        public: false,
        approvals: Approvals::default(),
    }
}

pub(crate) fn pairs(text: &str) -> BTreeMap<String, String> {
    text.split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub(crate) fn hello(token: TokenId, name: &str, labels: &str) -> Hello {
    Hello {
        identity: Identity::Token(token),
        name: name.into(),
        labels: pairs(labels),
        slots: 2,
        version: "0.1.0".into(),
        sharing: "same paths".into(),
        condition: None,
        process: String::new(),
    }
}

/// `a b<a!` with each job: name, `<` needs, then `!` always, `?` allowed to fail, `^3` priority, `@os=linux` label.
pub(crate) fn jobs(text: &str) -> Vec<(JobSpec, Status)> {
    text.split_whitespace().map(|job| (spec(job), Status::Queued)).collect()
}

fn spec(text: &str) -> JobSpec {
    let (text, labels) = text.split_once('@').unwrap_or((text, ""));
    let (text, priority) = text.split_once('^').unwrap_or((text, "0"));
    let plain: String = text.chars().filter(|c| !matches!(c, '!' | '?')).collect();
    let (name, needs) = plain.split_once('<').unwrap_or((&plain, ""));
    JobSpec {
        name: name.into(),
        image: Some("alpine".into()),
        user: None,
        pull: Pull::IfMissing,
        labels: pairs(&labels.replace(',', " ")),
        priority: priority.parse().unwrap(),
        needs: needs.split(',').filter(|need| !need.is_empty()).map(str::to_owned).collect(),
        approval: false,
        always: text.contains('!'),
        allow_failure: text.contains('?'),
        timeout_ms: 60_000,
        retry: Retry { infrastructure: 1, script: 0 },
        resources: Resources::default(),
        env: Vec::new(),
        secrets: Vec::new(),
        stages: vec![stage("compile"), stage("test")],
        checkout: Checkout::default(),
    }
}

fn stage(name: &str) -> Stage {
    Stage {
        name: name.into(),
        image: None,
        isolated: false,
        run: Run::Script {
            shell: vec!["/bin/sh".into(), "-e".into()],
            lines: vec!["true".into()],
            block: false,
        },
        workdir: ".".into(),
        env: Vec::new(),
        branches: Vec::new(),
        timeout_ms: None,
        allow_failure: AllowFailure::No,
        always: false,
        condition: Condition::default(),
        decided: None,
        secrets: Vec::new(),
    }
}

pub(crate) fn new_build(repo: &Repo, text: &str) -> NewBuild {
    NewBuild {
        repo: repo.id,
        event: EventKind::Push,
        branch: "main".into(),
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        message: "Say hello".into(),
        author: "Ann <ann@example.org>".into(),
        triggered_by: None,
        retry_of: None,
        due: None,
        beside: None,
        notify: None,
        concurrency: None,
        trust: Trust::own(),
        pull_request: None,
        tag: None,
        plan: Plan::Jobs(jobs(text)),
    }
}

pub(crate) fn finished(claimed: &Claimed, status: Status) -> Happening {
    let outcome = Outcome { status, reason: None, infrastructure: false };
    Happening::Finished { job: claimed.job_id, attempt: claimed.lease.attempt, outcome }
}

pub(crate) fn cancel() -> Happening {
    Happening::CancelRequested { reason: "cancelled by ann".into() }
}

/// Long enough for whatever a busy machine does.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Builds of the branch `main`, and of what only has its name: a fork's pull request from its own, the repository's from its, and
/// a tag.
pub(crate) fn of_main_and_namesakes(repo: &Repo) -> [NewBuild; 4] {
    let own = new_build(repo, "a");
    let request = NewBuild { event: EventKind::PullRequest, pull_request: Some(7), ..own.clone() };
    let trust = |origin| Trust::new(origin, Some("mallory (666)".into()), Approvals::None);
    let fork = NewBuild { trust: trust(Origin::Fork), ..request.clone() };
    let request = NewBuild { trust: trust(Origin::PullRequest), ..request };
    let tag = NewBuild { event: EventKind::Tag, tag: Some("main".into()), ..own.clone() };
    [own, fork, request, tag]
}
