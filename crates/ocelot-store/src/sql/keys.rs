//! Which key the secrets of this database are sealed with. The database knows its name only, so that a server with another
//! key notices before it does harm.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ocelot_model::AuditAction;
use secrecy::{SecretSlice, SecretString};

use super::Core;
use crate::StoreError;
use crate::seal::Keys;

/// The name of the key that seals.
const KEY: &str = "secret-key";

/// This server's keys.
#[derive(Debug)]
pub(crate) struct KeyFile {
    file: PathBuf,
    /// Known to be the database's, and the state of the file that they were read from.
    known: RwLock<Option<(Stamp, Arc<Keys>)>>,
}

/// Tells a file that was changed from what it was: number, time of change in nanoseconds, length.
type Stamp = (u64, i64, i64, u64);

impl KeyFile {
    pub(super) fn new(file: PathBuf) -> KeyFile {
        KeyFile { file, known: RwLock::default() }
    }

    fn stamp(&self) -> Option<Stamp> {
        let what = std::fs::metadata(&self.file).ok()?;
        Some((what.ino(), what.mtime(), what.mtime_nsec(), what.len()))
    }

    /// What was read, unless the file is another one now. One that is gone is not missed while the server lives.
    fn current(&self) -> Option<Arc<Keys>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let (stamp, keys) = known.as_ref()?;
        let same = self.stamp().is_none_or(|now| now == *stamp);
        same.then(|| Arc::clone(keys))
    }

    fn foreign(&self, id: &str) -> StoreError {
        StoreError::Conflict(format!(
            "the secrets of this database are sealed with the key {id}, which is not in {}: bring the key file of the server \
             that made them (its data folder has it as `secret-key`)",
            self.file.display()
        ))
    }
}

impl Core {
    /// At the start of a server: its keys are the database's, when that has any.
    pub(super) async fn check_key(&self) -> Result<(), StoreError> {
        let Some(id) = self.key_id().await? else { return Ok(()) };
        let stamp = self.keys.stamp();
        let keys = Keys::read(&self.keys.file)?.filter(|keys| keys.ids().contains(&id));
        let keys = keys.ok_or_else(|| self.keys.foreign(&id))?;
        let mut known = self.keys.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = stamp.map(|stamp| (stamp, Arc::new(keys)));
        Ok(())
    }

    /// Where the keys are.
    pub(super) fn key_file(&self) -> &Path {
        &self.keys.file
    }

    /// The database's key is the one that seals, from now on.
    pub(super) async fn name_key(&self, keys: &Keys, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let changed = sqlx::query("UPDATE settings SET value = $1 WHERE key = $2 AND value <> $1")
            .bind(keys.ids().first())
            .bind(KEY)
            .execute(tx.conn())
            .await?;
        if changed.rows_affected() > 0 {
            tx.note(by, AuditAction::KeyRotated, "secret-key", "all secrets are sealed again").await?;
        }
        self.commit(tx).await
    }

    async fn key_id(&self) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar("SELECT value FROM settings WHERE key = $1")
            .bind(KEY)
            .fetch_optional(&self.pools.write)
            .await?)
    }

    /// The keys; made with the first secret of the database.
    async fn keys(&self) -> Result<Arc<Keys>, StoreError> {
        if let Some(keys) = self.keys.current() {
            return Ok(keys);
        }
        if self.key_id().await?.is_none() {
            self.make_key().await?;
        }
        self.check_key().await?;
        self.keys.current().ok_or_else(|| StoreError::Corrupt("no key for secrets".to_owned()))
    }

    async fn make_key(&self) -> Result<(), StoreError> {
        let keys = match Keys::read(&self.keys.file)? {
            Some(keys) => keys,
            None => {
                // Of two calls at once, one makes it.
                let made = Keys::make(&self.keys.file);
                Keys::read(&self.keys.file)?.ok_or_else(|| made.err().unwrap_or(StoreError::Stale))?
            }
        };
        sqlx::query("INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING")
            .bind(KEY)
            .bind(keys.ids().first())
            .execute(&self.pools.write)
            .await?;
        Ok(())
    }

    /// The keys to seal something new with. Never in a transaction: one may have to be made, which takes the connection that
    /// writes.
    pub(super) async fn keys_to_seal(&self) -> Result<Arc<Keys>, StoreError> {
        let known = self.keys.current();
        // Somebody may have given up the key since; what only this process remembers would be lost with it.
        let id = self.key_id().await?;
        if !id.zip(known).is_some_and(|(id, keys)| keys.ids().contains(&id)) {
            *self.keys.known.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.keys().await
    }

    /// Seals `plain` for `place`: table, column and key of the row. Not in a transaction.
    pub(super) async fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.keys_to_seal().await?.seal(place, plain)
    }

    pub(super) async fn unseal(&self, place: &str, sealed: &[u8]) -> Result<SecretSlice<u8>, StoreError> {
        self.keys().await?.open(place, sealed)
    }

    /// The same for what is text.
    pub(super) async fn unseal_text(&self, place: &str, sealed: &[u8]) -> Result<SecretString, StoreError> {
        use secrecy::ExposeSecret as _;
        let plain = self.unseal(place, sealed).await?;
        let text = std::str::from_utf8(plain.expose_secret());
        Ok(text.map_err(|_| StoreError::Corrupt(format!("the sealed {place}")))?.into())
    }
}
