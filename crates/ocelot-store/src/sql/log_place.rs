//! One database has one log store. This says whether the one that a server was given is it, and whether the server may use it
//! beside others. It touches no log.
//!
//! The store has a marker with the words that the database knows it by (`log-store` in `settings`). A folder that only this
//! server sees has other words or none, so that no log is looked for where it is not.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Core, now};
use crate::raw::{from_json, to_json, us};
use crate::{LogPlace, StoreError, secret};

/// A server that did not say that it stays is gone after this time.
const STAYS: Duration = Duration::from_mins(3);
const STORE: &str = "log-store";
const USER: &str = "log-store-user:";

/// This server as a user of the log store.
#[derive(Debug)]
pub(crate) struct User {
    id: String,
    host: String,
    /// The store is known to be the right one.
    adopted: OnceLock<String>,
}

impl User {
    /// A server is its data folder, on whatever machine it runs. A copy of the folder is another server: the file says
    /// which file it is.
    pub(super) async fn load(data: &Path) -> Result<User, StoreError> {
        let file = data.join("server-id");
        let failed = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", file.display()));
        tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).await.map_err(failed)?;
        let path = file.clone();
        let id = tokio::task::spawn_blocking(move || own_id(&path)).await.map_err(std::io::Error::other);
        let id = id.and_then(|id| id).map_err(failed)?;
        let host = tokio::fs::read_to_string("/proc/sys/kernel/hostname").await.unwrap_or_default();
        Ok(User { id, host: host.trim().to_owned(), adopted: OnceLock::new() })
    }
}

/// Reads the server's id, or makes one. Of several that come at once the first one makes it.
fn own_id(file: &Path) -> std::io::Result<String> {
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(file)?;
    file.lock()?;
    let mut text = String::new();
    // What is no text is no id.
    let _ = file.read_to_string(&mut text);
    let (id, mark) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
    let own = which(&file.metadata()?);
    let known = !id.is_empty() && (mark.is_empty() || mark == own);
    let id = if known { id.to_owned() } else { secret::hex(&secret::random::<6>()) };
    let whole = format!("{id}\n{own}\n");
    if text != whole {
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(whole.as_bytes())?;
    }
    Ok(id)
}

/// Tells a file from its copies.
fn which(about: &std::fs::Metadata) -> String {
    let made = about.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    format!("{}-{}", about.ino(), made.as_nanos())
}

/// A server, as others see it in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    host: String,
    until: i64,
    /// As it was told of the store.
    place: String,
    shared: bool,
}

/// What is known when a server comes to a log store.
#[derive(Debug, Clone, Copy)]
struct Situation<'a> {
    /// The words of the database's store.
    wanted: &'a str,
    /// The words that stand in this one.
    found: Option<&'a str>,
    /// Logs of the database lie in its store.
    in_use: bool,
    /// Another server that uses the database's store now.
    other: Option<&'a Seen>,
    place: &'a LogPlace,
}

/// `Ok(true)`: the store is to be marked as the database's.
fn decide(it: Situation<'_>) -> Result<bool, String> {
    let bucket = matches!(it.place, LogPlace::Bucket { .. });
    let alone = matches!(it.place, LogPlace::Folder { shared: false, .. });
    match it.other {
        Some(other) if bucket && other.place != it.place.to_string() => {
            return Err(format!("the server on {} uses {}; all need the same one", other.host, other.place));
        }
        Some(other) if alone || !other.shared => {
            return Err(format!(
                "the server on {} uses the logs of this database too, and a folder is one server's. When both see the \
                 same folder, start both with --log-store-shared; else give both one bucket (--log-store s3://…)",
                other.host
            ));
        }
        _ => {}
    }
    let owner = |words: &str| words.split(' ').next().map(str::to_owned);
    let free = !it.in_use && (bucket || it.other.is_none());
    match it.found {
        Some(found) if found == it.wanted => Ok(false),
        Some(found) if owner(found) != owner(it.wanted) => {
            Err("it belongs to another Ocelot; give each one a folder or a prefix of its own".to_owned())
        }
        _ if free => Ok(true),
        Some(_) => Err("the logs of this database lie in another one; name that one, or copy all of it here".to_owned()),
        None => Err("it is empty, but logs of this database lie in its log store. Is the right folder mounted? To use \
                     another one, copy all of the old one there"
            .to_owned()),
    }
}

