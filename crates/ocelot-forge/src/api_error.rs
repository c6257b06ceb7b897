//! What can go wrong between Ocelot and a forge's API, said for people.

use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use ocelot_model::hidden::Hidden;
use serde_json::Value;

use crate::payload::line;

/// Longest that a forge may ask us to wait.
const WAIT_MAX: SignedDuration = SignedDuration::from_hours(24);
/// How long to wait when it does not say.
const WAIT: SignedDuration = SignedDuration::from_secs(60);

/// Why the forge did not do it. No text here holds credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The credentials are not taken.
    #[error("the forge does not take {what}: {} ({words})", if *.expired { "it has expired, make a new one" } else { "it is wrong or was revoked" })]
    Unauthorized {
        /// Which of them.
        what: &'static str,
        /// They were right once.
        expired: bool,
        /// The forge's words.
        words: String,
    },
    /// The credentials are right, and do not suffice.
    #[error("the credentials do not suffice: {0}")]
    Forbidden(String),
    /// It is not there, or the credentials do not reach it.
    #[error("not found, or the credentials do not reach it: {0}")]
    NotFound(String),
    /// Too many questions.
    #[error("the forge wants no more requests until {until:.0}")]
    RateLimited {
        /// When to ask again.
        until: Timestamp,
    },
    /// It does not answer, or says that it cannot now. Another try may do.
    #[error("the forge is not available: {0}")]
    Unavailable(String),
    /// What it answers is not what such a forge answers.
    #[error("the forge's answer makes no sense: {0}")]
    Nonsense(String),
    /// The answer is larger than what is read.
    #[error("the forge's answer is too large")]
    TooLarge,
    /// It says that the request is wrong.
    #[error("the forge refuses: {words} (status {status})")]
    Refused {
        /// Its status.
        status: u16,
        /// Its words.
        words: String,
    },
}

/// What an answer that is no success means. `what` names the credentials that were sent.
pub(crate) fn from_answer(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    what: &'static str,
    hidden: &Hidden,
) -> ApiError {
    // Hidden before they are cut: half a secret is none that is found.
    let words = line(&hidden.hide(&words(status, body)), 300);
    let number = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()?.parse::<i64>().ok());
    let is_used_up =
        number("x-ratelimit-remaining") == Some(0) || headers.contains_key("retry-after") || is_limit(&words);
    match status.as_u16() {
        401 => ApiError::Unauthorized { what, expired: words.to_lowercase().contains("expired"), words },
        403 if is_used_up => ApiError::RateLimited { until: until(number) },
        429 => ApiError::RateLimited { until: until(number) },
        403 => ApiError::Forbidden(words),
        404 | 410 => ApiError::NotFound(words),
        408 | 500.. => ApiError::Unavailable(format!("{words} (status {})", status.as_u16())),
        status => ApiError::Refused { status, words },
    }
}

fn is_limit(words: &str) -> bool {
    words.to_lowercase().contains("rate limit")
}

/// When to ask again, by the headers.
fn until(number: impl Fn(&str) -> Option<i64>) -> Timestamp {
    let now = Timestamp::now();
    let reset = || number("x-ratelimit-reset").or_else(|| number("ratelimit-reset"));
    let said = match number("retry-after") {
        Some(seconds) => now.checked_add(SignedDuration::from_secs(seconds)).ok(),
        None => reset().and_then(|second| Timestamp::from_second(second).ok()),
    };
    let latest = now.checked_add(WAIT_MAX).unwrap_or(now);
    match said {
        Some(time) if time > now => time.min(latest),
        Some(_) => now,
        None => now.checked_add(WAIT).unwrap_or(now),
    }
}

/// The forge's own words, wherever it puts them.
fn words(status: StatusCode, body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let places = ["/error/message", "/error_description", "/message", "/error"];
    let said = places.iter().find_map(|place| match json.pointer(place)? {
        Value::String(text) => Some(text.clone()),
        Value::Object(_) | Value::Array(_) if *place == "/message" => {
            json.pointer(place).map(Value::to_string)
        }
        _ => None,
    });
    let detail = json.pointer("/errors").filter(|errors| errors.is_array()).map(Value::to_string);
    match (said, detail) {
        (Some(said), Some(detail)) => format!("{said} {detail}"),
        (Some(said), None) => said,
        (None, _) => status.canonical_reason().unwrap_or("no reason given").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> ApiError {
        let headers = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap())
        });
        let status = StatusCode::from_u16(status).unwrap();
        let hidden = Hidden::default().value("canary-token");
        from_answer(status, &headers.collect(), body.as_bytes(), "the token", &hidden)
    }

    fn check(error: &ApiError, want: &str) {
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn credentials() {
        check(
            &answer(401, &[], r#"{"message":"Bad credentials"}"#),
            "the forge does not take the token: it is wrong or was revoked (Bad credentials)",
        );
        check(
            &answer(401, &[], r#"{"error":"invalid_token","error_description":"Token is expired."}"#),
            "the forge does not take the token: it has expired, make a new one (Token is expired.)",
        );
        check(
            &answer(401, &[], r#"{"type":"error","error":{"message":"Access token expired."}}"#),
            "the forge does not take the token: it has expired, make a new one (Access token expired.)",
        );
        check(
            &answer(403, &[], r#"{"message":"Resource not accessible by integration"}"#),
            "the credentials do not suffice: Resource not accessible by integration",
        );
    }

    #[test]
    fn too_many_requests() {
        let wait = |error: ApiError| match error {
            ApiError::RateLimited { until } => until.duration_since(Timestamp::now()).as_secs(),
            other => panic!("{other}"),
        };
        let reset = (Timestamp::now().as_second() + 600).to_string();
        let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset.as_str())];
        assert!((500..=600).contains(&wait(answer(403, &used_up, "{}"))));
        assert!((20..=30).contains(&wait(answer(429, &[("retry-after", "30")], ""))));
        assert!((50..=60).contains(&wait(answer(429, &[], ""))));
        let far = wait(answer(429, &[("retry-after", "9223372036854775807")], ""));
        assert!((50..=86_400).contains(&far), "{far}");
        assert!(wait(answer(429, &[("x-ratelimit-reset", "1")], "")) <= 0);
    }

    #[test]
    fn the_token_is_not_said_again() {
        // Its second half would be cut off.
        let body = format!(r#"{{"message":"{} canary-token"}}"#, "x".repeat(291));
        for body in [r#"{"message":"no canary\u002dtoken"}"#, r#"{"errors":["canary-token"]}"#, &body] {
            let said = answer(422, &[], body).to_string();
            assert!(!said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn others() {
        check(&answer(404, &[], ""), "not found, or the credentials do not reach it: Not Found");
        check(&answer(502, &[], "<html>"), "the forge is not available: Bad Gateway (status 502)");
        check(
            &answer(422, &[], r#"{"message":"Validation Failed","errors":[{"code":"custom"}]}"#),
            r#"the forge refuses: Validation Failed [{"code":"custom"}] (status 422)"#,
        );
        check(
            &answer(400, &[], r#"{"message":{"base":["x\u001b"]}}"#),
            r#"the forge refuses: {"base":["x\u001b"]} (status 400)"#,
        );
    }
}
