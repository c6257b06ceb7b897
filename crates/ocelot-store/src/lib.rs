//! The only crate with SQL: SQLite and PostgreSQL behind one set of methods.
//!
//! `sql/` holds every statement, written once and compiled for both databases; `sqlite` and `postgres` hold only what
//! differs. Rules about builds live in `ocelot-model`; this crate writes down what they decide.

#![expect(clippy::duplicate_mod, reason = "`sql/` is compiled once for each database on purpose")]

/// Columns for `raw::RepoRow`.
macro_rules! repo_columns {
    () => {
        "r.id AS repo_id, r.forge_id, f.name AS forge, r.remote_id, r.owner, r.name AS repo_name, r.clone_url, r.default_branch, \
         r.public, r.approvals, r.created_at AS repo_created_at"
    };
}
macro_rules! repo_tables {
    () => {
        "repos r JOIN forges f ON f.id = r.forge_id"
    };
}
/// Columns for `raw::TrustRow`.
macro_rules! trust_columns {
    () => {
        "b.origin, b.origin_account, b.needs_approval, b.approved_by"
    };
}
/// Since when a build waits for a worker. Before that it waited for a person, or for a place in its group: that is nobody's
/// queue. The only place that says so; how long it waited is [`Build::waited_ms`]. Builds of versions that did not note it
/// know only when their commit was approved of.
macro_rules! free_at {
    () => {
        "coalesce(b.free_at, CASE WHEN b.approved_at > b.queued_at THEN b.approved_at ELSE b.queued_at END) AS free_at"
    };
}
/// Columns for `raw::BuildRow`.
macro_rules! build_columns {
    () => {
        concat!(
            "b.number, b.status, b.event, b.branch, b.commit_id, b.message, b.author, b.triggered_by, b.queued_at, \
             b.started_at, b.finished_at, b.reason, b.problems, b.retry_of, b.cancel_requested_at, \
             b.concurrency_group, b.concurrency_limit, b.cancel_running, b.approved_at, b.pull_request, b.tag, ",
            free_at!(),
            ", ",
            trust_columns!(),
            ", ",
            repo_columns!()
        )
    };
}
macro_rules! build_tables {
    () => {
        "builds b JOIN repos r ON r.id = b.repo_id JOIN forges f ON f.id = r.forge_id"
    };
}
/// Columns for `raw::StageRow`.
macro_rules! stage_columns {
    () => {
        "s.id, s.attempt_id, s.name, s.status, s.exit_code, s.started_at, s.duration_ms, s.reason"
    };
}
/// Columns for `raw::HeldRow`.
macro_rules! held_columns {
    () => {
        "a.id AS attempt_id, a.number AS attempt, a.build, a.job_id, a.worker_id"
    };
}
/// Columns for `raw::TokenRow`.
macro_rules! token_columns {
    () => {
        "t.id, t.name, t.role, t.repos, t.created_at, t.expires_at, t.last_used_at"
    };
}

/// Columns for `raw::EnrolmentRow`.
macro_rules! enrolment_columns {
    () => {
        "id, labels, uses, used, created_by, created_at, expires_at"
    };
}

mod audit;
mod backup;
mod calls;
mod catalogue;
mod chunk;
pub mod crash;
mod error;
mod export;
mod inbox;
mod insight;
mod log_store;
mod migrations;
mod notice;
mod postgres;
mod raw;
pub mod rows;
mod seal;
mod secret;
mod sqlite;
mod stats;
mod subscriptions;
mod times;
mod wake;
mod wanted;

pub use audit::*;
pub use backup::{About, BackupError};
pub use error::{LogError, NotReady, StoreError};
pub use export::*;
pub use inbox::*;
pub use insight::*;
pub use log_store::{LogPlace, LogStoreOptions};
pub use notice::*;
pub use rows::*;
pub use stats::*;
pub use subscriptions::*;
pub use times::*;
pub use wanted::{Choose, Free, Next};

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use ocelot_model::access::Role;
use ocelot_model::build::{Change, Happening};
use ocelot_model::event::RefName;
use ocelot_model::notify::Rule;
use ocelot_model::novel::Novel;
use ocelot_model::tally::Tally;
use ocelot_model::{
    BuildNumber, DeliveryId, DeliveryState, ForgeId, JobId, RepoId, RepoName, StageId, TokenId, WorkerId,
};
use secrecy::{SecretSlice, SecretString};

/// Where things are.
#[derive(Debug, Clone)]
pub struct Options {
    /// `sqlite:///path/ocelot.db` or `postgres://…`.
    pub database_url: String,
    /// Folder for `logs.db` (SQLite only), and for what tells this server from others.
    pub data: PathBuf,
    /// Where finished logs go.
    pub log_store: LogStoreOptions,
    /// File with the key that seals secrets, made when the first one comes; `secret-key` in `data` when `None`.
    pub key_file: Option<PathBuf>,
}

/// The file of an SQLite database; `None` for another one.
pub fn sqlite_file(database_url: &str) -> Option<PathBuf> {
    database_url.starts_with("sqlite:").then(|| sqlite::file(database_url)).flatten()
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Kind>);

enum Kind {
    Sqlite(sqlite::sql::Core),
    Postgres(postgres::sql::Core),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match *self.0 {
            Kind::Sqlite(_) => "Store(SQLite)",
            Kind::Postgres(_) => "Store(PostgreSQL)",
        })
    }
}

/// The same call on whichever database it is, within [`calls::SHORT`] unless another limit stands before it.
macro_rules! each {
    ($store:expr, $core:ident => $same:ident.$method:ident($($arg:expr),*).await) => {
        each!($store, calls::SHORT, $core => $same.$method($($arg),*).await)
    };
    ($store:expr, $limit:expr, $core:ident => $same:ident.$method:ident($($arg:expr),*).await) => {
        match &*$store.0 {
            Kind::Sqlite($core) => {
                calls::timed(stringify!($method), $limit, $same.$method($($arg),*)).await
            }
            Kind::Postgres($core) => {
                calls::timed(stringify!($method), $limit, $same.$method($($arg),*)).await
            }
        }
    };
}

/// What needs no database: something that each kind of store has.
macro_rules! of_each {
    ($store:expr, $core:ident => $what:expr) => {
        match &*$store.0 {
            Kind::Sqlite($core) => $what,
            Kind::Postgres($core) => $what,
        }
    };
}

/// Like `each`, for transactions over several rows: PostgreSQL undoes one of two that wait for each other, and then it
/// is made again.
macro_rules! each_again {
    ($store:expr, $core:ident => $same:ident.$method:ident($($arg:expr),*)) => {
        each_again!($store, calls::SHORT, $core => $same.$method($($arg),*))
    };
    ($store:expr, $limit:expr, $core:ident => $same:ident.$method:ident($($arg:expr),*)) => {{
        let mut left = 10;
        loop {
            let result = each!($store, $limit, $core => $same.$method($($arg),*).await);
            match result {
                Err(error) if error.is_collision() && left > 0 => left -= 1,
                Err(error) if error.is_collision() => break Err(StoreError::Unavailable(error.to_string())),
                result => break result,
            }
        }
    }};
}

