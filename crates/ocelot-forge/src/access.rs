//! Who Ocelot is for a forge: fixed credentials, or ones that get short-lived tokens. A token is kept in memory and
//! replaced before it ends.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ocelot_model::ForgeKind;
use ocelot_model::hidden::Hidden;
use reqwest::{Method, RequestBuilder, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::api::{BadSettings, Result};
use crate::api_error::ApiError;
use crate::client::{ANSWER_MAX, Client, PAGES_MAX, Sent};

/// A token is replaced when it has less than this left, or a quarter of its life when that is less.
const EARLY: SignedDuration = SignedDuration::from_mins(5);
/// A life that no forge gives: the time must stay a time.
const LIFE_MAX: u64 = 30 * 24 * 3600;

/// The credentials of a forge.
#[derive(Debug)]
pub enum Access {
    /// An access token: of a person, a robot, a project or a group.
    Token(SecretString),
    /// A GitHub App: its id and its private key (PEM).
    App {
        /// App id or client id.
        id: String,
        /// As GitHub gave it out.
        key: SecretString,
    },
    /// An OAuth consumer of Bitbucket that acts for itself.
    Client {
        /// Its key.
        id: String,
        /// Its secret.
        secret: SecretString,
        /// Where tokens are given out; Bitbucket's own place when `None`.
        token_url: Option<String>,
    },
    /// User (or e-mail address) and app password (or API token) of Bitbucket.
    Password {
        /// Name or e-mail address.
        user: String,
        /// App password or API token.
        password: SecretString,
    },
}

/// What a request carries.
#[derive(Debug, Clone)]
pub(crate) enum Auth {
    Bearer(SecretString),
    /// Gitea's form.
    Token(SecretString),
    Basic(String, SecretString),
}

impl Auth {
    pub(crate) fn put(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Auth::Bearer(token) => request.bearer_auth(token.expose_secret()),
            Auth::Token(token) => {
                request.header(reqwest::header::AUTHORIZATION, format!("token {}", token.expose_secret()))
            }
            Auth::Basic(user, password) => request.basic_auth(user, Some(password.expose_secret())),
        }
    }

    /// What it must not be said back as.
    pub(crate) fn hidden(&self) -> Hidden {
        match self {
            Auth::Bearer(token) | Auth::Token(token) => Hidden::default().value(token.expose_secret()),
            Auth::Basic(user, password) => Hidden::default().login(user, password.expose_secret()),
        }
    }

    fn is_token(&self, other: &SecretString) -> bool {
        match self {
            Auth::Bearer(token) => token.expose_secret() == other.expose_secret(),
            Auth::Token(_) | Auth::Basic(..) => false,
        }
    }
}

/// Gives every request its credentials.
#[derive(Debug)]
pub(crate) struct Keys {
    way: Way,
    /// Tokens that end, by the owner of what they reach (empty: all). Held while a new one is asked for, so that many
    /// requests ask once.
    kept: tokio::sync::Mutex<HashMap<String, Kept>>,
}

enum Way {
    Fixed(Auth, &'static str),
    App { id: String, key: EncodingKey },
    Client { id: String, secret: SecretString, url: Url },
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Way::Fixed(_, what) => f.write_str(what),
            Way::App { id, .. } => write!(f, "app {id}"),
            Way::Client { id, .. } => write!(f, "client {id}"),
        }
    }
}

#[derive(Debug)]
struct Kept {
    token: SecretString,
    /// From then on it is not used any more.
    until: Timestamp,
}

impl Kept {
    fn new(token: String, end: Timestamp) -> Kept {
        let quarter = end.duration_since(Timestamp::now()) / 4;
        Kept { token: token.into(), until: end.checked_sub(EARLY.min(quarter)).unwrap_or(end) }
    }
}

