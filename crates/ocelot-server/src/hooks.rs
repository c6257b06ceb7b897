//! What webhooks are signed with, in memory: a stranger's webhook costs no question to the database.
//!
//! Webhooks and forges may be made by any server at any time. So what is not known, or not rightly signed, makes us look
//! once more, but not more often than once a second.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ocelot_model::{ForgeId, ForgeKind, RepoId};
use ocelot_store::{Store, StoreError};
use secrecy::SecretString;
use tokio::time::Instant;

/// All is read again at most this often.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// And at least this often, while webhooks come: one that was removed is soon refused everywhere.
const AT_LEAST_EVERY: Duration = Duration::from_secs(15);

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hooks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    known: RwLock<Option<Known>>,
    reading: tokio::sync::Mutex<()>,
}

/// Everything at one time.
#[derive(Debug, Clone)]
struct Known {
    read_at: Instant,
    forges: Arc<HashMap<String, Sender>>,
    /// By forge and the text in the address.
    hooks: Arc<HashMap<(ForgeId, String), (RepoId, SecretString)>>,
}

#[derive(Debug, Clone)]
struct Sender {
    id: ForgeId,
    kind: ForgeKind,
    secret: Option<SecretString>,
}

/// How a webhook at one address is checked.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// Who sends it.
    pub(crate) forge: ForgeId,
    /// In which language.
    pub(crate) kind: ForgeKind,
    /// The only repository that it may be about; `None`: any of the forge.
    pub(crate) repo: Option<RepoId>,
    /// What it is signed with.
    pub(crate) secret: SecretString,
    /// When this was read.
    read_at: Instant,
}

impl Hooks {
    /// How webhooks at `/hooks/{forge}/{hook}`, or at `/hooks/{forge}`, are checked; `None` when nobody may send any there.
    /// `since`: not what was read before that time. `is_trusted`: an address that sent much that was refused does not make
    /// us look again.
    pub(crate) async fn find(
        &self,
        store: &Store,
        forge: &str,
        hook: Option<&str>,
    ) -> Result<Option<Address>, StoreError> {
        let begin = Instant::now();
        if let Some(known) = self.known()
            && known.read_at.elapsed() < AT_LEAST_EVERY
            && let Some(address) = known.find(forge, hook)
        {
            return Ok(Some(address));
        }
        Ok(self.read_since(store, begin).await?.find(forge, hook))
    }

    /// The same as it is now, when it is another one than `before`.
    pub(crate) async fn find_again(
        &self,
        store: &Store,
        at: (&str, Option<&str>),
        before: &Address,
    ) -> Result<Option<Address>, StoreError> {
        let known = self.read_since(store, before.read_at + Duration::from_nanos(1)).await?;
        Ok(known.find(at.0, at.1))
    }

    fn known(&self) -> Option<Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was read at this time or later. Of many who ask at once one reads, and not before the second is over.
    async fn read_since(&self, store: &Store, since: Instant) -> Result<Known, StoreError> {
        let _alone = self.0.reading.lock().await;
        if let Some(known) = self.known() {
            if known.read_at >= since {
                return Ok(known);
            }
            tokio::time::sleep_until(known.read_at + AT_MOST_EVERY).await;
        }
        let known = read(store).await?;
        *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }
}

impl Known {
    fn find(&self, forge: &str, hook: Option<&str>) -> Option<Address> {
        let sender = self.forges.get(forge)?;
        let (repo, secret) = match hook {
            Some(hook) => {
                let (repo, secret) = self.hooks.get(&(sender.id, hook.to_owned()))?;
                (Some(*repo), secret.clone())
            }
            None => (None, sender.secret.clone()?),
        };
        Some(Address { forge: sender.id, kind: sender.kind, repo, secret, read_at: self.read_at })
    }
}

async fn read(store: &Store) -> Result<Known, StoreError> {
    let read_at = Instant::now();
    let mut forges = HashMap::new();
    for forge in store.list_forges().await? {
        let secret = if forge.has_hook_secret { store.load_forge_hook_secret(forge.id).await? } else { None };
        forges.insert(forge.name, Sender { id: forge.id, kind: forge.kind, secret });
    }
    let hooks = store.list_hooks().await?;
    let hooks = hooks.into_iter().map(|hook| ((hook.forge, hook.id), (hook.repo, hook.secret))).collect();
    Ok(Known { read_at, forges: Arc::new(forges), hooks: Arc::new(hooks) })
}
