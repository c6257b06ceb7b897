//! Around all routes: the request's id, its log line, limits, and the last look at every error.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument as _;

use super::extract::too_large;
use super::problem::{Refusal, render};
use crate::heads::TwoLengths;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest address of a request.
const URL_MAX: usize = 8 << 10;
/// The largest body of a request.
pub(super) const BODY_MAX: usize = 1 << 20;
/// The largest body of a webhook.
pub(super) const WEBHOOK_MAX: usize = ocelot_forge::BODY_MAX;

/// Outermost: gives the request its id, looks at the answer, writes the log line.
pub(super) async fn outer(request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let id = uuid::Uuid::now_v7().simple().to_string();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".to_owned());
    let span = tracing::info_span!("http", request_id = %id, method = %request.method(), route = %route);
    let response = match limits(&request) {
        Ok(()) => next.run(request).instrument(span.clone()).await,
        Err(refusal) => refusal.into_response(),
    };
    let _entered = span.entered();
    let mut response = finish(response, &id);
    let status = response.status();
    let took = begin.elapsed();
    metrics::histogram!(
        "ocelot_http_request_duration_seconds",
        "route" => route, "status" => status.as_str().to_owned()
    )
    .record(took.as_secs_f64());
    tracing::debug!(status = status.as_u16(), took_ms = took.as_millis() as u64, "answered");
    headers(&mut response, &id);
    response
}

fn limits(request: &Request) -> Result<(), Refusal> {
    if request.uri().path_and_query().is_some_and(|path| path.as_str().len() > URL_MAX) {
        let words = "The address of this request has more than 8 KiB.";
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "uri_too_long", words));
    }
    if request.extensions().get::<TwoLengths>().is_some() {
        let words = "Send `Content-Length` or `Transfer-Encoding`, not both.";
        return Err(Refusal::bad_request(words));
    }
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let most = if request.uri().path().starts_with("/hooks/") { WEBHOOK_MAX } else { BODY_MAX };
    if length.is_some_and(|length| length > most as u64) {
        return Err(too_large(most));
    }
    // Nothing here unpacks what is compressed, so that a small body cannot become a large one.
    let packed = request.headers().get_all(header::CONTENT_ENCODING);
    if packed.iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let words = "Send the body as it is, without `Content-Encoding`.";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", words)
            .with(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    Ok(())
}

/// Logs our own faults, once, and gives them the id under which the log has them.
fn finish(mut response: Response, id: &str) -> Response {
    let Some(mut refusal) = response.extensions_mut().remove::<Refusal>() else { return response };
    if refusal.problem.status < 500 {
        return response;
    }
    let cause = refusal.cause.as_deref().unwrap_or(&refusal.problem.detail);
    if refusal.problem.status == 500 {
        tracing::error!(request_id = id, cause, "request {id} failed");
    } else {
        tracing::warn!(request_id = id, cause, "request {id} was refused");
    }
    refusal.problem.request_id = Some(id.to_owned());
    let mut response = render(&refusal.problem);
    if let Some((name, value)) = refusal.header.as_deref() {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

fn headers(response: &mut Response, id: &str) {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "same-origin");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::CACHE_CONTROL, "no-store");
    // Pages set their own; nothing else is to be shown as a page at all.
    set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
}

/// What a handler that panics answers.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over so")]
pub(super) fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word");
    Refusal::internal(format!("a handler panicked: {text}")).into_response()
}

/// No such path.
pub(super) async fn no_path() -> Refusal {
    Refusal::not_found()
}

/// The path is known, the method is not; the router adds `Allow`.
pub(super) async fn no_method() -> Refusal {
    let words = "This path does not take this method; the header `Allow` names those that it takes.";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", words)
}
