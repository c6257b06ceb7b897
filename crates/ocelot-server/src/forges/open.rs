//! Opens forges with their credentials, and keeps them: tokens that they gave out are used again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ocelot_api::body::ForgeAccess;
use ocelot_forge::{Access, Settings};
use ocelot_model::{ForgeId, ForgeKind};
use ocelot_store::{Forge as Row, Store};
use secrecy::{ExposeSecret as _, SecretString};

use super::ForgeError;
use super::consumer::Consumers;

/// The forges that were asked something, each as of one version of its row, and the consumers that clone. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Forges(Arc<Mutex<HashMap<ForgeId, (i64, ocelot_forge::Forge)>>>, Consumers);

impl Forges {
    /// Who clones with a token of an OAuth consumer.
    pub(crate) fn consumers(&self) -> &Consumers {
        &self.1
    }

    /// The forge of this name, ready to be asked. Another server may have changed it a moment ago.
    pub async fn open(&self, store: &Store, name: &str) -> Result<(Row, ocelot_forge::Forge), ForgeError> {
        let row = find(store, name).await?;
        if row.kind == ForgeKind::Git {
            let words =
                "which has neither webhooks nor an API; `ocelot repo add URL` adds a repository of it";
            return Err(ForgeError::PlainGit(format!("`{name}` is plain git, {words}")));
        }
        if let Some(open) = self.kept(&row) {
            return Ok((row, open));
        }
        let access = store.load_forge_access(row.id).await?.ok_or_else(|| {
            let words = "Ocelot has no credentials for the forge";
            ForgeError::Settings(format!("{words} `{name}`; `ocelot forge change {name}` gives it some"))
        })?;
        let open = ocelot_forge::Forge::new(settings(&row, read(&access)?))
            .map_err(|error| ForgeError::Settings(format!("forge `{name}`: {error}")))?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(row.id, (row.version, open.clone()));
        Ok((row, open))
    }

    fn kept(&self, row: &Row) -> Option<ocelot_forge::Forge> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, open) = kept.get(&row.id)?;
        (*version == row.version).then(|| open.clone())
    }
}

/// The row of the forge of this name; the error says how to add one.
pub(super) async fn find(store: &Store, name: &str) -> Result<Row, ForgeError> {
    if let Some(row) = store.find_forge(name).await? {
        return Ok(row);
    }
    let kind = name.parse().map_or("KIND", ForgeKind::as_str);
    let known: Vec<String> = store.list_forges().await?.into_iter().map(|forge| forge.name).collect();
    Err(ForgeError::Unknown(format!(
        "there is no forge `{name}` here, only {}; `ocelot forge add {name} --kind {kind}` adds it",
        known.join(", ")
    )))
}

/// The credentials of a forge; `None` when it has none.
pub(super) async fn access(store: &Store, row: &Row) -> Result<Option<ForgeAccess>, ForgeError> {
    store.load_forge_access(row.id).await?.as_ref().map(read).transpose()
}

fn settings(row: &Row, access: ForgeAccess) -> Settings {
    let place = Place { name: &row.name, kind: row.kind, base_url: &row.base_url, ca: row.ca.as_deref() };
    place.settings(access)
}

/// Where a forge is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) kind: ForgeKind,
    pub(super) base_url: &'a str,
    /// Authorities that it is believed with, besides the public ones.
    pub(super) ca: Option<&'a str>,
}

impl Place<'_> {
    pub(super) fn settings(self, access: ForgeAccess) -> Settings {
        let access = match access {
            ForgeAccess::Token(token) => Access::Token(token.0.into()),
            ForgeAccess::App { id, key } => Access::App { id, key: key.0.into() },
            ForgeAccess::Client { id, secret, token_url } => {
                Access::Client { id, secret: secret.0.into(), token_url }
            }
            ForgeAccess::Password { user, password } => {
                Access::Password { user, password: password.0.into() }
            }
        };
        let Place { name, kind, base_url, ca } = self;
        let (name, base_url, ca) = (name.to_owned(), base_url.to_owned(), ca.map(str::to_owned));
        Settings { name, base_url, ca, ..Settings::new(kind, access) }
    }
}

/// Credentials as the store keeps them: what the API took, as JSON.
pub(super) fn write(access: &ForgeAccess) -> Result<ocelot_store::ForgeAccess, ForgeError> {
    let text = serde_json::to_string(access).map_err(|error| ForgeError::Settings(error.to_string()))?;
    Ok(ocelot_store::ForgeAccess { kind: access.kind().to_owned(), secret: text.into() })
}

fn read(text: &SecretString) -> Result<ForgeAccess, ForgeError> {
    serde_json::from_str(text.expose_secret()).map_err(|_| {
        let words =
            "the credentials in the database cannot be understood; give new ones (`ocelot forge change`)";
        ForgeError::Settings(words.to_owned())
    })
}
