//! How a fake forge answers: who may ask, pages, faults. What it answers stands in the file of its language.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ocelot_model::ForgeKind;
use serde_json::{Value, json};

use super::state::State;
use super::{CLIENT, PASSWORD, TOKEN, bitbucket, gitea, github, gitlab};

/// What a forge does instead of answering.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status, these headers, this body.
    Status(u16, Vec<(&'static str, String)>, &'static str),
    /// No answer ever.
    Silence,
    /// Something that is no JSON.
    WrongJson,
    /// JSON of another shape.
    OtherJson,
    /// The connection ends in the middle of the body.
    Cut,
    /// It sends the caller to another address.
    Redirect(u16, String),
    /// A body of so many bytes.
    Huge(usize),
}

/// What was asked, below the root of the API.
pub(super) struct Ask {
    pub(super) method: Method,
    /// Segments, decoded.
    pub(super) path: Vec<String>,
    pub(super) query: HashMap<String, String>,
    pub(super) body: Value,
    /// The account that the token is good for; empty: all.
    pub(super) owner: String,
}

impl Ask {
    /// Method and segments, to be matched.
    pub(super) fn parts(&self) -> (&str, Vec<&str>) {
        (self.method.as_str(), self.path.iter().map(String::as_str).collect())
    }

    pub(super) fn text(&self, pointer: &str) -> String {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// What is answered.
pub(super) enum Answer {
    Json(u16, Value),
    Raw(String),
    /// A list, to be given out in pages; with a key when it stands in an object.
    List(Vec<Value>, Option<&'static str>),
    Nothing,
}

impl Answer {
    pub(super) fn not_found() -> Answer {
        Answer::Json(404, json!({"message": "404 Not Found", "error": {"message": "Not found"}}))
    }
}

pub(super) async fn serve(kind: ForgeKind, listener: tokio::net::TcpListener, state: Arc<Mutex<State>>) {
    let app =
        axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let state = Arc::clone(&state);
            async move {
                let fault = {
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.requests.push(format!("{method} {uri}"));
                    let always = state.always.clone().filter(|(path, _)| uri.path().contains(path));
                    state.faults.pop_front().or(always.map(|(_, fault)| fault))
                };
                match fault {
                    Some(fault) => misbehave(fault).await,
                    None => {
                        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                        respond(kind, &mut state, method, &uri, &headers, &body)
                    }
                }
            }
        });
    axum::serve(listener, app).await.expect("a server");
}

pub(crate) async fn misbehave(fault: Fault) -> Response {
    let answer = |status: u16| Response::builder().status(status).header("content-type", "application/json");
    let response = match fault {
        Fault::Status(status, headers, body) => {
            let all = headers.into_iter().fold(answer(status), |all, (name, value)| all.header(name, value));
            all.body(Body::from(body))
        }
        Fault::Silence => std::future::pending().await,
        Fault::WrongJson => answer(200).body(Body::from("<html>Sign in</html>")),
        Fault::OtherJson => answer(200).body(Body::from(r#"{"something": ["else"]}"#)),
        Fault::Cut => {
            let parts = [Ok(Bytes::from_static(br#"[{"id": 1, "#)), Err(std::io::Error::other("cut"))];
            answer(200).body(Body::from_stream(futures_util::stream::iter(parts)))
        }
        Fault::Redirect(status, to) => answer(status).header(header::LOCATION, to).body(Body::empty()),
        Fault::Huge(bytes) => answer(200).body(Body::from(vec![b'['; bytes])),
    };
    response.expect("a response")
}

fn respond(
    kind: ForgeKind,
    state: &mut State,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response {
    let segments = uri.path().split('/').filter(|part| !part.is_empty());
    let mut path: Vec<String> = segments.map(decode).collect();
    let query: HashMap<String, String> =
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let auth = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind == ForgeKind::Bitbucket && uri.path() == "/site/oauth2/access_token" {
        let answer = give_token(state, auth, body);
        return render(state, &query, uri, answer);
    }
    let root: &[&str] = match kind {
        ForgeKind::Github => &["api", "v3"],
        ForgeKind::Gitlab => &["api", "v4"],
        ForgeKind::Gitea => &["api", "v1"],
        ForgeKind::Bitbucket => &["2.0"],
        ForgeKind::Git => &[],
    };
    if !path.starts_with(&root.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>()) {
        return render(state, &query, uri, Answer::not_found());
    }
    path.drain(..root.len());
    let body = serde_json::from_slice(body).unwrap_or_default();
    let mut ask = Ask { method, path, query, body, owner: String::new() };
    let answer = if kind == ForgeKind::Github && ask.path.first().is_some_and(|first| first == "app") {
        github::app(state, &ask, auth)
    } else {
        match owner(kind, state, auth) {
            Some(owner) => {
                ask.owner = owner;
                match kind {
                    ForgeKind::Github => github::answer(state, &ask),
                    ForgeKind::Gitlab => gitlab::answer(state, &ask),
                    ForgeKind::Bitbucket => bitbucket::answer(state, &ask),
                    ForgeKind::Gitea => gitea::answer(state, &ask),
                    ForgeKind::Git => Answer::not_found(),
                }
            }
            None => Answer::Json(401, json!({"message": "Bad credentials"})),
        }
    };
    let query = std::mem::take(&mut ask.query);
    render(state, &query, uri, answer)
}

/// Whose things the credentials reach (empty: all); `None` when they are wrong.
fn owner(kind: ForgeKind, state: &State, auth: &str) -> Option<String> {
    let (user, password) = PASSWORD;
    if kind == ForgeKind::Bitbucket && auth == basic(user, password) {
        return Some(String::new());
    }
    let scheme = if kind == ForgeKind::Gitea { "token " } else { "Bearer " };
    let token = auth.strip_prefix(scheme)?;
    if token == TOKEN {
        return Some(String::new());
    }
    state.tokens.iter().find(|(known, _)| known == token).map(|(_, owner)| owner.clone())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// Bitbucket's OAuth: client credentials for a token.
fn give_token(state: &mut State, auth: &str, body: &Bytes) -> Answer {
    if auth != basic(CLIENT.0, CLIENT.1) || body.as_ref() != b"grant_type=client_credentials" {
        return Answer::Json(400, json!({"error": "invalid_client", "error_description": "no such client"}));
    }
    let token = format!("oauth-{}", state.new_id());
    state.tokens.push((token.clone(), String::new()));
    Answer::Json(200, json!({"access_token": token, "expires_in": state.life, "token_type": "bearer"}))
}

fn decode(segment: &str) -> String {
    let plus = segment.replace('+', "%2B");
    let pairs = form_urlencoded::parse(plus.as_bytes()).next();
    match pairs {
        Some((name, value)) if value.is_empty() => name.into_owned(),
        Some((name, value)) => format!("{name}={value}"),
        None => String::new(),
    }
}

fn render(state: &State, query: &HashMap<String, String>, uri: &Uri, answer: Answer) -> Response {
    let response = Response::builder().header("content-type", "application/json");
    let response = match answer {
        Answer::Json(status, body) => response.status(status).body(Body::from(body.to_string())),
        Answer::Raw(text) => response.body(Body::from(text)),
        Answer::Nothing => response.status(StatusCode::NO_CONTENT).body(Body::empty()),
        Answer::List(items, key) => {
            let page: usize = query.get("page").and_then(|page| page.parse().ok()).unwrap_or(1);
            let is_last = items.len() <= page * state.page;
            let items: Vec<Value> =
                items.into_iter().skip((page - 1) * state.page).take(state.page).collect();
            let next = format!("{}{}?page={}", state.url, uri.path(), page + 1);
            let response = match is_last {
                true => response,
                false => response.header(header::LINK, format!("<{next}>; rel=\"next\"")),
            };
            let body = match key {
                Some("values") if !is_last => json!({"values": items, "next": next}),
                Some(key) => json!({ key: items }),
                None => Value::Array(items),
            };
            response.body(Body::from(body.to_string()))
        }
    };
    response.expect("a response")
}
