//! Requests to a forge's API: addresses, credentials, redirects, limits. Knows no forge's paths.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use ocelot_model::hidden::Hidden;
use ocelot_model::{ForgeKind, causes};
use reqwest::{Method, RequestBuilder, Response, Url, header};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::access::{Auth, Installation, Keys, installations};
use crate::api::{BadSettings, Result, Settings};
use crate::api_error::{ApiError, from_answer};
use crate::payload::line;

const CONNECT: Duration = Duration::from_secs(10);
/// Largest answer that is parsed, in bytes.
pub(crate) const ANSWER_MAX: usize = 16 << 20;
const REDIRECTS_MAX: usize = 3;
/// Most pages of a listing.
pub(crate) const PAGES_MAX: usize = 30;

/// What may come of a request, in the numbers for Prometheus.
pub const OUTCOMES: [&str; 5] = ["ok", "limited", "refused", "failed", "unreachable"];

/// One forge, and who asks. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    name: String,
    /// The root of the API.
    base: Url,
    keys: Keys,
    time: Duration,
}

/// Where a request goes, and whose credentials it needs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The account that has the repository; empty when it is about none.
    pub(crate) owner: String,
    pub(crate) url: Url,
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sent<'a> {
    Nothing,
    Json(&'a Value),
    Form(&'a [(&'a str, &'a str)]),
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// At most one byte more than was wanted.
    pub(crate) body: Vec<u8>,
    /// What the request carried, and the forge may say back.
    auth: Auth,
    secrets: Vec<String>,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        if self.body.len() > ANSWER_MAX {
            return Err(ApiError::TooLarge);
        }
        // What is wrong may be quoted.
        let nonsense = |error: serde_json::Error| self.hidden().hide(&error.to_string());
        serde_json::from_slice(&self.body).map_err(|error| ApiError::Nonsense(line(&nonsense(error), 200)))
    }

    fn hidden(&self) -> Hidden {
        self.secrets.iter().fold(self.auth.hidden(), |hidden, secret| hidden.value(secret))
    }
}