impl Store {
    /// Opens the database, makes it when it is SQLite and missing, and brings it up to date; makes sure that the log store
    /// is the database's own.
    pub async fn open(options: &Options) -> Result<Store, StoreError> {
        let store = Store::connect(options).await?;
        of_each!(store, core => core.begin_work().await)?;
        Ok(store)
    }

    /// The database alone.
    async fn connect(options: &Options) -> Result<Store, StoreError> {
        let scheme = options.database_url.split(':').next().unwrap_or_default();
        let kind = match scheme {
            "sqlite" => Kind::Sqlite(sqlite::open(options).await?),
            "postgres" | "postgresql" => Kind::Postgres(postgres::open(options).await?),
            other => {
                let text =
                    format!("`{other}` is no database; write sqlite:///path/ocelot.db or postgres://…");
                return Err(StoreError::Sql(sqlx::Error::Configuration(text.into())));
            }
        };
        Ok(Store(Arc::new(kind)))
    }

    /// Writes all that is in a database and in its log store into `out`, while servers may be using them; answers how many
    /// rows that is. Both are only read.
    pub async fn back_up(
        options: &Options,
        with_logs: bool,
        out: impl std::io::Write + Send,
    ) -> Result<u64, BackupError> {
        if options.database_url.starts_with("sqlite:") {
            let (state, logs) = sqlite::open_to_read(options).await?;
            sqlite::sql::dump(&state, &logs, options, with_logs, out).await
        } else {
            let (state, logs) = postgres::open_to_read(options).await?;
            postgres::sql::dump(&state, &logs, options, with_logs, out).await
        }
    }

    /// Seals everything in a database with a new key, while servers may be using it and this key file. Stopped in between, it
    /// goes on when it is called again. Answers how many values it sealed.
    pub async fn rotate_key(options: &Options, by: &str) -> Result<u64, StoreError> {
        let store = Store::connect(options).await?;
        let sealed = of_each!(store, core => core.rotate_key(by).await);
        store.close().await;
        sealed
    }

    /// Forgets everything that is sealed in a database, for when its key is lost. Answers in words what that was.
    pub async fn forget_sealed(options: &Options, by: &str) -> Result<Vec<String>, StoreError> {
        let store = Store::connect(options).await?;
        let lost = of_each!(store, core => core.forget_sealed(by).await);
        store.close().await;
        lost
    }

    /// Makes an empty database what a backup says, whichever kind of database that was made of. What workers had then is
    /// lost to them and waits to be tried again. On any error the database stays empty.
    pub async fn restore(options: &Options, file: &Path) -> Result<About, BackupError> {
        // First all of it is read: a file that is not whole must not even make a database.
        backup::Reader::open(file)?.check()?;
        // Whose log store it is is told by what comes out of the file.
        let store = Store::connect(options).await?;
        let about = of_each!(store, core => core.load(file).await);
        store.close().await;
        about
    }

    /// Flushes and closes.
    pub async fn close(&self) {
        of_each!(self, core => core.close().await);
    }

    /// Whether the database takes what is written now. Asked again within a second, the answer is the same.
    pub async fn check_ready(&self) -> Result<(), NotReady> {
        of_each!(self, core => core.check_ready().await)
    }

    /// Names this Ocelot, for labels of containers: 12 hex digits, made once.
    pub fn instance(&self) -> &str {
        of_each!(self, core => &core.instance)
    }

    /// Wake-ups after commits. A receiver that lags gets `Wake::All` semantics by `RecvError::Lagged`.
    pub fn wakes(&self) -> tokio::sync::broadcast::Receiver<Wake> {
        of_each!(self, core => core.wakes.subscribe())
    }

    // repos.rs
    /// Adds a repository; [`StoreError::Conflict`] when the handle is taken.
    pub async fn add_repo(&self, repo: &NewRepo, by: &str) -> Result<Repo, StoreError> {
        each!(self, core => core.add_repo(repo, by).await)
    }

    /// By handle.
    pub async fn find_repo(&self, name: &RepoName) -> Result<Option<Repo>, StoreError> {
        each!(self, core => core.find_repo(name).await)
    }

    /// By id.
    pub async fn load_repo(&self, id: RepoId) -> Result<Repo, StoreError> {
        each!(self, core => core.load_repo(id).await)
    }

    /// By what its forge calls it.
    pub async fn find_repo_by_remote_id(
        &self,
        forge: ForgeId,
        remote_id: &str,
    ) -> Result<Option<Repo>, StoreError> {
        each!(self, core => core.find_repo_by_remote_id(forge, remote_id).await)
    }

    /// All, by handle.
    pub async fn list_repos(&self) -> Result<Vec<Repo>, StoreError> {
        each!(self, core => core.list_repos().await)
    }

