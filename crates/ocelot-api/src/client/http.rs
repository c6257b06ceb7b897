//! Requests and answers: address, token, time limits, `problem+json`. Knows no route.

use std::time::Duration;

use ocelot_model::causes;
use reqwest::{Method, RequestBuilder, Response, Url, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Client, ClientError, Result, Way};
use crate::{Problem, tls};

/// An event stream is silent for 15 s at most; three times that, and the connection is dead.
const SILENCE: Duration = Duration::from_secs(45);
const CONNECT: Duration = Duration::from_secs(10);
/// How much of an answer that we do not understand is looked at.
const STRANGE_MAX: usize = 200;

/// See [`Client::new`].
pub(super) fn client(url: &str, token: Option<&str>, way: &Way) -> Result<Client> {
    let bad = || ClientError::BadUrl(url.to_owned());
    let mut base = Url::parse(url).map_err(|_| bad())?;
    if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none_or(str::is_empty) {
        return Err(bad());
    }
    token.map_or(Ok(()), check_token)?;
    base.set_query(None);
    base.set_fragment(None);
    // Without roots of our own no client can be made on a machine without a certificate store,
    // not even for plain http.
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .filter_map(|der| reqwest::Certificate::from_der(der).ok());
    let own = match &way.ca_cert {
        Some(path) => authorities(path)?,
        None => Vec::new(),
    };
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("ocelot/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .tcp_nodelay(true)
        .tls_certs_merge(roots.chain(own));
    if let Some((host, address)) = &way.host_at {
        builder = builder.resolve(host, *address);
    }
    let http = builder
        .build()
        .map_err(|error| ClientError::Strange { url: url.to_owned(), cause: causes::whole(&error) })?;
    Ok(Client { http, base, token: token.map(str::to_owned) })
}

fn authorities(path: &std::path::Path) -> Result<Vec<reqwest::Certificate>> {
    let text = tls::read_ca(path).map_err(ClientError::BadCa)?;
    let unusable =
        |error| ClientError::BadCa(format!("the CA file {} cannot be used: {error}", path.display()));
    reqwest::Certificate::from_pem_bundle(&text).map_err(unusable)
}

/// See [`super::check_token`].
pub(super) fn check_token(token: &str) -> Result<()> {
    let fault = if token.is_empty() {
        "is empty"
    } else if token.contains(['\r', '\n']) {
        "has a line break in it"
    } else if !token.is_ascii() {
        "has a character in it that is not ASCII"
    } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        "has a blank or a control character in it"
    } else {
        return Ok(());
    };
    Err(ClientError::BadToken(fault))
}

