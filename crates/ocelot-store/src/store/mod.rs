//! [`Store`]: one set of methods, whichever database it is. They are in files by what they are about; what they do is in `sql/`.

use std::path::Path;
use std::sync::Arc;

use crate::{About, BackupError, NotReady, Options, StoreError, Wake, backup, postgres, sqlite};

/// The same call on whichever database it is, within [`crate::calls::SHORT`] unless another limit stands before it.
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

mod access;
mod arrivals;
mod builds;
mod fleet;
mod history;
mod logs;
mod outbox;
mod queue;
mod repos;

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
}
