//! Another key for all that is sealed. Nothing here is lost by a stop in between: the key file has both keys until nothing is
//! sealed with the older one, and whoever goes on finds out from it what is left to do.

use std::time::Duration;

use ocelot_model::AuditAction;
use secrecy::ExposeSecret as _;

use super::Core;
use crate::StoreError;
use crate::seal::Keys;

/// The handle of a repository `r` on a forge `f`; NULL when there is none.
macro_rules! handle {
    () => {
        "f.name || '/' || CASE WHEN r.owner = '' THEN '' ELSE r.owner || '/' END || r.name"
    };
}

/// Every sealed column: a value and its place, in small batches. New ones have to be put here.
const SEALED: &[Column] = &[
    Column {
        values: "SELECT 'access of forge ' || id, access FROM forges WHERE access IS NOT NULL",
        names: "SELECT 'access of forge ' || name FROM forges WHERE access IS NOT NULL",
        change: "UPDATE forges SET access = $1 WHERE access = $2",
    },
    Column {
        values: "SELECT 'webhook secret of forge ' || id, hook_secret FROM forges WHERE hook_secret IS NOT NULL",
        names: "SELECT 'webhook secret of forge ' || name FROM forges WHERE hook_secret IS NOT NULL",
        change: "UPDATE forges SET hook_secret = $1 WHERE hook_secret = $2",
    },
    Column {
        values: "SELECT 'secret of webhook ' || id, secret FROM hooks",
        names: concat!("SELECT 'webhook of ' || ", handle!(), " FROM hooks h JOIN repos r ON r.id = h.repo_id JOIN forges f ON f.id = r.forge_id"),
        change: "UPDATE hooks SET secret = $1 WHERE secret = $2",
    },
    Column {
        values: "SELECT kind || ' secret ' || name || ' of '
                        || CASE WHEN repo_id IS NULL THEN '`' || prefix || '`' ELSE 'repo ' || repo_id END, value FROM secrets",
        names: concat!(
            "SELECT s.kind || ' secret ' || s.name || ' of ' || coalesce(", handle!(), ", CASE WHEN s.prefix = '' THEN 'all repositories' ELSE s.prefix END)
             FROM secrets s LEFT JOIN repos r ON r.id = s.repo_id LEFT JOIN forges f ON f.id = r.forge_id"
        ),
        change: "UPDATE secrets SET value = $1 WHERE value = $2",
    },
    Column {
        values: "SELECT 'badge key of repo ' || repo_id, secret FROM badge_keys",
        names: concat!("SELECT 'badge key of ' || ", handle!(), " FROM badge_keys b JOIN repos r ON r.id = b.repo_id JOIN forges f ON f.id = r.forge_id"),
        change: "UPDATE badge_keys SET secret = $1 WHERE secret = $2",
    },
];

/// A server that has read the key file just before it was changed seals with the older key for a moment.
const MOMENT: Duration = Duration::from_secs(2);

struct Column {
    /// Place and value.
    values: &'static str,
    /// What people call them.
    names: &'static str,
    /// No two sealed values are the same, so that the old one names its row.
    change: &'static str,
}

impl Core {
    /// Seals everything with a new key, or goes on with that. Answers how many values it sealed.
    pub(crate) async fn rotate_key(&self, by: &str) -> Result<u64, StoreError> {
        let file = self.key_file();
        self.check_key().await?;
        let Some(keys) = Keys::read(file)? else {
            return Err(StoreError::Conflict(
                "nothing is sealed yet, so there is no key to change".to_owned(),
            ));
        };
        if keys.ids().len() == 1 {
            Keys::add(file)?;
        }
        let keys = Keys::read(file)?.ok_or(StoreError::Stale)?;
        self.name_key(&keys, by).await?;
        let mut sealed = self.reseal(&keys).await?;
        tokio::time::sleep(MOMENT).await;
        sealed += self.reseal(&keys).await?;
        Keys::drop_old(file)?;
        Ok(sealed)
    }

    async fn reseal(&self, keys: &Keys) -> Result<u64, StoreError> {
        let mut sealed = 0;
        for column in SEALED {
            let rows: Vec<(String, Vec<u8>)> =
                sqlx::query_as(column.values).fetch_all(&self.pools.write).await?;
            for (place, value) in rows.iter().filter(|(_, value)| !keys.is_newest(value)) {
                let plain = keys.open(place, value)?;
                let new = keys.seal(place, plain.expose_secret())?;
                // Where somebody has changed it meanwhile, nothing is left to do.
                let changed =
                    sqlx::query(column.change).bind(new).bind(value).execute(&self.pools.write).await?;
                sealed += changed.rows_affected();
            }
        }
        Ok(sealed)
    }

    /// Forgets all that is sealed, for when the key is lost: what cannot be opened is of no use to anybody. Answers in words
    /// what has to be given again.
    pub(crate) async fn forget_sealed(&self, by: &str) -> Result<Vec<String>, StoreError> {
        let mut tx = self.begin().await?;
        let mut lost: Vec<String> = Vec::new();
        for column in SEALED {
            let names: Vec<String> = sqlx::query_scalar(column.names).fetch_all(tx.conn()).await?;
            lost.extend(names);
        }
        for sql in [
            "UPDATE forges SET access = NULL, access_kind = NULL, hook_secret = NULL, version = version + 1",
            "DELETE FROM hooks",
            "DELETE FROM secrets",
            "DELETE FROM badge_keys",
            "DELETE FROM settings WHERE key = 'secret-key'",
        ] {
            sqlx::query(sql).execute(tx.conn()).await?;
        }
        let words = format!("{} sealed values are forgotten", lost.len());
        tx.note(by, AuditAction::KeyReset, "secret-key", &words).await?;
        self.commit(tx).await?;
        Ok(lost)
    }
}