impl Client {
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        pairs: &[(&str, Option<&str>)],
    ) -> Result<T> {
        let answer = self.ask(path, pairs, None).await?;
        self.json(answer).await
    }

    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T> {
        let request = self.request(method, self.address(path, &[]));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = self.check(request).await?;
        self.json(answer).await
    }

    /// The same without a body; `None` when there is nothing to say.
    pub(super) async fn send_for<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Option<T>> {
        let answer = self.check(self.request(method, self.address(path, &[]))).await?;
        if answer.status().as_u16() == 204 { Ok(None) } else { self.json(answer).await }
    }

    pub(super) async fn delete(&self, path: &str) -> Result<()> {
        self.check(self.request(Method::DELETE, self.address(path, &[]))).await.map(drop)
    }

    /// A `GET` whose body the caller reads.
    pub(super) async fn ask(
        &self,
        path: &str,
        pairs: &[(&str, Option<&str>)],
        range: Option<&str>,
    ) -> Result<Response> {
        let request = self.request(Method::GET, self.address(path, pairs));
        let request = match range {
            Some(range) => request.header(header::RANGE, range),
            None => request,
        };
        self.check(request).await
    }

    /// A `GET` of an event stream.
    pub(super) async fn listen(&self, path: &str, last_id: Option<&str>) -> Result<Response> {
        let request =
            self.request(Method::GET, self.address(path, &[])).header(header::ACCEPT, "text/event-stream");
        let request = match last_id {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        self.check(request).await
    }

    /// Sends; an answer that is no success becomes an error with the server's words.
    pub(super) async fn check(&self, request: RequestBuilder) -> Result<Response> {
        let answer = request.send().await.map_err(|error| self.broken(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.bytes().await.unwrap_or_default();
        let problem = serde_json::from_slice::<Problem>(&body).ok();
        Err(match problem {
            Some(problem) => ClientError::Refused(problem),
            // What a proxy says when the server behind it is away.
            None if matches!(status.as_u16(), 502..=504) => {
                ClientError::Unreachable { url: self.url().to_owned(), cause: status.to_string() }
            }
            None => self.strange(&format!("{status} {}", excerpt(&body))),
        })
    }

    /// An error of the network.
    pub(super) fn broken(&self, error: &reqwest::Error) -> ClientError {
        let cause = match error.without_url_words() {
            words if error.is_timeout() => format!("no answer in time ({words})"),
            words => match tls::advice(error) {
                Some(advice) => format!("{words}\n{advice}"),
                None => words,
            },
        };
        ClientError::Unreachable { url: self.url().to_owned(), cause }
    }

    /// An answer that had begun.
    pub(super) fn cut_off(&self, error: &reqwest::Error) -> ClientError {
        ClientError::CutOff { url: self.url().to_owned(), cause: error.without_url_words() }
    }

    fn strange(&self, cause: &str) -> ClientError {
        ClientError::Strange { url: self.url().to_owned(), cause: cause.to_owned() }
    }

    async fn json<T: DeserializeOwned>(&self, answer: Response) -> Result<T> {
        let body = answer.bytes().await.map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.strange(&format!("{error} in {}", excerpt(&body))))
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// `path` is taken apart at its slashes, and each part is escaped: it cannot leave `/api/v1`.
    fn address(&self, path: &str, pairs: &[(&str, Option<&str>)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path.split('/'));
        }
        for (key, value) in pairs {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(key, value);
            }
        }
        url
    }
}

/// What happened, without the address, which the error around it names.
trait WithoutUrl {
    fn without_url_words(&self) -> String;
}

impl WithoutUrl for reqwest::Error {
    fn without_url_words(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => causes::deepest(cause),
            None => self.to_string(),
        }
    }
}

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(STRANGE_MAX)]);
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("“{}”", line.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stay_below_the_api() {
        let check = |base: &str, path: &str, want: &str| {
            let client = Client::new(base, None).expect("a client");
            assert_eq!(client.address(path, &[]).as_str(), want, "{base} {path}");
        };
        check("http://h:1", "builds/1", "http://h:1/api/v1/builds/1");
        check("http://h:1/", "repos/git/a", "http://h:1/api/v1/repos/git/a");
        check("http://h:1/ci/", "repos/git/a", "http://h:1/ci/api/v1/repos/git/a");
        check("http://h:1", "repos/../../x?y=1", "http://h:1/api/v1/repos/x%3Fy=1");
    }

    #[test]
    fn a_token_that_cannot_be_one_is_refused() {
        let check = |token: &str, want: &str| {
            let error = Client::new("http://h", Some(token)).expect_err("a client");
            assert!(matches!(error, ClientError::BadToken(_)) && error.to_string().contains(want), "{error}");
            assert!(!error.to_string().contains("ocl_"), "a secret is shown: {error}");
        };
        check("ocl_a\nb", "line break");
        check("ocl_a\r", "line break");
        check("ocl_\u{e9}", "not ASCII");
        check("ocl_a b", "blank");
        check("", "empty");
        assert!(Client::new("http://h", Some("ocl_aB3-_")).is_ok());
    }

    #[test]
    fn only_http_addresses_are_taken() {
        for bad in ["", "127.0.0.1:8080", "ftp://h", "file:///etc/passwd", "http://"] {
            assert!(matches!(Client::new(bad, None), Err(ClientError::BadUrl(_))), "{bad:?}");
        }
    }
}