impl Core {
    /// At the start of a server. A wrong store is refused; a bucket that is away is asked later.
    pub(super) async fn begin_log_store(&self) -> Result<(), StoreError> {
        match self.adopt_log_store().await {
            Err(StoreError::LogStore(why)) if matches!(self.log_store.place(), LogPlace::Bucket { .. }) => {
                let place = self.log_store.place();
                tracing::warn!(
                    why,
                    "the log store {place} does not answer; logs stay in the database until it does"
                );
                Ok(())
            }
            other => other,
        }
    }

    /// Makes sure that this is the database's log store, and that it is there: a folder may be unmounted under a server.
    pub(super) async fn adopt_log_store(&self) -> Result<(), StoreError> {
        if let Some(wanted) = self.log_user.adopted.get() {
            return self.log_store.is_still(wanted).await;
        }
        let found = self.log_store.marker().await?;
        let fresh = format!("{} {}", self.instance, secret::hex(&secret::random::<8>()));
        sqlx::query("INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING")
            .bind(STORE)
            .bind(found.as_deref().filter(|words| words.starts_with(&self.instance)).unwrap_or(&fresh))
            .execute(&self.pools.write)
            .await?;
        let wanted: String = sqlx::query_scalar("SELECT value FROM settings WHERE key = $1")
            .bind(STORE)
            .fetch_one(&self.pools.write)
            .await?;
        let in_use: Option<i64> = sqlx::query_scalar("SELECT stage_id FROM log_blobs WHERE stored LIMIT 1")
            .fetch_optional(&self.pools.write_logs)
            .await?;
        // Said before it is looked who else is there: of two that come at once, one sees the other.
        self.stay_at_log_store().await?;
        let others = self.others().await?;
        let situation = Situation {
            wanted: &wanted,
            found: found.as_deref(),
            in_use: in_use.is_some(),
            other: others.iter().min_by_key(|other| other.shared),
            place: self.log_store.place(),
        };
        match decide(situation) {
            Ok(true) => self.log_store.mark(&wanted).await?,
            Ok(false) => {}
            Err(why) => {
                self.leave_log_store().await;
                return Err(StoreError::Conflict(format!(
                    "the log store {} cannot be used: {why}",
                    self.log_store.place()
                )));
            }
        }
        // Of two that come here at once, both have found the same.
        let _ = self.log_user.adopted.set(wanted);
        Ok(())
    }

    /// Servers other than this one that use the log store; those that are gone are forgotten.
    async fn others(&self) -> Result<Vec<Seen>, StoreError> {
        let now = now(&mut *self.pools.write.acquire().await?).await?;
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT key, value FROM settings WHERE key LIKE $1")
            .bind(format!("{USER}%"))
            .fetch_all(&self.pools.write)
            .await?;
        let mut others = Vec::new();
        for (key, value) in rows.into_iter().filter(|(key, _)| *key != self.user_key()) {
            let seen: Seen = from_json(&value)?;
            if seen.until > now {
                others.push(seen);
            } else {
                self.forget(&key, &value).await?;
            }
        }
        Ok(others)
    }

    async fn forget(&self, key: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM settings WHERE key = $1 AND value = $2")
            .bind(key)
            .bind(value)
            .execute(&self.pools.write)
            .await?;
        Ok(())
    }

