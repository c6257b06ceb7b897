//! Reads requests: bodies, queries and numbers in paths. What cannot be read is said in words.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use ocelot_model::BuildNumber;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::middleware::BODY_MAX;
use super::problem::{Answer, Refusal};

/// A JSON body.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Answer<Json<T>> {
        let headers = request.headers().clone();
        let Whole(bytes) = Whole::from_request(request, state).await?;
        object(headers, bytes).await.map(Json)
    }
}

/// What a JSON body says.
async fn object<T: DeserializeOwned>(headers: HeaderMap, bytes: Bytes) -> Answer<T> {
    // The library takes a list for the fields of a struct in their order, which no caller can rely on.
    if bytes.trim_ascii_start().starts_with(b"[") {
        let words = "The body cannot be read: it must be a JSON object.";
        return Err(Refusal::unprocessable("bad_body", words));
    }
    let mut whole = Request::new(axum::body::Body::from(bytes));
    *whole.headers_mut() = headers;
    let body = axum::Json::from_request(whole, &()).await;
    body.map(|axum::Json(body)| body).map_err(refuse_json)
}

/// A body must be there within this time.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// A whole body; 408 for one that trickles, 413 for one of more than `most` bytes, which the route's own limit says, too.
pub(super) async fn whole<S: Send + Sync>(
    request: Request,
    state: &S,
    within: Duration,
    most: usize,
) -> Answer<Bytes> {
    let late = |_| {
        let words = format!("The body of this request did not arrive within {} s.", within.as_secs());
        Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", words)
    };
    let bytes = tokio::time::timeout(within, Bytes::from_request(request, state)).await.map_err(late)?;
    bytes.map_err(|error| refuse_bytes(&error, most))
}

/// A body as it is.
#[derive(Debug)]
pub(super) struct Whole(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Answer<Whole> {
        whole(request, state, BODY_WITHIN, BODY_MAX).await.map(Whole)
    }
}

/// A JSON body that may be left out.
#[derive(Debug)]
pub(super) struct MaybeJson<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for MaybeJson<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Answer<MaybeJson<T>> {
        let headers = request.headers().clone();
        let Whole(bytes) = Whole::from_request(request, state).await?;
        if bytes.is_empty() {
            return Ok(MaybeJson(T::default()));
        }
        object(headers, bytes).await.map(MaybeJson)
    }
}

fn refuse_json(rejection: JsonRejection) -> Refusal {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Send JSON, with the header `Content-Type: application/json`.",
        ),
        JsonRejection::JsonDataError(error) => Refusal::unprocessable("bad_body", words(&error.body_text())),
        JsonRejection::JsonSyntaxError(error) => Refusal::bad_request(words(&error.body_text())),
        JsonRejection::BytesRejection(error) => refuse_bytes(&error, BODY_MAX),
        other => Refusal::bad_request(other.body_text()),
    }
}

fn refuse_bytes(error: &BytesRejection, most: usize) -> Refusal {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large(most);
    }
    Refusal::bad_request(error.body_text())
}

/// 413.
pub(super) fn too_large(most: usize) -> Refusal {
    let words = format!("A request body has at most {} MiB here.", most >> 20);
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", words)
}

/// The library's words without the names of its types.
fn words(text: &str) -> String {
    let (_, tail) = text.split_once(": ").unwrap_or(("", text));
    format!("The body cannot be read: {tail}")
}

/// The query. A name that is not known is refused, and the known ones are said.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Query<T>> {
        let query = axum::extract::Query::try_from_uri(&parts.uri).map_err(|error| {
            let text = error.body_text();
            let (_, tail) = text.split_once(": ").unwrap_or(("", &text));
            if let Some(words) = no_number(tail, parts.uri.query().unwrap_or_default()) {
                return Refusal::bad_request(words);
            }
            Refusal::bad_request(
                tail.replace("unknown field", "unknown query parameter").replace("expected", "known:"),
            )
        })?;
        Ok(Query(query.0))
    }
}

/// What a parser says of a parameter that is no number (`tail: invalid digit found in string`), in our words.
fn no_number(said: &str, query: &str) -> Option<String> {
    let (name, fault) = said.split_once(": ")?;
    let fault = fault.contains("digit") || fault.contains("integer") || fault.contains("number too");
    let (_, value) =
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).filter(|_| fault)?;
    Some(format!("{name}: it is a whole number, not `{value}`"))
}

/// No query parameters at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoQuery {}

/// Which part of a listing that is read whole anyway.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Rows, 1 to 500; default 50.
    #[param(value_type = Option<u32>)]
    pub(super) limit: Option<String>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
}

/// Rows of a page when the request does not say.
const LIMIT: u32 = 50;
/// Rows of a page at most.
const LIMIT_MAX: u32 = 500;

/// Rows of a page.
pub(super) fn limit(asked: Option<&str>) -> Answer<u32> {
    let Some(text) = asked else { return Ok(LIMIT) };
    let bad = || Refusal::bad_request(format!("limit: it is a number from 1 to {LIMIT_MAX}, not `{text}`"));
    text.parse().ok().filter(|rows| (1..=LIMIT_MAX).contains(rows)).ok_or_else(bad)
}

impl PageQuery {
    /// Cuts the page out of all rows. The cursor is the number of rows before it.
    pub(super) fn page<T>(&self, rows: Vec<T>) -> Answer<ocelot_api::body::Page<T>> {
        let limit = limit(self.limit.as_deref())? as usize;
        let from = match self.cursor.as_deref() {
            None => 0,
            Some(text) => text
                .strip_prefix('p')
                .and_then(|digits| digits.parse::<usize>().ok())
                .ok_or_else(|| Refusal::bad_request("cursor is no cursor: give back what `next` said"))?,
        };
        let more = rows.len() > from.saturating_add(limit);
        let items = rows.into_iter().skip(from).take(limit).collect();
        Ok(ocelot_api::body::Page { items, next: more.then(|| format!("p{}", from + limit)) })
    }
}

/// Parts of a path as text; what cannot be decoded exists nowhere.
#[derive(Debug)]
pub(crate) struct Segments<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Segments<T>> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(path)| Segments(path)).map_err(|_| Refusal::not_found())
    }
}

/// A number as it is written: digits only, from 1, without zeros before it.
pub(super) fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    digits.then(|| text.parse().ok())?
}

/// A build's number.
pub(crate) fn build_number(text: &str) -> Option<BuildNumber> {
    number(text).map(BuildNumber)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers() {
        assert_eq!(number("12"), Some(12));
        assert_eq!(number("9223372036854775807"), Some(i64::MAX));
        for text in ["", "0", "-1", "+1", "01", "abc", "1.0", "9223372036854775808", "١"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