impl Keys {
    pub(crate) fn new(
        kind: ForgeKind,
        access: Access,
        base_url: &str,
    ) -> std::result::Result<Keys, BadSettings> {
        let way = match (kind, access) {
            (ForgeKind::Gitea, Access::Token(token)) => Way::Fixed(Auth::Token(token), "the token"),
            (ForgeKind::Github | ForgeKind::Gitlab | ForgeKind::Bitbucket, Access::Token(token)) => {
                Way::Fixed(Auth::Bearer(token), "the token")
            }
            (ForgeKind::Github, Access::App { id, key }) => {
                let key = EncodingKey::from_rsa_pem(key.expose_secret().as_bytes()).map_err(|_| {
                    BadSettings(
                        "the private key of the GitHub App is no RSA key in PEM: take the file that GitHub gave out"
                            .to_owned(),
                    )
                })?;
                Way::App { id, key }
            }
            (ForgeKind::Bitbucket, Access::Client { id, secret, token_url }) => {
                let url = token_url.unwrap_or_else(|| {
                    format!("{}/site/oauth2/access_token", base_url.trim_end_matches('/'))
                });
                let url = Url::parse(&url)
                    .ok()
                    .filter(|url| matches!(url.scheme(), "http" | "https"))
                    .ok_or_else(|| BadSettings(format!("tokenURL `{url}` is no address")))?;
                Way::Client { id, secret, url }
            }
            (ForgeKind::Bitbucket, Access::Password { user, password }) => {
                Way::Fixed(Auth::Basic(user, password), "the app password")
            }
            (
                kind,
                Access::Token(_) | Access::App { .. } | Access::Client { .. } | Access::Password { .. },
            ) => {
                return Err(BadSettings(format!("{kind} takes other credentials: {}", taken(kind))));
            }
        };
        Ok(Keys { way, kept: tokio::sync::Mutex::default() })
    }

    /// What people know the credentials as.
    pub(crate) fn what(&self) -> &'static str {
        match &self.way {
            Way::Fixed(_, what) => what,
            Way::App { .. } => "the token that the GitHub App was given",
            Way::Client { .. } => "the token that the OAuth consumer was given",
        }
    }

    pub(crate) async fn auth(&self, client: &Client, owner: &str) -> Result<Auth> {
        let owner = match &self.way {
            Way::Fixed(auth, _) => return Ok(auth.clone()),
            Way::App { .. } => owner.to_lowercase(),
            Way::Client { .. } => String::new(),
        };
        let mut kept = self.kept.lock().await;
        kept.retain(|_, one| one.until > Timestamp::now());
        if let Some(one) = kept.get(&owner) {
            return Ok(Auth::Bearer(one.token.clone()));
        }
        let new = match &self.way {
            Way::Fixed(auth, _) => return Ok(auth.clone()),
            Way::App { id, key } => app_token(client, id, key, &owner).await?,
            Way::Client { id, secret, url } => client_token(client, id, secret, url).await?,
        };
        let auth = Auth::Bearer(new.token.clone());
        kept.insert(owner, new);
        Ok(auth)
    }

    /// Throws a kept token away; false when there is nothing to get another one with.
    pub(crate) async fn forget(&self, auth: &Auth) -> bool {
        match &self.way {
            Way::Fixed(..) => false,
            Way::App { .. } | Way::Client { .. } => {
                self.kept.lock().await.retain(|_, one| !auth.is_token(&one.token));
                true
            }
        }
    }

    /// What speaks for the GitHub App itself; `None` for other credentials.
    pub(crate) fn app(&self) -> Result<Option<Auth>> {
        match &self.way {
            Way::App { id, key } => app_auth(id, key).map(Some),
            Way::Fixed(..) | Way::Client { .. } => Ok(None),
        }
    }
}

fn taken(kind: ForgeKind) -> &'static str {
    match kind {
        ForgeKind::Github => "a token or a GitHub App",
        ForgeKind::Gitlab | ForgeKind::Gitea => "a token",
        ForgeKind::Bitbucket => "an OAuth consumer, an app password or a token",
        ForgeKind::Git => "none",
    }
}

#[derive(Deserialize)]
struct ClientToken {
    access_token: String,
    /// Seconds.
    expires_in: u64,
}