    pub(crate) async fn stay_at_log_store(&self) -> Result<(), StoreError> {
        let place = self.log_store.place();
        let shared = !matches!(place, LogPlace::Folder { shared: false, .. });
        let until = now(&mut *self.pools.write.acquire().await?).await?.saturating_add(us(STAYS));
        let seen = Seen { host: self.log_user.host.clone(), until, place: place.to_string(), shared };
        sqlx::query(
            "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(self.user_key())
        .bind(to_json(&seen)?)
        .execute(&self.pools.write)
        .await?;
        Ok(())
    }

    /// Another server may take its place at once.
    pub(super) async fn leave_log_store(&self) {
        let gone = sqlx::query("DELETE FROM settings WHERE key = $1")
            .bind(self.user_key())
            .execute(&self.pools.write)
            .await;
        if let Err(error) = gone {
            tracing::debug!(%error, "the log store counts as used by this server for a while");
        }
    }

    fn user_key(&self) -> String {
        format!("{USER}{}", self.log_user.id)
    }

    pub(crate) async fn ping_log_store(&self) -> Result<(), StoreError> {
        if self.log_user.adopted.get().is_none() {
            self.adopt_log_store().await?;
        }
        let wanted = self.log_user.adopted.get().map(String::as_str).unwrap_or_default();
        self.log_store.probe(&self.log_user.id, wanted).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ok`, `mark`, or words of the refusal. `other` is `place` or `place shared`.
    fn check(place: &str, found: Option<&str>, in_use: bool, other: Option<&str>, want: &str) {
        let other = other.map(|other| Seen {
            host: "host-b".to_owned(),
            until: 0,
            place: other.trim_end_matches(" shared").to_owned(),
            shared: other.ends_with(" shared"),
        });
        let place: LogPlace = place.parse().unwrap_or_else(|error| panic!("{error}"));
        let situation = Situation { wanted: "me 1", found, in_use, other: other.as_ref(), place: &place };
        let got = match decide(situation) {
            Ok(false) => "ok".to_owned(),
            Ok(true) => "mark".to_owned(),
            Err(words) => words,
        };
        assert!(got.contains(want) && (want.len() > 4 || got == want), "{situation:?}: {got}");
    }

    #[tokio::test]
    async fn a_copied_folder_is_another_server() {
        let folder = tempfile::tempdir().expect("a folder");
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        let id = async |data: &Path| User::load(data).await.expect("an id").id;
        let first = id(&one).await;
        assert_eq!(id(&one).await, first);
        std::fs::create_dir(&two).expect("a folder");
        std::fs::copy(one.join("server-id"), two.join("server-id")).expect("a copy");
        let second = id(&two).await;
        assert_ne!(second, first);
        assert_eq!((id(&two).await, id(&one).await), (second, first.clone()));
        // Moved, it stays the same; one of the version before is taken over.
        std::fs::rename(&one, folder.path().join("three")).expect("a new name");
        assert_eq!(id(&folder.path().join("three")).await, first);
        std::fs::write(two.join("server-id"), "0123456789ab\n").expect("a file");
        assert_eq!((id(&two).await, id(&two).await), ("0123456789ab".to_owned(), "0123456789ab".to_owned()));
        // Several that come at once are one server all the same.
        for at in 0..20 {
            let new = folder.path().join(format!("new-{at}"));
            let all = futures_util::future::join_all((0..4).map(|_| id(&new))).await;
            assert!(all.iter().all(|id| *id == all[0]), "{all:?}");
        }
    }

    #[test]
    fn a_store_is_one_databases() {
        check("file:///a", None, false, None, "mark");
        check("file:///a", Some("me 1"), true, None, "ok");
        check("file:///a", None, true, None, "Is the right folder mounted?");
        check("file:///a", Some("me 2"), true, None, "lie in another one");
        check("file:///a", Some("me 2"), false, None, "mark");
        check("file:///a", Some("you 1"), false, None, "belongs to another Ocelot");
        check("s3://a", Some("you 1"), false, None, "belongs to another Ocelot");
    }

    #[test]
    fn a_folder_is_one_servers_unless_it_is_shared() {
        let (alone, shared) = (Some("file:///a"), Some("file:///a shared"));
        check("file:///a", Some("me 1"), false, alone, "host-b");
        check("file:///a", Some("me 1"), false, shared, "--log-store-shared");
        check("file:///a?shared=true", Some("me 1"), true, alone, "--log-store-shared");
        check("file:///a?shared=true", Some("me 1"), true, shared, "ok");
        // The same words in the options, but another disk.
        check("file:///a?shared=true", None, false, shared, "Is the right folder mounted?");
    }

    #[test]
    fn a_bucket_is_everybodys() {
        check("s3://a/b", Some("me 1"), true, Some("s3://a/b shared"), "ok");
        check("s3://a/b", None, false, Some("s3://a/b shared"), "mark");
        check("s3://a/b", None, false, Some("s3://a/c shared"), "all need the same one");
        check("s3://a/b", None, false, Some("file:///a"), "all need the same one");
    }
}
