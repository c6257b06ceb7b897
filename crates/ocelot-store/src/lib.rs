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
/// True for a build of what a branch of the repository held: no pull request, no tag, nothing of others. A push's build stays
/// one when a pull request of its commit is opened. Builds of versions that did not note it are told by what they have.
macro_rules! of_branch {
    ($build:literal) => {
        concat!(
            "(",
            $build,
            ".of_branch OR (",
            $build,
            ".event <> 'pull_request' AND ",
            $build,
            ".pull_request IS NULL AND ",
            $build,
            ".tag IS NULL AND ",
            $build,
            ".origin = 'repository'))"
        )
    };
}
/// True when what `o` came to says something of what `b` comes to: both are of the same branch, or of the same pull request or
/// tag. Others may have branches, and the repository tags, of the same name.
macro_rules! same_history {
    () => {
        concat!(
            "o.repo_id = b.repo_id AND o.branch = b.branch AND (",
            of_branch!("b"),
            " AND ",
            of_branch!("o"),
            " OR NOT ",
            of_branch!("b"),
            " AND o.trusted = b.trusted AND coalesce(o.pull_request, 0) = coalesce(b.pull_request, 0)
              AND (o.tag IS NULL) = (b.tag IS NULL))"
        )
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
mod rows;
mod seal;
mod secret;
mod sqlite;
mod stats;
mod store;
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
use std::path::PathBuf;
pub use store::Store;
pub use subscriptions::*;
pub use times::*;
pub use wanted::{Choose, Free, Next};

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