/// OAuth's words for credentials that are not taken (section 5.2), in a status that says less.
const REFUSALS: [&str; 3] = ["invalid_client", "invalid_grant", "unauthorized_client"];

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Bitbucket: client credentials for a token (OAuth 2, section 4.4).
async fn client_token(client: &Client, id: &str, secret: &SecretString, url: &Url) -> Result<Kept> {
    let auth = Auth::Basic(id.to_owned(), secret.clone());
    let form = Sent::Form(&[("grant_type", "client_credentials")]);
    let answer = client.once(&Method::POST, url, "application/json", form, &auth, ANSWER_MAX).await?;
    let what = "the OAuth consumer's key and secret";
    if answer.status.as_u16() == 400
        && let Ok(Refusal { error }) = serde_json::from_slice(&answer.body)
        && let Some(words) = REFUSALS.into_iter().find(|word| *word == error)
    {
        return Err(ApiError::Unauthorized { what, expired: false, words: words.to_owned() });
    }
    let token: ClientToken = client.checked(answer, what)?.json()?;
    let life = SignedDuration::from_secs(token.expires_in.min(LIFE_MAX).cast_signed());
    let end = Timestamp::now().checked_add(life).unwrap_or(Timestamp::MAX);
    Ok(Kept::new(token.access_token, end))
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

/// GitHub takes at most ten minutes; a minute back for clocks that differ.
fn app_auth(id: &str, key: &EncodingKey) -> Result<Auth> {
    let now = Timestamp::now().as_second();
    let claims = Claims { iat: now - 60, exp: now + 480, iss: id };
    let jwt = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, key).map_err(|error| {
        let words = error.to_string();
        ApiError::Unauthorized { what: "the private key of the GitHub App", expired: false, words }
    })?;
    Ok(Auth::Bearer(jwt.into()))
}

/// Where a GitHub App is installed.
#[derive(Deserialize)]
pub(crate) struct Installation {
    pub(crate) id: u64,
    pub(crate) account: InstalledAt,
}

#[derive(Deserialize)]
pub(crate) struct InstalledAt {
    pub(crate) login: String,
}

/// All places where the app is installed.
pub(crate) async fn installations(client: &Client, auth: &Auth) -> Result<Vec<Installation>> {
    let mut all = Vec::new();
    for page in 1..=PAGES_MAX {
        let page = page.to_string();
        let place = client.place("", &["app", "installations"], &[("per_page", "100"), ("page", &page)]);
        let answer = client
            .once(&Method::GET, &place.url, "application/json", Sent::Nothing, auth, ANSWER_MAX)
            .await?;
        let found: Vec<Installation> =
            client.checked(answer, "the id and the private key of the GitHub App")?.json()?;
        let is_last = found.len() < 100;
        all.extend(found);
        if is_last {
            break;
        }
    }
    Ok(all)
}

#[derive(Deserialize)]
struct InstallationToken {
    token: String,
    expires_at: Timestamp,
}

/// GitHub: the app's signature for a token of the installation at `owner`.
async fn app_token(client: &Client, id: &str, key: &EncodingKey, owner: &str) -> Result<Kept> {
    let auth = app_auth(id, key)?;
    let all = installations(client, &auth).await?;
    let found = all.into_iter().find(|one| one.account.login.to_lowercase() == owner).ok_or_else(|| {
        ApiError::Forbidden(format!("the GitHub App is not installed at `{owner}`: install it there"))
    })?;
    let number = found.id.to_string();
    let place = client.place("", &["app", "installations", &number, "access_tokens"], &[]);
    let json = serde_json::json!({});
    let answer = client
        .once(&Method::POST, &place.url, "application/json", Sent::Json(&json), &auth, ANSWER_MAX)
        .await?;
    let token: InstallationToken =
        client.checked(answer, "the id and the private key of the GitHub App")?.json()?;
    Ok(Kept::new(token.token, token.expires_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token of so many seconds is replaced so many seconds before it ends.
    fn check(life: i64, early: std::ops::RangeInclusive<i64>) {
        let end = Timestamp::now().checked_add(SignedDuration::from_secs(life)).unwrap();
        let got = end.duration_since(Kept::new("token".to_owned(), end).until).as_secs();
        assert!(early.contains(&got), "{life}: {got}");
    }

    #[test]
    fn a_token_is_replaced_before_it_ends() {
        check(7200, 300..=300);
        // The clock may go on a little in between.
        check(600, 140..=150);
        check(0, 0..=0);
    }
}