    /// From now on builds of it wait so; those that were made before stay as they are.
    pub async fn change_repo(&self, id: RepoId, change: RepoChange, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.change_repo(id, change, by).await)
    }

    /// Gives a repository the name, address and default branch that it has at its forge now; its builds stay.
    /// [`StoreError::Conflict`] when another one has that name.
    pub async fn rename_repo(&self, id: RepoId, to: &RenamedRepo) -> Result<Repo, StoreError> {
        each!(self, core => core.rename_repo(id, to).await)
    }

    /// Forgets a repository with its builds and logs; [`StoreError::Conflict`] while a build of it is not terminal.
    pub async fn remove_repo(&self, id: RepoId, by: &str) -> Result<(), StoreError> {
        each_again!(self, calls::LONG, core => core.remove_repo(id, by))
    }

    // secrets.rs
    /// Makes a secret or credential, or changes the one of the same scope and name; answers whether it is new.
    /// [`StoreError::NotFound`] when its repository is not there.
    pub async fn put_secret(&self, new: &NewSecret) -> Result<(Secret, bool), StoreError> {
        each_again!(self, core => core.put_secret(new))
    }

    /// All secrets and credentials, by name, without their values.
    pub async fn list_secrets(&self) -> Result<Vec<Secret>, StoreError> {
        each!(self, core => core.list_secrets().await)
    }

    /// By id.
    pub async fn find_secret(&self, id: i64) -> Result<Option<Secret>, StoreError> {
        each!(self, core => core.find_secret(id).await)
    }

    /// Forgets a secret.
    pub async fn remove_secret(&self, id: i64, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.remove_secret(id, by).await)
    }

    /// The secrets that a repository may have: of each name the one of the nearest scope.
    pub async fn secrets_in_reach(&self, id: RepoId, name: &RepoName) -> Result<Vec<Secret>, StoreError> {
        each!(self, core => core.secrets_in_reach(id, name).await)
    }

    /// The values of secrets. Those that are gone are not among them.
    pub async fn open_secrets(&self, ids: &[i64]) -> Result<Vec<(i64, SecretSlice<u8>)>, StoreError> {
        each!(self, core => core.open_secrets(ids).await)
    }

    // forges.rs
    /// All forges by name. `git` is always there.
    pub async fn list_forges(&self) -> Result<Vec<Forge>, StoreError> {
        each!(self, core => core.list_forges().await)
    }

    /// By name.
    pub async fn find_forge(&self, name: &str) -> Result<Option<Forge>, StoreError> {
        each!(self, core => core.find_forge(name).await)
    }

    /// Adds a forge; [`StoreError::Conflict`] when the name is taken.
    pub async fn add_forge(&self, new: &NewForge, by: &str) -> Result<Forge, StoreError> {
        each!(self, core => core.add_forge(new, by).await)
    }

    /// Gives a forge other credentials, another secret for webhooks of all of its repositories, other authorities.
    pub async fn change_forge(&self, id: ForgeId, change: &ForgeChange, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.change_forge(id, change, by).await)
    }

    /// Forgets a forge; [`StoreError::Conflict`] while it has repositories, and for `git`.
    pub async fn remove_forge(&self, id: ForgeId, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.remove_forge(id, by).await)
    }

    /// Who Ocelot is for the forge.
    pub async fn load_forge_access(&self, id: ForgeId) -> Result<Option<SecretString>, StoreError> {
        each!(self, core => core.load_forge_access(id).await)
    }

    /// What the forge signs with when it sends for all of its repositories.
    pub async fn load_forge_hook_secret(&self, id: ForgeId) -> Result<Option<SecretString>, StoreError> {
        each!(self, core => core.load_forge_hook_secret(id).await)
    }

    /// The webhook of a repository; made, with a secret of its own, when there is none.
    pub async fn make_hook(&self, repo: RepoId) -> Result<Hook, StoreError> {
        each_again!(self, core => core.make_hook(repo))
    }

    /// All webhooks.
    pub async fn list_hooks(&self) -> Result<Vec<Hook>, StoreError> {
        each!(self, core => core.list_hooks().await)
    }

    /// By the text in its address.
    pub async fn find_hook(&self, id: &str) -> Result<Option<Hook>, StoreError> {
        each!(self, core => core.find_hook(id).await)
    }

    /// Whether the forge has the webhook of each repository that has one.
    pub async fn list_watched(&self) -> Result<Vec<(RepoId, bool)>, StoreError> {
        each!(self, core => core.list_watched().await)
    }

    /// The webhook of a repository, if it has one.
    pub async fn find_hook_of(&self, repo: RepoId) -> Result<Option<Hook>, StoreError> {
        each!(self, core => core.find_hook_of(repo).await)
    }

    /// Notes what the forge calls it.
    pub async fn name_hook(&self, id: &str, remote_id: &str, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.name_hook(id, remote_id, by).await)
    }

    /// Forgets the webhook of a repository.
    pub async fn remove_hook(&self, repo: RepoId, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.remove_hook(repo, by).await)
    }

    // polls.rs
    /// Adds a poll; [`StoreError::Conflict`] when the repository has one.
    pub async fn add_poll(&self, new: &NewTimes<'_>, branches: &[String]) -> Result<Poll, StoreError> {
        each!(self, core => core.add_poll(new, branches).await)
    }

    /// All, in the order in which they were made.
    pub async fn list_polls(&self) -> Result<Vec<Poll>, StoreError> {
        each!(self, core => core.list_polls().await)
    }

    /// Removes the poll of a repository.
    pub async fn remove_poll(&self, repo: RepoId, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.remove_poll(repo, by).await)
    }

    /// Takes one that has come round, for so long.
    pub async fn take_poll(&self, time: Duration) -> Result<Option<(Poll, Turn)>, StoreError> {
        each_again!(self, core => core.take_poll(time))
    }

    /// Says how the branches are known to be now (`None`: as they were) and what came of it; [`StoreError::Stale`] when the
    /// turn is over.
    pub async fn finish_poll(
        &self,
        turn: Turn,
        heads: Option<&Heads>,
        outcome: &str,
    ) -> Result<(), StoreError> {
        each_again!(self, core => core.finish_poll(turn, heads, outcome))
    }

    // audit.rs
    /// Writes down what somebody did that changes nothing here. Whoever changes something says with the change who wants
    /// it (`by`): its row is in the same transaction.
    pub async fn note(&self, new: &NewAudit<'_>) -> Result<(), StoreError> {
        each!(self, core => core.note(new).await)
    }

    /// What was done, newest first.
    pub async fn list_audit(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        each!(self, core => core.list_audit(filter, limit).await)
    }

    /// Forgets up to `limit` rows from before this time; answers how many.
    pub async fn expire_audit(&self, before: Timestamp, limit: u32) -> Result<usize, StoreError> {
        each!(self, core => core.expire_audit(before, limit).await)
    }

    // reconcile.rs
    /// Takes a repository of which it is to be seen whether its forge told of everything, for so long.
    pub async fn take_look(&self, time: Duration) -> Result<Option<(Repo, Known, Turn)>, StoreError> {
        each_again!(self, core => core.take_look(time))
    }

    /// Says what is known to be there now (`None`: as it was), what came of the look, and when the next one is due;
    /// [`StoreError::Stale`] when the turn is over.
    pub async fn finish_look(
        &self,
        turn: Turn,
        known: &Known,
        outcome: &str,
        every: Duration,
    ) -> Result<(), StoreError> {
        each_again!(self, core => core.finish_look(turn, known, outcome, every))
    }

    /// All repositories are looked at as soon as can be.
    pub async fn look_at_all(&self) -> Result<(), StoreError> {
        each!(self, core => core.look_at_all().await)
    }

    /// What came of the last look at a repository; `None` when its forge does not tell of it.
    pub async fn find_reconciled(&self, repo: RepoId) -> Result<Option<Reconciled>, StoreError> {
        each!(self, core => core.find_reconciled(repo).await)
    }

    /// Whether this commit, or one that begins so, has a build there or was told of; of a pull request, as one that goes to
    /// this branch.
    pub async fn is_told(&self, repo: RepoId, of: Subject<'_>, commit: &str) -> Result<bool, StoreError> {
        each!(self, core => core.is_told(repo, of, commit).await)
    }

    // schedules.rs
    /// Adds a schedule that a person wants; without a branch, of the default branch.
    pub async fn add_schedule(
        &self,
        new: &NewTimes<'_>,
        branch: Option<&str>,
    ) -> Result<Schedule, StoreError> {
        each!(self, core => core.add_schedule(new, branch).await)
    }

    /// All, in the order in which they were made.
    pub async fn list_schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        each!(self, core => core.list_schedules().await)
    }

    /// By id.
    pub async fn load_schedule(&self, id: i64) -> Result<Schedule, StoreError> {
        each!(self, core => core.load_schedule(id).await)
    }

    /// Removes one that a person wanted; [`StoreError::Conflict`] when it stands in a file.
    pub async fn remove_schedule(&self, id: i64, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.remove_schedule(id, by).await)
    }

    /// Takes one that has come round, for so long or until it comes round again.
    pub async fn take_schedule(&self, time: Duration) -> Result<Option<(Schedule, Turn)>, StoreError> {
        each_again!(self, core => core.take_schedule(time))
    }

    /// Says what came of one without a build; not `over`: it is tried again when the turn ends.
    pub async fn settle_schedule(&self, turn: Turn, outcome: &str, over: bool) -> Result<(), StoreError> {
        each_again!(self, core => core.settle_schedule(turn, outcome, over))
    }

    // subscriptions.rs
    /// All subscriptions, by repository.
    pub async fn list_subscriptions(&self) -> Result<Vec<Subscription>, StoreError> {
        each!(self, core => core.list_subscriptions().await)
    }

    /// How what the file of a repository says beside its builds stands.
    pub async fn beside(&self, repo: RepoId) -> Result<Seen, StoreError> {
        each!(self, core => core.beside(repo).await)
    }

    /// The builds that these follow.
    pub async fn upstreams_of(
        &self,
        builds: &[BuildNumber],
    ) -> Result<BTreeMap<BuildNumber, Upstream>, StoreError> {
        each!(self, core => core.upstreams_of(builds).await)
    }

    /// The builds that follow this one, the newest first, at most 100.
    pub async fn downstream_of(&self, build: BuildNumber) -> Result<Vec<Downstream>, StoreError> {
        each!(self, core => core.downstream_of(build).await)
    }

    // passes.rs
    /// Takes a build that passed and that another one is to follow, for so long.
    pub async fn take_pass(&self, time: Duration) -> Result<Option<(Pass, PassTurn)>, StoreError> {
        each_again!(self, core => core.take_pass(time))
    }

    /// Still at it, for this long from now; [`StoreError::Stale`] when it is done, or another server's.
    pub async fn keep_pass(&self, turn: PassTurn, time: Duration) -> Result<(), StoreError> {
        each!(self, core => core.keep_pass(turn, time).await)
    }

    /// Whether a build of this branch and commit, which follows an earlier one and has not begun, can follow this one
    /// instead; then it does. None is moved back to what is older than what it follows.
    pub async fn join_pass(&self, turn: PassTurn, branch: &str, commit: &str) -> Result<Joined, StoreError> {
        each_again!(self, core => core.join_pass(turn, branch, commit))
    }

    /// Says what came of one without a build; `again`: it is tried again after this time.
    pub async fn settle_pass(
        &self,
        turn: PassTurn,
        outcome: &str,
        again: Option<Duration>,
    ) -> Result<(), StoreError> {
        each_again!(self, core => core.settle_pass(turn, outcome, again))
    }

    // outbox.rs
    /// Where something is to be sent to, and how long that has time.
    pub async fn outbox_lanes(&self) -> Result<Vec<(String, Duration)>, StoreError> {
        each!(self, core => core.outbox_lanes().await)
    }

    /// What is to be sent there now, at most so many. Nobody else gets it before `busy` is over, so that what is newer
    /// never overtakes it.
    pub async fn take_posts(&self, lane: &str, most: u32, busy: Duration) -> Result<Vec<Post>, StoreError> {
        each_again!(self, core => core.take_posts(lane, most, busy))
    }

    /// It was sent. When there is something newer to be said by now, that is still owed.
    pub async fn post_sent(&self, post: &Post) -> Result<(), StoreError> {
        each!(self, core => core.post_sent(post).await)
    }

    /// It was not taken: it is owed again after a while, unless that has gone on for so long that it is given up, which
    /// is answered. Its notice is kept as it is in `post`: some may have been told.
    pub async fn post_failed(
        &self,
        post: &Post,
        error: &str,
        again_in: Duration,
        give_up: Duration,
    ) -> Result<bool, StoreError> {
        each_again!(self, core => core.post_failed(post, error, again_in, give_up))
    }

    /// What could not be said of a build so far.
    pub async fn undelivered(&self, build: BuildNumber) -> Result<Vec<Undelivered>, StoreError> {
        each!(self, core => core.undelivered(build).await)
    }

    // notices.rs
    /// Whom the newest file of the repository's default branch wants to be told.
    pub async fn repo_rules(&self, repo: RepoId) -> Result<Vec<Rule>, StoreError> {
        each!(self, core => core.repo_rules(repo).await)
    }

    /// By which rules a build is told of, beside those of credentials.
    pub async fn build_rules(&self, build: BuildNumber) -> Result<Vec<Rule>, StoreError> {
        each!(self, core => core.build_rules(build).await)
    }

    /// Notifications that could not be sent so far, those of the newest builds first; at most 1000, of the repositories in
    /// `readable`.
    pub async fn failing_notices(
        &self,
        repo: Option<RepoId>,
        readable: &[RepoId],
    ) -> Result<Vec<FailingNotice>, StoreError> {
        each!(self, core => core.failing_notices(repo, readable).await)
    }

    // builds.rs
    /// Makes a build with its jobs, first attempts, stages and queue rows in one transaction.
    pub async fn create_build(&self, build: &NewBuild) -> Result<BuildDetail, StoreError> {
        each_again!(self, core => core.create_build(build))
    }

    /// Without its jobs.
    pub async fn find_build(&self, number: BuildNumber) -> Result<Option<Build>, StoreError> {
        each!(self, core => core.find_build(number).await)
    }

    /// With its jobs, attempts and stages.
    pub async fn find_build_detail(&self, number: BuildNumber) -> Result<Option<BuildDetail>, StoreError> {
        each!(self, core => core.find_build_detail(number).await)
    }

    /// A word for what stands in the database (logs left out on `SQLite`): as long as it is the same, every read answers the same.
    /// `None` while that cannot be said.
    pub async fn state(&self) -> Result<Option<String>, StoreError> {
        each!(self, core => core.state().await)
    }

    /// Newest first, at most `limit`; looks at no more builds than can be looked at quickly.
    pub async fn page_builds(&self, filter: &BuildFilter, limit: u32) -> Result<BuildPage, StoreError> {
        each!(self, core => core.page_builds(filter, limit).await)
    }

    /// Newest first, all or `limit`, however many have to be looked at.
    pub async fn list_builds(&self, filter: &BuildFilter, limit: u32) -> Result<Vec<Build>, StoreError> {
        each!(self, core => core.list_builds(filter, limit).await)
    }

    /// Build and repository of a stage.
    pub async fn find_stage(&self, id: StageId) -> Result<Option<(Build, Stage)>, StoreError> {
        each!(self, core => core.find_stage(id).await)
    }

    /// The one way a build changes: loads its picture, applies `what` with `ocelot_model::build::advance`, writes the
    /// changes, events and queue rows, all in one transaction. `CancelRequested` also sets `cancel_requested_at`.
    /// [`StoreError::Stale`] when the attempt is over.
    pub async fn advance(&self, number: BuildNumber, what: Happening) -> Result<Vec<Change>, StoreError> {
        each_again!(self, core => core.advance(number, what.clone()))
    }

    // approve.rs
    /// Lets a build start whose commit waits for a person; or one of its jobs that does by its name; or, when its commit
    /// needs no approval, all such jobs. Of what somebody approved of before nothing changes; [`StoreError::Conflict`] when
    /// it waits for no approval, or is over.
    pub async fn approve(
        &self,
        number: BuildNumber,
        job: Option<&str>,
        by: &str,
    ) -> Result<Vec<Change>, StoreError> {
        each_again!(self, core => core.approve(number, job, by))
    }

    // queue.rs
    /// Gives free workers, in this order, the first jobs that they may have, or as `choose` says: leases the newest attempt
    /// of each, takes its row out of the queue, marks job and build as running. All of it is one transaction, so it may be
    /// fewer than could be claimed; none when there is nothing for them.
    pub async fn claim_for(
        &self,
        free: &[Free],
        choose: Choose<'_>,
    ) -> Result<Vec<(WorkerId, Claimed)>, StoreError> {
        each_again!(self, core => core.claim_for(free, choose))
    }

    /// The same for one worker with one free slot.
    pub async fn claim(&self, worker: WorkerId) -> Result<Option<Claimed>, StoreError> {
        each_again!(self, core => core.claim(worker))
    }

    /// From now on no more jobs of one repository run at once than this; `None` for no limit.
    pub fn limit_jobs_per_repo(&self, most: Option<u32>) {
        of_each!(self, core => core.jobs_per_repo.store(most.unwrap_or(0), Ordering::Relaxed));
    }

    /// The worker took the offer.
    pub async fn accept(&self, lease: &Lease) -> Result<(), StoreError> {
        each_again!(self, core => core.accept(lease))
    }

    /// The worker did not take the offer (or did not answer): back to the queue as the same attempt, not before `delay`.
    pub async fn give_back(&self, lease: &Lease, delay: Duration) -> Result<(), StoreError> {
        each_again!(self, core => core.give_back(lease, delay))
    }

    /// Heartbeat: renews what the worker holds, marks it as seen; answers which of `holding` are no longer valid.
    pub async fn renew(
        &self,
        worker: WorkerId,
        holding: &[Lease],
        hard_limit: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        each_again!(self, core => core.renew(worker, holding, hard_limit))
    }

    /// Who holds this lease; [`StoreError::Stale`] when nobody.
    pub async fn check_lease(&self, lease: &Lease) -> Result<Held, StoreError> {
        each!(self, core => core.check_lease(lease).await)
    }

    /// Whether any attempt is with a worker.
    pub async fn any_leases(&self) -> Result<bool, StoreError> {
        each!(self, core => core.any_leases().await)
    }

    /// Leases that ran out.
    pub async fn expired_leases(&self) -> Result<Vec<Lost>, StoreError> {
        each_again!(self, core => core.expired_leases())
    }

    /// Sets all leases to run out no sooner than `grace` from now (after a start).
    pub async fn extend_all_leases(&self, grace: Duration) -> Result<(), StoreError> {
        each_again!(self, core => core.extend_all_leases(grace))
    }

    /// Attempts of this build that workers hold.
    pub async fn held_by_build(&self, number: BuildNumber) -> Result<Vec<Held>, StoreError> {
        each!(self, core => core.held_by_build(number).await)
    }

    /// Attempts that this worker holds, unanswered offers among them.
    pub async fn held_by_worker(&self, worker: WorkerId) -> Result<Vec<Held>, StoreError> {
        each!(self, core => core.held_by_worker(worker).await)
    }

    /// Puts an offer that nobody answered back into the queue. False when it was accepted, or is over.
    pub async fn withdraw_offer(&self, held: &Held) -> Result<bool, StoreError> {
        each_again!(self, core => core.withdraw_offer(held))
    }

    /// Everything that waits, the oldest build first.
    pub async fn list_queue(&self) -> Result<Vec<Place>, StoreError> {
        each!(self, core => core.list_queue().await)
    }

    /// Those of these jobs that wait, the oldest build first.
    pub async fn waiting(&self, jobs: &[JobId]) -> Result<Vec<Waiting>, StoreError> {
        each!(self, core => core.waiting(jobs).await)
    }

    /// How many jobs wait, for whatever reason.
    pub async fn queue_depth(&self) -> Result<u64, StoreError> {
        each!(self, core => core.queue_depth().await)
    }

    /// For how long a job could have been claimed that nobody has claimed yet, at most; zero when there is none.
    pub async fn longest_wait(&self) -> Result<Duration, StoreError> {
        each!(self, core => core.longest_wait().await)
    }

    /// Jobs that could be claimed for longer than this and were not, the longest first, at most `limit`.
    pub async fn overdue_jobs(&self, longest: Duration, limit: u32) -> Result<Vec<Overdue>, StoreError> {
        each!(self, core => core.overdue_jobs(longest, limit).await)
    }

    /// Builds that were queued so long ago, at most `limit`, and wait for nothing but a person's approval.
    pub async fn unapproved_builds(
        &self,
        longest: Duration,
        limit: u32,
    ) -> Result<Vec<BuildNumber>, StoreError> {
        each!(self, core => core.unapproved_builds(longest, limit).await)
    }

    // concurrency.rs
    /// Gives places in a group to builds that wait for one and cancels those that must make room, as
    /// `ocelot_model::concurrency` says; answers what changed.
    pub async fn settle_group(
        &self,
        group: &GroupKey,
    ) -> Result<Vec<(BuildNumber, Vec<Change>)>, StoreError> {
        each_again!(self, core => core.settle_group(group))
    }

    /// The groups in which a build waits for a place.
    pub async fn waiting_groups(&self) -> Result<Vec<GroupKey>, StoreError> {
        each!(self, core => core.waiting_groups().await)
    }

    // deliveries.rs
    /// Stores a webhook, unless its forge sent it before. The delivery as it is stored, and whether it is new.
    pub async fn take_in(&self, new: &NewDelivery<'_>) -> Result<(Delivery, bool), StoreError> {
        each_again!(self, core => core.take_in(new))
    }

    /// Takes the next delivery that waits, for this long; of a repository only one at a time.
    pub async fn take_delivery(&self, lease: Duration) -> Result<Option<TakenDelivery>, StoreError> {
        each_again!(self, core => core.take_delivery(lease))
    }

    /// Still at it, for this long from now.
    pub async fn keep_delivery(&self, id: DeliveryId, lease: Duration) -> Result<(), StoreError> {
        each!(self, core => core.keep_delivery(id, lease).await)
    }

    /// It is tried again after a while.
    pub async fn put_off_delivery(
        &self,
        id: DeliveryId,
        delay: Duration,
        why: &str,
    ) -> Result<(), StoreError> {
        each!(self, core => core.put_off_delivery(id, delay, why).await)
    }

    /// What a delivery tells of which nothing was understood before; of others nothing changes.
    pub async fn tell(&self, id: DeliveryId, repo: Option<RepoId>, told: &Told) -> Result<(), StoreError> {
        each_again!(self, core => core.tell(id, repo, told))
    }

    /// Says what became of a part for which no build is made. One that is settled stays as it is.
    pub async fn settle_part(
        &self,
        part: PartId,
        state: DeliveryState,
        outcome: &str,
    ) -> Result<(), StoreError> {
        each_again!(self, core => core.settle_part(part, state, outcome))
    }

    // arrive.rs
    /// Makes the build that a part of a delivery asks for, and writes down that it did, in one transaction; unless there is
    /// no need of one.
    pub async fn arrive(&self, build: &NewBuild, cause: &Cause) -> Result<Arrived, StoreError> {
        each_again!(self, core => core.arrive(build, cause))
    }

    /// Builds of this branch or tag that webhooks made, of which nothing has begun, and that nobody has cancelled yet.
    pub async fn waiting_builds(&self, repo: RepoId, of: &RefName) -> Result<Vec<BuildNumber>, StoreError> {
        each!(self, core => core.waiting_builds(repo, of).await)
    }

    // ledger.rs
    /// Newest first, at most `limit`.
    pub async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        each!(self, core => core.list_deliveries(filter, limit).await)
    }

    /// One delivery.
    pub async fn find_delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        each!(self, core => core.find_delivery(id).await)
    }

    /// Its raw bytes.
    pub async fn load_delivery_body(&self, id: DeliveryId) -> Result<Vec<u8>, StoreError> {
        each!(self, core => core.load_delivery_body(id).await)
    }

    /// Works on it again; what has a build keeps it.
    pub async fn replay_delivery(&self, id: DeliveryId) -> Result<(), StoreError> {
        each_again!(self, core => core.replay_delivery(id))
    }

    /// Forgets up to `limit` deliveries that came before this time; answers how many.
    pub async fn expire_deliveries(&self, before: Timestamp, limit: u32) -> Result<usize, StoreError> {
        each!(self, core => core.expire_deliveries(before, limit).await)
    }

    // stages.rs
    /// A worker's word on a stage; the same twice is fine, a terminal stage never changes. Answers for how many
    /// milliseconds the stage ran when it is this word that ended it.
    pub async fn set_stage(&self, lease: &Lease, update: &StageUpdate) -> Result<Option<i64>, StoreError> {
        each_again!(self, core => core.set_stage(lease, update))
    }

    // insights.rs
    /// Learns the shapes of a passed stage's log; the 20 newest runs of each stage are kept.
    pub async fn learn_shapes(&self, stage: StageId, shapes: &[u64]) -> Result<(), StoreError> {
        each_again!(self, core => core.learn_shapes(stage, shapes))
    }

    /// The shapes of the last 20 passed runs of this stage before its build, and how many runs that were.
    pub async fn known_shapes(&self, stage: StageId) -> Result<(HashSet<u64>, u32), StoreError> {
        each!(self, core => core.known_shapes(stage).await)
    }

    /// Keeps what is new in a failed stage's log; the first word stays.
    pub async fn keep_novel(&self, stage: StageId, novel: &Novel, compared: u32) -> Result<(), StoreError> {
        each_again!(self, core => core.keep_novel(stage, novel, compared))
    }

    /// What was kept.
    pub async fn find_novel(&self, stage: StageId) -> Result<Option<Compared>, StoreError> {
        each!(self, core => core.find_novel(stage).await)
    }

    /// How long the jobs of the newest passed builds took (at most 20 builds), by name, newest first, in milliseconds; of one
    /// branch or of all.
    pub async fn usual_times(
        &self,
        repo: RepoId,
        branch: Option<&str>,
    ) -> Result<BTreeMap<String, Vec<i64>>, StoreError> {
        each!(self, core => core.usual_times(repo, branch).await)
    }

    /// Since which build this one's branch, tag or pull request is broken; `None` when it is not. A retry is what it does again.
    pub async fn broken_since(&self, number: BuildNumber) -> Result<Option<BrokenSince>, StoreError> {
        each!(self, core => core.broken_since(number).await)
    }

    // events.rs
    /// Events after `seq`, oldest first; of one build or of all.
    pub async fn events_after(
        &self,
        seq: i64,
        build: Option<BuildNumber>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        each!(self, core => core.events_after(seq, build, limit).await)
    }

    /// The newest event's number.
    pub async fn last_event(&self) -> Result<i64, StoreError> {
        each!(self, core => core.last_event().await)
    }

    // logs.rs
    /// Takes bytes at `offset`; returns once they are durable, with the durable length. Overlap with equal bytes is fine.
    /// At most 1 MiB. The caller has checked the lease.
    pub async fn append_log(
        &self,
        stage: StageId,
        offset: u64,
        data: &[u8],
        marks: &[Mark],
    ) -> Result<u64, LogError> {
        each!(self, core => core.append_log(stage, offset, data, marks).await)
    }

    /// The end: checks length and SHA-256. Twice is fine.
    pub async fn finish_log(&self, stage: StageId, total: u64, sha256: &[u8]) -> Result<(), LogError> {
        each!(self, core => core.finish_log(stage, total, sha256).await)
    }

    /// Up to `max` bytes from `offset` (less at the end of what there is).
    pub async fn read_log(&self, stage: StageId, offset: u64, max: usize) -> Result<LogSlice, StoreError> {
        each!(self, core => core.read_log(stage, offset, max).await)
    }

    /// Where the last `lines` lines of the first `end` bytes begin.
    pub async fn log_tail(&self, stage: StageId, end: u64, lines: u64) -> Result<u64, StoreError> {
        each!(self, core => core.log_tail(stage, end, lines).await)
    }

    /// Line feeds before `end`; `None` when counting them means reading more than `at_most` bytes.
    pub async fn log_lines(&self, stage: StageId, end: u64, at_most: u64) -> Result<Option<u64>, StoreError> {
        each!(self, core => core.log_lines(stage, end, at_most).await)
    }

    /// How far it is.
    pub async fn log_state(&self, stage: StageId) -> Result<LogState, StoreError> {
        each!(self, core => core.log_state(stage).await)
    }

    // log_place.rs
    /// Whether the log store can be written. Asked often it looks from time to time only.
    pub async fn ping_log_store(&self) -> Result<(), StoreError> {
        each!(self, core => core.ping_log_store().await)
    }

    /// Says once more that this server uses the log store; to be called every minute.
    pub async fn stay_at_log_store(&self) -> Result<(), StoreError> {
        each!(self, core => core.stay_at_log_store().await)
    }

    // blobs.rs
    /// Finished logs behind `after` that are in the database only, at most `limit`.
    pub async fn logs_to_copy(&self, after: StageId, limit: u32) -> Result<Vec<StageId>, StoreError> {
        each!(self, core => core.logs_to_copy(after, limit).await)
    }

    /// Copies a finished log into the log store, where it is read from then on. Its bytes stay in the database too for as
    /// long as `hot` says. False when there was nothing to copy any more.
    pub async fn copy_log(&self, stage: StageId, hot: Duration) -> Result<bool, StoreError> {
        each!(self, core => core.copy_log(stage, hot).await)
    }

    /// Takes the bytes of up to `limit` copied logs out of the database; answers of how many.
    pub async fn drop_copied(&self, limit: u32) -> Result<usize, StoreError> {
        each!(self, core => core.drop_copied(limit).await)
    }

    /// Removes up to `limit` blobs of the log store in which no log lies; answers how many.
    pub async fn sweep_blobs(&self, limit: u32) -> Result<usize, StoreError> {
        each!(self, core => core.sweep_blobs(limit).await)
    }

    /// Gives blobs free whose logs are gone without a word, as after a server of the version before removed them. Looks at
    /// all of them.
    pub async fn free_blobs(&self) -> Result<(), StoreError> {
        each!(self, core => core.free_blobs().await)
    }

    // pause.rs
    /// No job can be claimed from now on, on any server. Running ones go on.
    pub async fn pause(&self, by: &str, reason: Option<&str>) -> Result<Pause, StoreError> {
        each_again!(self, core => core.pause(by, reason))
    }

    /// Jobs can be claimed again.
    pub async fn unpause(&self, by: &str) -> Result<(), StoreError> {
        each_again!(self, core => core.unpause(by))
    }

    /// Whether jobs can be claimed, and if not, who wants it so.
    pub async fn paused(&self) -> Result<Option<Pause>, StoreError> {
        each!(self, core => core.paused().await)
    }

    // removal.rs
    /// Deletes the bytes of a log for good and leaves `note` in their place; an earlier note stays.
    /// [`StoreError::Conflict`] while its worker may still write to it.
    ///
    /// SQLite overwrites them in its files before this returns; PostgreSQL frees their space, which it overwrites when it uses
    /// it again.
    pub async fn remove_log(&self, stage: StageId, note: &str, by: &str) -> Result<(), StoreError> {
        each!(self, calls::LONG, core => core.remove_log(stage, note, by).await)
    }

    /// Takes bytes of deleted logs out of SQLite's journal, if readers kept them there; false while they still do. To be
    /// called again and again.
    pub async fn scrub(&self) -> Result<bool, StoreError> {
        each!(self, calls::LONG, core => core.scrub().await)
    }

    // rota.rs
    /// Takes the turn at work that is done every so often, by whichever server comes first. `None` when it is not due
    /// yet; else how long ago some server last did it.
    pub async fn take_turn(&self, work: &str, every: Duration) -> Result<Option<Duration>, StoreError> {
        each_again!(self, core => core.take_turn(work, every))
    }

    // retention.rs
    /// Takes up work that only one server does at a time; false while another one is at it. It is free again after `at_most`,
    /// or with [`Store::end_alone`].
    pub async fn begin_alone(&self, what: &str, at_most: Duration) -> Result<bool, StoreError> {
        each_again!(self, core => core.begin_alone(what, at_most))
    }

    /// The work is done.
    pub async fn end_alone(&self, what: &str) -> Result<(), StoreError> {
        each!(self, core => core.end_alone(what).await)
    }

    /// Leaves `note` in the place of the logs of up to `limit` builds that ended before this time; answers of how many.
    pub async fn expire_logs(&self, before: Timestamp, note: &str, limit: u32) -> Result<usize, StoreError> {
        each_again!(self, calls::LONG, core => core.expire_logs(before, note, limit))
    }

    /// Looks at up to `limit` builds that ended before this time, those that ended first first, and removes each one that is
    /// not among the last `keep_last` of its branch. Answers where to go on; `None` at the end.
    pub async fn expire_builds(
        &self,
        before: Timestamp,
        keep_last: u32,
        after: Option<Looked>,
        limit: u32,
    ) -> Result<Option<Looked>, StoreError> {
        each_again!(self, calls::LONG, core => core.expire_builds(before, keep_last, after, limit))
    }

    // tallies.rs
    /// Hours are told apart for so long; days and weeks for as long as the repository is there.
    pub const HOURS_KEPT: Duration = Duration::from_hours(35 * 24);

    /// Whether builds ended that are not counted yet.
    pub async fn has_uncounted(&self) -> Result<bool, StoreError> {
        each!(self, core => core.has_uncounted().await)
    }

    /// Counts up to `limit` builds that ended, fewer when they are large; answers how many.
    pub async fn count_builds(&self, limit: u32) -> Result<usize, StoreError> {
        each_again!(self, core => core.count_builds(limit))
    }

    /// Forgets up to `limit` hours that are older than [`Store::HOURS_KEPT`]; answers how many.
    pub async fn drop_hours(&self, limit: u32) -> Result<usize, StoreError> {
        each_again!(self, core => core.drop_hours(limit))
    }

    // export.rs
    /// Builds that ended, in the order in which they did, behind this one; at most `limit`.
    pub async fn ended_builds(
        &self,
        what: &Exported,
        after: Option<Looked>,
        limit: u32,
    ) -> Result<Vec<Build>, StoreError> {
        each!(self, core => core.ended_builds(what, after, limit).await)
    }

    /// All attempts of these builds, by build, job and number.
    pub async fn past_jobs(&self, builds: &[BuildNumber]) -> Result<Vec<PastJob>, StoreError> {
        each!(self, core => core.past_jobs(builds).await)
    }

    /// The stages of all attempts of these builds, in the same order.
    pub async fn past_stages(&self, builds: &[BuildNumber]) -> Result<Vec<PastStage>, StoreError> {
        each!(self, core => core.past_stages(builds).await)
    }

    // badges.rs
    /// The key with which everyone sees the badge of a repository; made when there is none, and another one with `renew`.
    pub async fn make_badge_key(
        &self,
        repo: RepoId,
        renew: bool,
        by: &str,
    ) -> Result<SecretString, StoreError> {
        each_again!(self, core => core.make_badge_key(repo, renew, by))
    }

    /// That key, if there is one.
    pub async fn find_badge_key(&self, repo: RepoId) -> Result<Option<SecretString>, StoreError> {
        each!(self, core => core.find_badge_key(repo).await)
    }

    /// Nobody sees the badge with it any more. Twice is fine.
    pub async fn remove_badge_key(&self, repo: RepoId, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.remove_badge_key(repo, by).await)
    }

    // blocks.rs
    /// Writes down what up to `most` blocks of builds have in common, which helps to find builds by time and text; answers of
    /// how many it did.
    pub async fn seal_blocks(&self, most: u32) -> Result<usize, StoreError> {
        each_again!(self, core => core.seal_blocks(most))
    }

    // stats.rs
    /// How those of each period ended; a period without any is not there. Builds are counted some seconds after their end.
    pub async fn count_by_period(
        &self,
        what: &Counted,
        periods: Periods,
    ) -> Result<BTreeMap<i64, Tally>, StoreError> {
        each!(self, core => core.count_by_period(what, periods).await)
    }

    /// How those of whole days ended, one by one; at most about a thousand.
    pub async fn count_apart(
        &self,
        what: &Counted,
        apart: Apart,
        from_day: i64,
        to_day: i64,
    ) -> Result<Parts, StoreError> {
        each!(self, core => core.count_apart(what, apart, from_day, to_day).await)
    }

    // orphans.rs
    /// Builds that nothing would ever end, the oldest first, at most `limit`.
    pub async fn orphans(&self, limit: u32) -> Result<Vec<BuildNumber>, StoreError> {
        each!(self, core => core.orphans(limit).await)
    }

    /// Brings the rows of a build together again: what nobody holds is lost, what waits nowhere waits again, and what
    /// follows is done. Of a build that is whole it changes nothing.
    pub async fn mend(&self, number: BuildNumber) -> Result<Mended, StoreError> {
        each_again!(self, core => core.mend(number))
    }

    // tokens.rs
    /// Makes a token; the secret (`ocl_` + 43 characters) is only stored as SHA-256.
    pub async fn create_token(
        &self,
        name: &str,
        role: Role,
        repos: &[String],
        expires: Option<Duration>,
        by: &str,
    ) -> Result<(Token, String), StoreError> {
        each!(self, core => core.create_token(name, role, repos, expires, by).await)
    }

    /// The token with this secret, unless it ended. Notes its use, at most once a minute.
    pub async fn find_token(&self, secret: &str) -> Result<Option<Token>, StoreError> {
        each!(self, core => core.find_token(secret).await)
    }

    /// All, by name.
    pub async fn list_tokens(&self) -> Result<Vec<Token>, StoreError> {
        each!(self, core => core.list_tokens().await)
    }

    /// Ends a token and its sessions.
    pub async fn revoke_token(&self, id: TokenId, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.revoke_token(id, by).await)
    }

    /// A session that acts as this token; the secret is only stored as SHA-256.
    pub async fn create_session(&self, token: TokenId, lifetime: Duration) -> Result<String, StoreError> {
        each!(self, core => core.create_session(token, lifetime).await)
    }

    /// The token of a session.
    pub async fn find_session(&self, secret: &str) -> Result<Option<Token>, StoreError> {
        each!(self, core => core.find_session(secret).await)
    }

    /// Signs out.
    pub async fn end_session(&self, secret: &str) -> Result<(), StoreError> {
        each!(self, core => core.end_session(secret).await)
    }

    /// A link that signs in once.
    pub async fn create_sign_in_link(
        &self,
        token: TokenId,
        lifetime: Duration,
    ) -> Result<String, StoreError> {
        each!(self, core => core.create_sign_in_link(token, lifetime).await)
    }

    /// Uses it up.
    pub async fn redeem_sign_in_link(&self, secret: &str) -> Result<Option<Token>, StoreError> {
        each!(self, core => core.redeem_sign_in_link(secret).await)
    }

    // enrolments.rs
    /// Makes an enrolment token; `None` for any number of uses, and for no end. Its secret is stored as SHA-256.
    pub async fn create_enrolment(
        &self,
        labels: &BTreeMap<String, String>,
        uses: Option<u32>,
        expires: Option<Duration>,
        by: &str,
    ) -> Result<(Enrolment, String), StoreError> {
        each!(self, core => core.create_enrolment(labels, uses, expires, by).await)
    }

    /// All, those that are used up or have ended too, in the order in which they were made.
    pub async fn list_enrolments(&self) -> Result<Vec<Enrolment>, StoreError> {
        each!(self, core => core.list_enrolments().await)
    }

    /// Nobody enrols with it any more. Who has enrolled stays.
    pub async fn revoke_enrolment(&self, id: i64, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.revoke_enrolment(id, by).await)
    }

    /// True when one more worker may come with this secret.
    pub async fn may_enrol(&self, secret: &str) -> Result<bool, StoreError> {
        each!(self, core => core.may_enrol(secret).await)
    }

    /// A worker comes with an enrolment token and the secret that it made itself; answers its name. Asked again with the
    /// same secret, the answer is the same and nothing is used up. A removed worker is a [`StoreError::Conflict`].
    pub async fn enrol(&self, token: &str, own: &str, name: &str) -> Result<String, StoreError> {
        each_again!(self, core => core.enrol(token, own, name))
    }

    /// Forgets workers that were not seen since `before` and hold nothing, and enrolment tokens that ended before.
    pub async fn expire_workers(&self, before: Timestamp) -> Result<u64, StoreError> {
        each!(self, core => core.expire_workers(before).await)
    }

    // workers.rs
    /// The worker with this secret of its own.
    pub async fn find_worker(&self, secret: &str) -> Result<Option<WorkerId>, StoreError> {
        each!(self, core => core.find_worker(secret).await)
    }

    /// Whether a connected worker may go on.
    pub async fn worker_standing(&self, id: WorkerId, identity: Identity) -> Result<Standing, StoreError> {
        each!(self, core => core.worker_standing(id, identity).await)
    }

    /// True when this lease is good, but another worker's than the caller's.
    pub async fn is_anothers(&self, lease: &Lease, caller: Identity) -> Result<bool, StoreError> {
        each!(self, core => core.is_anothers(lease, caller).await)
    }

    /// It takes no more jobs, by its own word.
    pub async fn worker_ends(&self, id: WorkerId) -> Result<(), StoreError> {
        each!(self, core => core.worker_ends(id).await)
    }

    /// It gets no more jobs, as `by` wants; not `drained` undoes it.
    pub async fn drain_worker(&self, id: WorkerId, drained: bool, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.drain_worker(id, drained, by).await)
    }

    /// Ends its identity for good and gives it no more jobs. What it holds is the caller's to take back, and then to
    /// delete the worker.
    pub async fn bar_worker(&self, id: WorkerId, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.bar_worker(id, by).await)
    }

    /// Forgets the worker. That it is gone already is no error.
    pub async fn delete_worker(&self, id: WorkerId) -> Result<(), StoreError> {
        each!(self, core => core.delete_worker(id).await)
    }

    /// The workers that come with this token.
    pub async fn workers_of_token(&self, token: TokenId) -> Result<Vec<WorkerId>, StoreError> {
        each!(self, core => core.workers_of_token(token).await)
    }

    /// Makes or finds the worker, marks it as connected.
    pub async fn worker_hello(&self, hello: &Hello) -> Result<WorkerId, StoreError> {
        each!(self, core => core.worker_hello(hello).await)
    }

    /// It has found out how folders reach its engine.
    pub async fn worker_shares(&self, id: WorkerId, sharing: &str) -> Result<(), StoreError> {
        each!(self, core => core.worker_shares(id, sharing).await)
    }

    /// Lets the sessions of this worker, on all servers, look how it stands.
    pub async fn look_at_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        each!(self, core => core.look_at_worker(worker).await)
    }

    /// These workers, which hold nothing, were just heard. Answers whether each is drained; `None` for those whose token
    /// or identity is not good any more.
    pub async fn workers_beat(
        &self,
        workers: &[WorkerId],
    ) -> Result<Vec<(WorkerId, Option<bool>)>, StoreError> {
        each_again!(self, core => core.workers_beat(workers))
    }

    /// It says how its machine is.
    pub async fn worker_condition(&self, id: WorkerId, condition: &Condition) -> Result<(), StoreError> {
        each!(self, core => core.worker_condition(id, condition).await)
    }

    /// Its session ended.
    pub async fn worker_goodbye(&self, id: WorkerId) -> Result<(), StoreError> {
        each!(self, core => core.worker_goodbye(id).await)
    }

    /// All, by name.
    pub async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        each!(self, core => core.list_workers().await)
    }

    /// The database's clock.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        raw::time(each!(self, core => core.now().await)?)
    }
}
