//! Brings a database up to date, and says what happens to one that is ahead.
//!
//! Migrations only add: an older server goes on working on a newer database. So servers are replaced one by one while
//! the others serve, and one of the version before may even be started again. What takes something away has to wait until
//! no server that needs it can be running.

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{Database, Pool};

use crate::StoreError;

/// Runs what is missing. A database of a newer version is left as it is.
pub(crate) async fn bring_up_to_date<D>(mut all: Migrator, pool: &Pool<D>) -> Result<(), StoreError>
where
    D: Database<Connection: Migrate>,
{
    all.set_ignore_missing(true);
    match all.run(pool).await {
        Err(MigrateError::VersionMismatch(version)) => Err(StoreError::Corrupt(format!(
            "migration {version} of this database is not the one that this version of Ocelot has: was it made by an \
             unreleased one?"
        ))),
        other => Ok(other?),
    }?;
    let own = all.iter().map(|migration| migration.version).max().unwrap_or_default();
    let mut conn = pool.acquire().await?;
    let applied = conn.list_applied_migrations(&all.table_name).await?;
    let newest = applied.iter().map(|migration| migration.version).max().unwrap_or_default();
    if newest > own {
        tracing::warn!(
            "a newer Ocelot has brought this database up to date (to {newest}, this one knows {own}): \
             going on, but bring this server up to date soon"
        );
    }
    Ok(())
}
