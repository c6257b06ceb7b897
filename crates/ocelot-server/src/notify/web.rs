//! One HTTP request out, bounded: where it may go, how long it may take, how much of the answer is read.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use ocelot_model::causes;
use ocelot_model::hidden::Hidden;
use ocelot_model::notify::has_login;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use super::error::NotifyError;
use super::reach;

const CONNECT: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(30);
/// So much of an answer is read, and so much of it shown.
const ANSWER_MAX: usize = 16 << 10;
const WORDS_MAX: usize = 200;

/// Clients for what goes out. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Web {
    /// For addresses that an admin of the whole server keeps.
    own: Client,
    /// For all others.
    guarded: Client,
    insecure_http: bool,
}

/// What is sent.
pub(super) struct Request<'a> {
    pub(super) url: &'a str,
    /// It may lead into our own network, and be plain HTTP.
    pub(super) own: bool,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
    /// What it carries, and the far side may say back.
    pub(super) hidden: &'a Hidden,
}

impl Web {
    /// `insecure_http`: plain HTTP is good enough for everybody.
    pub fn new(insecure_http: bool) -> anyhow::Result<Web> {
        let builder = || {
            // Without roots of our own no client can be made on a machine without a certificate store.
            let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS
                .iter()
                .filter_map(|der| reqwest::Certificate::from_der(der).ok());
            Client::builder()
                .user_agent(concat!("ocelot/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT)
                .timeout(WHOLE)
                .redirect(Policy::none())
                .tls_certs_merge(roots)
        };
        let own = builder().build().context("no HTTP client can be made")?;
        // A proxy would look names up by itself.
        let guarded = builder().no_proxy().dns_resolver(Guard).build();
        let guarded = guarded.context("no HTTP client can be made")?;
        Ok(Web { own, guarded, insecure_http })
    }

    /// Posts JSON; answers status and the first words of the answer when that is a success.
    pub(super) async fn post(&self, request: Request<'_>) -> Result<String, NotifyError> {
        let url = self.check(request.url, request.own).map_err(NotifyError::Settings)?;
        let client = if request.own { &self.own } else { &self.guarded };
        let mut headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        for (name, value) in request.headers {
            let value = HeaderValue::from_str(&value)
                .map_err(|_| NotifyError::Settings(format!("the header {name} cannot be sent")))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let sent = client.post(url.clone()).headers(headers).body(request.body).send().await;
        let response = sent.map_err(|error| unreachable(&error, &url))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let words = words(response, request.hidden).await;
        if status.is_success() {
            return Ok(format!("{} {words}", status.as_u16()).trim_end().to_owned());
        }
        Err(NotifyError::of_answer(status, &headers, &words))
    }

    fn check(&self, text: &str, own: bool) -> Result<Url, String> {
        // The whole of it may be a secret.
        let url = Url::parse(text).map_err(|error| format!("the address cannot be read: {error}"))?;
        let host = url.host().ok_or("the address has no host")?;
        match url.scheme() {
            "https" => {}
            "http" if own || self.insecure_http => {}
            "http" => {
                return Err(format!(
                    "{host}: plain http:// is for addresses that an admin of the whole server keeps; use https://"
                ));
            }
            other => return Err(format!("{other}:// is no way to send anything; use https://")),
        }
        if !own {
            reach::check_host(&host)?;
        }
        Ok(url)
    }
}

/// Why this cannot be an address that lists show.
pub(super) fn check_shown(text: &str) -> Result<(), String> {
    if has_login(text) {
        return Err("url: the user and password in it would be seen by all who list credentials: leave `url` out, and put the \
                    address into the value, in a line after the key"
            .to_owned());
    }
    check_form(text)
}

/// Why this can be nobody's address.
pub(super) fn check_form(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("url: it cannot be read: {error}"))?;
    if matches!(url.scheme(), "https" | "http") && url.has_host() {
        Ok(())
    } else {
        Err("url: it begins with https:// and has a host".to_owned())
    }
}

/// What of an address is a secret: how one signs in there, and what is long enough to be a key. `all`: the whole of it is one.
pub(super) fn hide_address(hidden: Hidden, text: &str, all: bool) -> Hidden {
    let Ok(url) = Url::parse(text) else { return if all { hidden.value(text) } else { hidden } };
    let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
    let mut hidden = if user.is_empty() { hidden } else { hidden.value(&user).login(&user, &password) };
    let queries = url.query_pairs().map(|(_, value)| value.into_owned()).filter(|value| value.len() >= 8);
    let parts = url.path_segments().into_iter().flatten().map(decoded);
    let last = url.path_segments().and_then(|mut parts| parts.next_back()).map(decoded);
    for part in queries.chain(parts.filter(|part| part.len() >= 16)).chain(last.filter(|_| all)) {
        hidden = hidden.value(&part);
    }
    if all { hidden.value(text) } else { hidden }
}

/// Without `%`.
fn decoded(text: &str) -> String {
    let text = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(text.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}

/// Looks names up, and says nothing of private addresses.
struct Guard;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is put in by the client.
            let found: Vec<SocketAddr> = reach::addresses(name.as_str(), 0, false).await?;
            Ok::<Addrs, _>(Box::new(found.into_iter()))
        })
    }
}

