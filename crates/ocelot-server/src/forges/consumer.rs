//! Cloning with an OAuth consumer of Bitbucket: its key and secret are changed for a token where the forge gives them out, and
//! the token is used until it is about to end.
//!
//! Who may add a credential must not make the server talk to any address: only forges that an admin added, and Bitbucket
//! itself, are asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use ocelot_forge::{Access, ApiError, Forge, Settings};
use ocelot_model::ForgeKind;
use ocelot_store::Store;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::ForgeError;

/// Jobs wait while a token is asked for.
const WAIT: Duration = Duration::from_secs(3);
/// One that could not be had is not asked for again for so long.
const PAUSE: Duration = Duration::from_secs(30);
/// Consumers that are remembered.
const MOST: usize = 1_000;
/// The user that belongs to such a token.
const USER: &str = "x-token-auth";

/// The consumers that were asked for, by a hash of what they are. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Consumers(Arc<Mutex<HashMap<[u8; 32], Consumer>>>);

#[derive(Debug, Clone)]
struct Consumer {
    forge: Forge,
    /// Until when nobody asks, and what it said last.
    pause: Option<(Instant, String)>,
}

/// True for the fields of a consumer.
pub(crate) fn is_consumer(fields: &BTreeMap<String, String>) -> bool {
    fields.contains_key("token_url")
}

/// The fields of what git is given in its place.
pub(crate) fn fields_of_token(fields: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut fields = fields.clone();
    fields.remove("token_url");
    fields.insert("username".to_owned(), USER.to_owned());
    fields
}

impl Consumers {
    /// A token, which lasts for some minutes at least.
    pub(crate) async fn token(
        &self,
        store: &Store,
        fields: &BTreeMap<String, String>,
        secret: &str,
    ) -> Result<SecretString, ForgeError> {
        let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        let (id, url) = (field("username"), field("token_url"));
        if id.is_empty() {
            let words = "a credential with a token_url needs the consumer's key as `username`";
            return Err(ForgeError::Settings(words.to_owned()));
        }
        let ca = check_host(store, url).await?;
        let key = [id, url, secret, ca.as_deref().unwrap_or_default()].join("\n");
        let key: [u8; 32] = Sha256::digest(key).into();
        let consumer = match self.known(&key) {
            Some(consumer) => consumer,
            None => {
                let access = Access::Client {
                    id: id.to_owned(),
                    secret: secret.to_owned().into(),
                    token_url: Some(url.to_owned()),
                };
                let settings = Settings { time: WAIT, ca, ..Settings::new(ForgeKind::Bitbucket, access) };
                let forge = Forge::new(settings).map_err(|error| ForgeError::Settings(error.to_string()))?;
                Consumer { forge, pause: None }
            }
        };
        if let Some((until, words)) = &consumer.pause
            && Instant::now() < *until
        {
            return Err(of(url, ApiError::Unavailable(words.clone())));
        }
        let asked = tokio::time::timeout(WAIT, consumer.forge.token()).await;
        let asked = asked.unwrap_or_else(|_| Err(ApiError::Unavailable("no answer in time".to_owned())));
        let pause = match &asked {
            Err(ApiError::Unavailable(words)) => Some((Instant::now() + PAUSE, words.clone())),
            _ => None,
        };
        self.keep(key, Consumer { pause, ..consumer });
        asked.map_err(|error| of(url, error))
    }

    fn known(&self, key: &[u8; 32]) -> Option<Consumer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn keep(&self, key: [u8; 32], consumer: Consumer) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(key, consumer);
    }
}

fn of(url: &str, error: ApiError) -> ForgeError {
    ForgeError::of_tried(url)(error)
}

/// The authorities that the forge there is believed with; an error when there is none.
async fn check_host(store: &Store, url: &str) -> Result<Option<String>, ForgeError> {
    let place = |url: &str| {
        let uri: Uri = url.parse().ok()?;
        Some((uri.scheme_str()? == "http", uri.authority()?.host().to_ascii_lowercase(), uri.port_u16()))
    };
    let wanted = place(url);
    let of_bitbucket = wanted == Some((false, "bitbucket.org".to_owned(), None));
    let forges = store.list_forges().await?;
    let mut fitting = forges.iter().filter(|forge| wanted.is_some() && place(&forge.base_url) == wanted);
    if let Some(forge) = fitting.find(|forge| forge.base_url.starts_with("https") || forge.insecure_http) {
        return Ok(forge.ca.clone());
    }
    if of_bitbucket {
        return Ok(None);
    }
    Err(ForgeError::Settings(format!(
        "token_url: {url} is at no forge that is here, and is not asked; an admin adds the forge with `ocelot forge add`"
    )))
}

/// True when it may be otherwise a little later.
pub(crate) fn heals(error: &ForgeError) -> bool {
    match error {
        ForgeError::Store(_) => true,
        ForgeError::Api { error, .. } => match error {
            ApiError::Unavailable(_) | ApiError::RateLimited { .. } => true,
            ApiError::Unauthorized { .. }
            | ApiError::Forbidden(_)
            | ApiError::NotFound(_)
            | ApiError::Nonsense(_)
            | ApiError::TooLarge
            | ApiError::Refused { .. } => false,
        },
        ForgeError::Unknown(_)
        | ForgeError::PlainGit(_)
        | ForgeError::BadRequest(_)
        | ForgeError::Settings(_) => false,
    }
}

/// What git is given for the credential of this name: the value itself, or a token for it.
pub(crate) async fn login_of(
    app: &crate::App,
    name: &str,
    fields: &BTreeMap<String, String>,
    value: &str,
) -> Result<(BTreeMap<String, String>, SecretString), ForgeError> {
    if !is_consumer(fields) {
        return Ok((fields.clone(), value.to_owned().into()));
    }
    let asked = app.forges.consumers().token(&app.store, fields, value).await;
    let token = asked.map_err(|error| named(name, error))?;
    Ok((fields_of_token(fields), token))
}

/// The error of a credential, which its owner may know by its name alone.
fn named(name: &str, error: ForgeError) -> ForgeError {
    match error {
        ForgeError::Api { forge, error, .. } => {
            let help = match error {
                ApiError::Unauthorized { .. } | ApiError::Forbidden(_) | ApiError::Refused { .. } => {
                    format!("; `ocelot creds vcs add {name}` changes it")
                }
                ApiError::NotFound(_)
                | ApiError::RateLimited { .. }
                | ApiError::Unavailable(_)
                | ApiError::Nonsense(_)
                | ApiError::TooLarge => String::new(),
            };
            ForgeError::Api { forge: format!("the credential {name}, at {forge}"), error, help }
        }
        ForgeError::Settings(words) => ForgeError::Settings(format!("the credential {name}: {words}")),
        other @ (ForgeError::Unknown(_)
        | ForgeError::PlainGit(_)
        | ForgeError::BadRequest(_)
        | ForgeError::Store(_)) => other,
    }
}
