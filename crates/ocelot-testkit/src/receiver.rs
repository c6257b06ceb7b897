//! A place that is notified, over real HTTP: an incoming webhook of Slack, or whatever takes webhooks signed by the Standard
//! Webhooks scheme. It remembers what it took, refuses what the real ones refuse, and misbehaves when asked to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use tokio::task::JoinHandle;

use crate::forge::Fault;
use crate::forge::server::misbehave;

/// The last part of Slack's address, which makes it a secret.
pub const SLACK_CANARY: &str = "canary-of-slack";
/// With this [`Receiver::webhook`] checks signatures.
pub const WEBHOOK_KEY: &str = "whsec_Y2FuYXJ5LW9mLXdlYmhvb2tzLTMyLWJ5dGVzLWxvbmc=";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Slack,
    Webhook,
}

#[derive(Debug, Default)]
struct State {
    taken: Vec<Value>,
    /// What each request called its message, whatever became of it.
    ids: Vec<String>,
    faults: VecDeque<Fault>,
    down: bool,
}

/// See the module. Gone when dropped.
#[derive(Debug)]
pub struct Receiver {
    kind: Kind,
    address: std::net::SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    /// An incoming webhook of Slack.
    pub async fn slack() -> Receiver {
        Receiver::start(Kind::Slack).await
    }

    /// A receiver of signed webhooks.
    pub async fn webhook() -> Receiver {
        Receiver::start(Kind::Webhook).await
    }

    async fn start(kind: Kind) -> Receiver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let app = axum::Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let state = Arc::clone(&shared);
            async move {
                let fault = {
                    let mut state = lock(&state);
                    state.ids.push(header(&headers, "webhook-id").to_owned());
                    let down = || Fault::Status(503, Vec::new(), "");
                    state.faults.pop_front().or_else(|| state.down.then(down))
                };
                match fault {
                    Some(fault) => misbehave(fault).await,
                    None => take(kind, &mut lock(&state), &uri, &headers, &body),
                }
            }
        });
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("a server") });
        Receiver { kind, address, state, server }
    }

    /// Where it is to be told.
    pub fn url(&self) -> String {
        let path = match self.kind {
            Kind::Slack => format!("services/T0/B0/{SLACK_CANARY}"),
            Kind::Webhook => "hook".to_owned(),
        };
        format!("http://{}/{path}", self.address)
    }

    /// The bodies that it took, in their order.
    pub fn taken(&self) -> Vec<Value> {
        lock(&self.state).taken.clone()
    }

    /// What each request called its message, whatever became of it.
    pub fn ids(&self) -> Vec<String> {
        lock(&self.state).ids.clone()
    }

    /// Headings of what it took: Slack's titles, webhooks' types.
    pub fn titles(&self) -> Vec<String> {
        let place = match self.kind {
            Kind::Slack => "/attachments/0/title",
            Kind::Webhook => "/type",
        };
        let title = |body: &Value| body.pointer(place).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.taken().iter().map(title).collect()
    }

    /// How often it was asked, whatever became of that.
    pub fn requests(&self) -> usize {
        lock(&self.state).ids.len()
    }

    /// The next request is answered so.
    pub fn misbehave(&self, fault: Fault) {
        lock(&self.state).faults.push_back(fault);
    }

    /// From now on it answers as it should.
    pub fn behave(&self) {
        lock(&self.state).faults.clear();
    }

    /// From now on it answers nothing but 503, or is well again.
    pub fn set_down(&self, down: bool) {
        lock(&self.state).down = down;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(kind: Kind, state: &mut State, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response {
    let taken = match kind {
        Kind::Slack => slack(uri, body),
        Kind::Webhook => webhook(headers, body),
    };
    match taken {
        Ok(body) => {
            state.taken.push(body);
            "ok".into_response()
        }
        Err((status, words)) => (StatusCode::from_u16(status).expect("a status"), words).into_response(),
    }
}

/// Slack's own words for what is wrong.
fn slack(uri: &Uri, body: &Bytes) -> Result<Value, (u16, String)> {
    if !uri.path().ends_with(SLACK_CANARY) {
        return Err((404, "no_service".to_owned()));
    }
    let body: Value = serde_json::from_slice(body).map_err(|_| (400, "invalid_payload".to_owned()))?;
    match body.get("channel").and_then(Value::as_str) {
        Some("#gone") => return Err((404, "channel_not_found".to_owned())),
        // One that says more than it should.
        Some("#echo") => return Err((400, format!("no channel at {uri}"))),
        Some(_) | None => {}
    }
    let has_text = body.get("text").is_some() || body.pointer("/attachments/0").is_some();
    if has_text { Ok(body) } else { Err((400, "no_text".to_owned())) }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn webhook(headers: &HeaderMap, body: &Bytes) -> Result<Value, (u16, String)> {
    let id = header(headers, "webhook-id");
    let key = WEBHOOK_KEY.strip_prefix("whsec_").and_then(|code| BASE64_STANDARD.decode(code).ok());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.expect("a key")).expect("any key");
    mac.update(format!("{id}.{}.", header(headers, "webhook-timestamp")).as_bytes());
    mac.update(body);
    let want = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    if id.is_empty() || !header(headers, "webhook-signature").split(' ').any(|one| one == want) {
        return Err((401, "the signature is wrong".to_owned()));
    }
    serde_json::from_slice(body).map_err(|_| (400, "no JSON".to_owned()))
}