/// Without the path of the address: that may be a secret.
fn unreachable(error: &reqwest::Error, url: &Url) -> NotifyError {
    let host = url.host_str().unwrap_or_default();
    let place = url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    if error.is_timeout() {
        return NotifyError::Unavailable(format!("{place} did not answer in time"));
    }
    let is_unknown = causes::all(error).any(|cause| cause.to_string() == "dns error");
    let words = match causes::deepest(error) {
        // Of our own looking up, which says it itself.
        words if is_unknown && words.contains(host) => words,
        words if is_unknown => reach::unknown(host, &words),
        words if words.contains("InvalidContentType") => {
            format!("{place} does not speak TLS, as https:// says: is its address http://?")
        }
        words => format!("{place}: {words}"),
    };
    NotifyError::Unavailable(words)
}

/// The beginning of the answer, in one line.
async fn words(mut response: Response, hidden: &Hidden) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = ANSWER_MAX - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if bytes.len() == ANSWER_MAX {
            break;
        }
    }
    // Hidden before it is cut: half a secret is none that is found.
    super::text::line(&hidden.hide(&String::from_utf8_lossy(&bytes)), WORDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_request_may_go() {
        let web = Web::new(false).unwrap();
        let check = |url: &str, own: bool, want: &str| {
            let said = web.check(url, own).err().unwrap_or_default();
            assert!(said.contains(want) && said.is_empty() == want.is_empty(), "{url}: {said}");
        };
        check("https://example.org/x", false, "");
        check("http://example.org/x", false, "plain http");
        check("http://127.0.0.1:9/x", true, "");
        for private in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest/meta-data/",
            "https://0/",
        ] {
            check(private, false, "private network");
            check(private, true, "");
        }
        check("ftp://example.org", true, "no way to send");
        check("file:///etc/passwd", true, "no host");
        check("canary", true, "cannot be read");
    }

    #[test]
    fn what_of_an_address_is_a_secret() {
        let check = |url: &str, all: bool, said: &str, want: &str| {
            assert_eq!(hide_address(Hidden::default(), url, all).hide(said), want, "{url}");
        };
        let login = "https://me:p%40ss+w@h/hook?channel=builds";
        check(login, false, "no hook for me with p@ss+w (bWU6cEBzcyt3)", "no hook for me with *** (***)");
        check("https://h/hook", false, "no hook at https://h/hook", "no hook at https://h/hook");
        let long = "https://h/api/0123456789abcdef?token=abcdefgh";
        check(long, false, "no /api/0123456789abcdef?token=abcdefgh", "no /api/***?token=***");
        let slack = "https://hooks.slack.com/services/T0/B0/canary";
        check(slack, true, &format!("no such hook {slack}"), "no such hook ***");
        check(slack, true, "no hook /services/T0/B0/canary", "no hook /services/T0/B0/***");
    }

    #[test]
    fn addresses_that_sign_in_are_not_for_lists() {
        assert_eq!(check_shown("https://h/x"), Ok(()));
        for url in ["https://me:canary@h/x", "https://canary@h"] {
            let said = check_shown(url).unwrap_err();
            assert!(said.contains("into the value") && !said.contains("canary"), "{said}");
        }
    }

    #[tokio::test]
    async fn names_are_looked_at_when_they_are_looked_up() {
        let web = Web::new(true).unwrap();
        let request = Request {
            url: "http://localhost:9/canary",
            own: false,
            headers: Vec::new(),
            body: String::new(),
            hidden: &Hidden::default(),
        };
        let said = web.post(request).await.unwrap_err().to_string();
        assert!(said.contains("private network") && !said.contains("canary"), "{said}");
    }
}
