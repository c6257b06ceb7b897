//! Everything that is SQL, written once and compiled twice: once below `sqlite`, once below `postgres`.
//!
//! `super` gives the dialect: the type `Db`, how transactions begin, locks, the clock, notifications.

mod advance;
mod approve;
mod arrive;
mod audit;
mod badges;
mod blobs;
mod blocks;
mod builds;
mod claim;
mod claimed;
mod concurrency;
mod create;
mod deliveries;
mod detail;
mod dump;
mod enrolments;
mod events;
mod export;
mod forges;
mod insights;
mod keys;
mod leases;
mod ledger;
mod load;
mod log_place;
mod log_writer;
mod logs;
mod notices;
mod orphans;
mod outbox;
mod passes;
mod pause;
mod polls;
mod queue;
mod ready;
mod reconcile;
mod removal;
mod repos;
mod reseal;
mod retention;
mod rota;
mod schedules;
mod secrets;
mod sessions;
mod stages;
mod state;
mod stats;
mod subscriptions;
mod tallies;
mod tokens;
mod twins;
mod workers;

pub(crate) use dump::dump;

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, RwLock};

use ocelot_model::{BuildNumber, RepoId};
use sqlx::{Pool, Transaction};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::{Db, EACH_BUILD, OF_EACH_REPO, READ, State, WRITE, notify, now};
use crate::log_store::LogStore;
use crate::wake::Wakes;
use crate::wanted::LabelSet;
use crate::{EventBody, LogPlace, Options, StoreError, Wake, crash, secret};

type Conn = <Db as sqlx::Database>::Connection;

/// The pools of one store. On PostgreSQL they are all the same one.
pub(crate) struct Pools {
    pub(crate) read: Pool<Db>,
    pub(crate) write: Pool<Db>,
    pub(crate) read_logs: Pool<Db>,
    pub(crate) write_logs: Pool<Db>,
}

/// The store on one kind of database.
pub(crate) struct Core {
    pools: Pools,
    state: State,
    pub(crate) wakes: Wakes,
    pub(crate) instance: String,
    label_sets: RwLock<Arc<Vec<LabelSet>>>,
    log_writer: log_writer::LogWriter,
    checked: Mutex<ready::Checked>,
    log_store: LogStore,
    /// This server and what it has found out about the log store.
    log_user: log_place::User,
    listener: Option<JoinHandle<()>>,
    keys: keys::KeyFile,
    /// So many jobs of one repository run at once; 0 for no limit.
    pub(crate) jobs_per_repo: AtomicU32,
    /// Bytes of deleted logs may still be in a journal.
    unscrubbed: AtomicBool,
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

impl Core {
    pub(crate) async fn start(
        pools: Pools,
        state: State,
        wakes: Wakes,
        listener: Option<JoinHandle<()>>,
        options: &Options,
    ) -> Result<Core, StoreError> {
        let instance = load_instance(&pools.write).await?;
        let log_writer = log_writer::LogWriter::start(pools.write_logs.clone(), wakes.clone());
        let log_user = log_place::User::load(&options.data).await?;
        let place = options.log_store.place.clone().unwrap_or_else(|| LogPlace::below(&options.data));
        let key_file = options.key_file.clone().unwrap_or_else(|| options.data.join("secret-key"));
        Ok(Core {
            keys: keys::KeyFile::new(key_file),
            log_store: LogStore::open(place, &options.log_store.variables)?,
            label_sets: RwLock::default(),
            checked: Mutex::default(),
            jobs_per_repo: AtomicU32::new(0),
            unscrubbed: AtomicBool::new(false),
            pools,
            state,
            wakes,
            instance,
            log_writer,
            log_user,
            listener,
        })
    }

    /// What a server does first.
    pub(crate) async fn begin_work(&self) -> Result<(), StoreError> {
        self.check_key().await?;
        self.begin_log_store().await?;
        self.finish_removals().await
    }

    pub(crate) async fn close(&self) {
        self.log_writer.close().await;
        self.leave_log_store().await;
        if let Some(listener) = &self.listener {
            listener.abort();
        }
        for pool in [&self.pools.read, &self.pools.read_logs, &self.pools.write, &self.pools.write_logs] {
            pool.close().await;
        }
    }

    pub(crate) async fn now(&self) -> Result<i64, StoreError> {
        Ok(now(&mut *self.pools.read.acquire().await?).await?)
    }

    pub(crate) async fn state(&self) -> Result<Option<String>, StoreError> {
        Ok(self.state.read(&self.pools.read).await?)
    }

    /// Several reads of one state.
    async fn snapshot(&self) -> Result<Transaction<'static, Db>, StoreError> {
        Ok(self.pools.read.begin_with(READ).await?)
    }

    async fn begin(&self) -> Result<Tx, StoreError> {
        let mut tx = self.pools.write.begin_with(WRITE).await?;
        let now = now(&mut tx).await?;
        Ok(Tx::new(tx, now))
    }

    /// Writes the events and what follows from them for the world outside, commits, and only then wakes those who wait.
    async fn commit(&self, mut tx: Tx) -> Result<(), StoreError> {
        outbox::note(&mut tx).await?;
        let Tx { inner: mut tx, events, mut wakes, .. } = tx;
        for text in self.wakes.to_texts(&wakes) {
            notify(&mut tx, &text).await?;
        }
        if !events.is_empty() {
            let last = events::insert(&mut tx, &events, &self.wakes.events_prefix()).await?;
            wakes.push(Wake::Events(last));
        }
        crash::point("before-commit");
        tx.commit().await?;
        crash::point("after-commit");
        if wakes.contains(&Wake::Outbox) {
            crash::point("something-owed");
        }
        self.wakes.send(&wakes);
        Ok(())
    }
}

/// A transaction that writes, with what is to be told after it.
struct Tx {
    inner: Transaction<'static, Db>,
    /// The database's clock at its beginning, in microseconds.
    now: i64,
    events: Vec<(BuildNumber, RepoId, EventBody)>,
    wakes: Vec<Wake>,
}

impl Tx {
    fn new(inner: Transaction<'static, Db>, now: i64) -> Tx {
        Tx { inner, now, events: Vec::new(), wakes: Vec::new() }
    }

    fn conn(&mut self) -> &mut Conn {
        &mut self.inner
    }

    /// Transactions that do this with the same word are made one after the other, on whichever servers.
    async fn one_after_the_other(&mut self, what: &'static str) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO settings (key, value) VALUES ($1, '') ON CONFLICT (key) DO NOTHING")
            .bind(what)
            .execute(self.conn())
            .await?;
        sqlx::query(concat!("SELECT value FROM settings WHERE key = $1", for_update!()))
            .bind(what)
            .execute(self.conn())
            .await?;
        Ok(())
    }

    fn wake(&mut self, wake: Wake) {
        if !self.wakes.contains(&wake) {
            self.wakes.push(wake);
        }
    }
}

async fn load_instance(pool: &Pool<Db>) -> Result<String, StoreError> {
    sqlx::query("INSERT INTO settings (key, value) VALUES ('instance', $1) ON CONFLICT (key) DO NOTHING")
        .bind(secret::hex(&secret::random::<6>()))
        .execute(pool)
        .await?;
    Ok(sqlx::query_scalar("SELECT value FROM settings WHERE key = 'instance'").fetch_one(pool).await?)
}
