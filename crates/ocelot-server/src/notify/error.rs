//! Why a notification could not be sent, in words that hold no secret.

use jiff::{SignedDuration, Timestamp};
use ocelot_model::hidden::Hidden;
use ocelot_store::StoreError;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Longest that a place may ask us to wait, and how long we do when it does not say.
const WAIT_MAX: SignedDuration = SignedDuration::from_hours(24);
const WAIT: SignedDuration = SignedDuration::from_secs(60);

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// It is set up wrongly here.
    #[error("{0}")]
    Settings(String),
    /// The far side wants no such thing.
    #[error("the far side refuses: {0}")]
    Refused(String),
    /// It does not answer, or says that it cannot now.
    #[error("the far side is not available: {0}")]
    Unavailable(String),
    /// Too many.
    #[error("the far side wants no more until {until}")]
    Limited {
        /// When to come again.
        until: Timestamp,
    },
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NotifyError {
    /// The same without what was sent there, which a far side may have said back to us.
    pub(super) fn hide(self, hidden: &Hidden) -> NotifyError {
        self.map(|words| hidden.hide(&words))
    }

    /// The same, and who says so.
    pub(super) fn at(self, host: &str, port: u16) -> NotifyError {
        self.map(|words| format!("{host}:{port}: {words}"))
    }

    fn map(self, change: impl FnOnce(String) -> String) -> NotifyError {
        match self {
            NotifyError::Settings(words) => NotifyError::Settings(change(words)),
            NotifyError::Refused(words) => NotifyError::Refused(change(words)),
            NotifyError::Unavailable(words) => NotifyError::Unavailable(change(words)),
            other @ (NotifyError::Limited { .. } | NotifyError::Store(_)) => other,
        }
    }

    /// What an answer means that is no success.
    pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, words: &str) -> NotifyError {
        let said =
            if words.is_empty() { status.canonical_reason().unwrap_or("no reason given") } else { words };
        let code = status.as_u16();
        let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        match code {
            429 => NotifyError::Limited { until: until(after, Timestamp::now()) },
            503 if after.is_some() => NotifyError::Limited { until: until(after, Timestamp::now()) },
            300..=399 => {
                let words = format!("it leads to another place (status {code}), which is not followed");
                NotifyError::Refused(words)
            }
            408 | 500.. => NotifyError::Unavailable(format!("{said} (status {code})")),
            _ => NotifyError::Refused(format!("{said} (status {code})")),
        }
    }
}

/// When to come again: seconds, or a date.
fn until(after: Option<&str>, now: Timestamp) -> Timestamp {
    let seconds = |text: &str| Some(SignedDuration::from_secs(text.trim().parse::<u32>().ok()?.into()));
    let date = |text: &str| {
        let at = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(at.timestamp().duration_since(now).max(SignedDuration::ZERO))
    };
    let wait = after.and_then(|text| seconds(text).or_else(|| date(text))).unwrap_or(WAIT);
    now.checked_add(wait.min(WAIT_MAX)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_again() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let check = |after: Option<&str>, want: i64| {
            assert_eq!(until(after, now).duration_since(now).as_secs(), want, "{after:?}");
        };
        check(None, 60);
        check(Some("30"), 30);
        check(Some("soon"), 60);
        check(Some("-5"), 60);
        check(Some("4294967295"), 86_400);
        check(Some("Sun, 29 Nov 2026 12:10:00 GMT"), 600);
        check(Some("Sun, 29 Nov 2026 11:00:00 GMT"), 0);
    }

    #[test]
    fn what_answers_mean() {
        let check = |status: u16, want: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(NotifyError::of_answer(status, &HeaderMap::new(), "no_text").to_string(), want);
        };
        check(302, "the far side refuses: it leads to another place (status 302), which is not followed");
        check(404, "the far side refuses: no_text (status 404)");
        check(500, "the far side is not available: no_text (status 500)");
    }
}