impl Client {
    pub(crate) fn new(settings: Settings) -> std::result::Result<Client, BadSettings> {
        let base = api_root(settings.kind, &settings.base_url)?;
        // Without roots of our own no client can be made on a machine without a certificate store.
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .filter_map(|der| reqwest::Certificate::from_der(der).ok());
        let own = settings.ca.as_deref().map_or(Ok(Vec::new()), authorities)?;
        let http = reqwest::Client::builder()
            .user_agent(concat!("ocelot/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_merge(roots.chain(own))
            .build()
            .map_err(|error| BadSettings(format!("no HTTP client can be made: {error}")))?;
        let keys = Keys::new(settings.kind, settings.access, &settings.base_url)?;
        let (name, time) = (settings.name, settings.time);
        Ok(Client(Arc::new(Inner { http, name, base, keys, time })))
    }

    /// What requests carry, when that is a token.
    pub(crate) async fn token(&self) -> Result<SecretString> {
        match self.0.keys.auth(self, "").await? {
            Auth::Bearer(token) | Auth::Token(token) => Ok(token),
            Auth::Basic(..) => Err(ApiError::Nonsense("a password is no token".to_owned())),
        }
    }

    /// Segments are escaped: none can leave the API.
    pub(crate) fn place(&self, owner: &str, path: &[&str], query: &[(&str, &str)]) -> Place {
        let mut url = self.0.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Place { owner: owner.to_owned(), url }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, place: &Place) -> Result<T> {
        self.send(Method::GET, place, "application/json", Sent::Nothing, ANSWER_MAX).await?.json()
    }

    /// The bytes of an answer, at most `max` + 1.
    pub(crate) async fn bytes(&self, place: &Place, accept: &str, max: usize) -> Result<Vec<u8>> {
        Ok(self.send(Method::GET, place, accept, Sent::Nothing, max).await?.body)
    }

    pub(crate) async fn write(&self, method: Method, place: &Place, body: &Value) -> Result<Answer> {
        self.send(method, place, "application/json", Sent::Json(body), ANSWER_MAX).await
    }

    pub(crate) async fn delete(&self, place: &Place) -> Result<()> {
        self.send(Method::DELETE, place, "application/json", Sent::Nothing, ANSWER_MAX).await.map(drop)
    }

    /// Pages 1, 2, … for as long as the forge says that there are more; true when there are more than are asked for.
    pub(crate) async fn pages<P: DeserializeOwned>(
        &self,
        first: &Place,
        mut take: impl FnMut(P),
    ) -> Result<bool> {
        for page in 1..=PAGES_MAX {
            let mut place = first.clone();
            place.url.query_pairs_mut().append_pair("page", &page.to_string());
            let answer =
                self.send(Method::GET, &place, "application/json", Sent::Nothing, ANSWER_MAX).await?;
            take(answer.json()?);
            let link = answer.headers.get(header::LINK).and_then(|link| link.to_str().ok());
            if !link.is_some_and(|link| link.contains("rel=\"next\"")) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where the GitHub App is installed; `None` when the credentials are of another kind.
    pub(crate) async fn installations(&self) -> Result<Option<Vec<Installation>>> {
        match self.0.keys.app()? {
            Some(auth) => installations(self, &auth).await.map(Some),
            None => Ok(None),
        }
    }

    /// A page that the forge named itself; it must be one of this API.
    pub(crate) fn next(&self, place: &Place, url: &str) -> Result<Place> {
        let url = Url::parse(url).ok().filter(|url| is_same_host(url, &self.0.base));
        let url = url.ok_or_else(|| ApiError::Nonsense("its next page is on another host".to_owned()))?;
        Ok(Place { owner: place.owner.clone(), url })
    }

    /// Sends with the credentials; an answer that is no success is an error.
    pub(crate) async fn send(
        &self,
        method: Method,
        place: &Place,
        accept: &str,
        sent: Sent<'_>,
        max: usize,
    ) -> Result<Answer> {
        let auth = self.0.keys.auth(self, &place.owner).await?;
        let answer = self.once(&method, &place.url, accept, sent, &auth, max).await?;
        let answer = if answer.status == StatusCode::UNAUTHORIZED && self.0.keys.forget(&auth).await {
            // It was revoked before its time: a new one may do.
            let auth = self.0.keys.auth(self, &place.owner).await?;
            self.once(&method, &place.url, accept, sent, &auth, max).await?
        } else {
            answer
        };
        self.checked(answer, self.0.keys.what())
    }

    pub(crate) fn checked(&self, answer: Answer, what: &'static str) -> Result<Answer> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        if answer.status.is_redirection() {
            return Err(ApiError::Nonsense(format!(
                "it leads to another place (status {}); is {} the forge's own address?",
                answer.status.as_u16(),
                self.0.base
            )));
        }
        Err(from_answer(answer.status, &answer.headers, &answer.body, what, &answer.hidden()))
    }

    /// Counts a request, as one of [`OUTCOMES`].
    fn count(&self, status: Option<StatusCode>) {
        let outcome = match status.map(|status| status.as_u16()) {
            Some(200..=399) => "ok",
            Some(429) => "limited",
            Some(400..=499) => "refused",
            Some(_) => "failed",
            None => "unreachable",
        };
        let forge = self.0.name.clone();
        metrics::counter!("ocelot_forge_requests_total", "forge" => forge, "outcome" => outcome).increment(1);
    }

    /// One request, with the redirects that stay on the host and keep the method.
    pub(crate) async fn once(
        &self,
        method: &Method,
        url: &Url,
        accept: &str,
        sent: Sent<'_>,
        auth: &Auth,
        max: usize,
    ) -> Result<Answer> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let request = self.0.http.request(method.clone(), url.clone()).timeout(self.0.time);
            let request = auth.put(with(request.header(header::ACCEPT, accept), sent));
            let answer = request.send().await;
            self.count(answer.as_ref().ok().map(Response::status));
            let response = answer.map_err(|error| broken(&error))?;
            match redirect(method, &url, &response) {
                Some(next) => url = next,
                None => {
                    let (status, headers) = (response.status(), response.headers().clone());
                    let body = read(response, max).await?;
                    return Ok(Answer { status, headers, body, auth: auth.clone(), secrets: secrets(sent) });
                }
            }
        }
        Err(ApiError::Nonsense("it leads in a circle".to_owned()))
    }
}

/// The certificates of a PEM file.
fn authorities(text: &str) -> std::result::Result<Vec<reqwest::Certificate>, BadSettings> {
    let bad = |words: &str| BadSettings(format!("ca: {words}"));
    if text.contains("PRIVATE KEY-----") {
        return Err(bad(
            "there is a private key in it: give the authority's certificate alone, and keep its key secret",
        ));
    }
    let all = reqwest::Certificate::from_pem_bundle(text.as_bytes())
        .map_err(|_| bad("it is damaged: take the authority's certificate as PEM"))?;
    if all.is_empty() {
        return Err(bad("there is no certificate in it; it must begin with -----BEGIN CERTIFICATE-----"));
    }
    Ok(all)
}

fn with(request: RequestBuilder, sent: Sent<'_>) -> RequestBuilder {
    match sent {
        Sent::Nothing => request,
        Sent::Json(body) => request.json(body),
        Sent::Form(pairs) => {
            let mut form = form_urlencoded::Serializer::new(String::new());
            let text = form.extend_pairs(pairs).finish();
            request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(text)
        }
    }
}

/// Where to go on; `None` when this is the answer. Credentials never go to another host.
fn redirect(method: &Method, from: &Url, response: &Response) -> Option<Url> {
    let keeps_method = matches!(response.status().as_u16(), 307 | 308);
    let is_asked = matches!(response.status().as_u16(), 301..=303) && *method == Method::GET;
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let to = from.join(location).ok()?;
    ((keeps_method || is_asked) && is_same_host(&to, from)).then_some(to)
}

fn is_same_host(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// The secrets of a webhook that is made or changed.
fn secrets(sent: Sent<'_>) -> Vec<String> {
    let Sent::Json(body) = sent else { return Vec::new() };
    let places = ["/secret", "/config/secret", "/token", "/signing_token"];
    let found = places.iter().filter_map(|place| body.pointer(place)?.as_str());
    found.map(str::to_owned).collect()
}

async fn read(mut response: Response, max: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() <= max {
        let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? else { break };
        let room = max + 1 - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(body)
}

/// An error of the network, without the address: it stands in the forge's settings.
fn broken(error: &reqwest::Error) -> ApiError {
    if error.is_timeout() {
        return ApiError::Unavailable("no answer in time".to_owned());
    }
    let words = causes::deepest(error);
    if words.contains("UnknownIssuer") {
        let help = "no authority that is trusted here has signed its certificate: give the certificate of the one that has with \
                    `ocelot forge add --ca FILE`, or `forge change --ca FILE`";
        return ApiError::Unavailable(help.to_owned());
    }
    ApiError::Unavailable(line(&words, 300))
}

/// The root of the API of a forge at `text`.
fn api_root(kind: ForgeKind, text: &str) -> std::result::Result<Url, BadSettings> {
    let bad = || {
        BadSettings(format!(
            "`{text}` is no address of a forge: write it as https://git.example.org, without a user"
        ))
    };
    let mut url = Url::parse(text).map_err(|_| bad())?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) || has_user {
        return Err(bad());
    }
    url.set_query(None);
    url.set_fragment(None);
    let host = url.host_str().unwrap_or_default().to_owned();
    let path: &[&str] = match (kind, host.as_str()) {
        (ForgeKind::Github, "github.com" | "api.github.com") => return fixed("https://api.github.com"),
        (ForgeKind::Bitbucket, "bitbucket.org" | "api.bitbucket.org") => {
            return fixed("https://api.bitbucket.org/2.0");
        }
        (ForgeKind::Github, _) => &["api", "v3"],
        (ForgeKind::Gitlab, _) => &["api", "v4"],
        (ForgeKind::Gitea, _) => &["api", "v1"],
        (ForgeKind::Bitbucket, _) => &["2.0"],
        (ForgeKind::Git, _) => &[],
    };
    url.path_segments_mut().map_err(|()| bad())?.pop_if_empty().extend(path);
    Ok(url)
}

fn fixed(text: &str) -> std::result::Result<Url, BadSettings> {
    Url::parse(text).map_err(|error| BadSettings(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ForgeKind, text: &str, want: Option<&str>) {
        let got = api_root(kind, text).ok().map(|url| url.to_string());
        assert_eq!(got.as_deref(), want, "{text}");
    }

    #[test]
    fn roots() {
        check(ForgeKind::Github, "https://github.com", Some("https://api.github.com/"));
        check(ForgeKind::Github, "https://git.example.org/", Some("https://git.example.org/api/v3"));
        check(ForgeKind::Gitlab, "https://h/gitlab", Some("https://h/gitlab/api/v4"));
        check(ForgeKind::Gitea, "http://h:3000", Some("http://h:3000/api/v1"));
        check(ForgeKind::Bitbucket, "https://bitbucket.org", Some("https://api.bitbucket.org/2.0"));
        for bad in ["", "git.example.org", "ftp://h", "https://me:secret@h", "file:///srv"] {
            check(ForgeKind::Gitea, bad, None);
        }
    }
}
