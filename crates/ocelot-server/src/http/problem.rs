//! Every error leaves here, as `application/problem+json`.
//!
//! A client's mistake is a 4xx that says what to do. Our own fault is a bare 500; what happened
//! stands in the log only, found by the request's id.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ocelot_api::Problem;
use ocelot_forge::ApiError;
use ocelot_store::StoreError;

use crate::builds::trigger::TriggerError;
use crate::forges::ForgeError;

/// What every handler answers.
pub type Answer<T> = Result<T, Refusal>;

/// An answer that says no.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What the caller gets to read.
    pub problem: Box<Problem>,
    /// A header that belongs to it, such as `Retry-After`.
    pub header: Option<Box<(HeaderName, HeaderValue)>>,
    /// What happened, for the log only.
    pub cause: Option<String>,
}

impl Refusal {
    /// A refusal with these words.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Refusal {
        let problem = Box::new(Problem {
            status: status.as_u16(),
            code: code.to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            detail: detail.into(),
            request_id: None,
        });
        Refusal { problem, header: None, cause: None }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// 401: no token, or one that does not hold.
    pub fn unauthorized(detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403: known, but not allowed.
    pub fn forbidden(detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404, word for word the same for what is missing and for what one may not see.
    pub fn not_found() -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "not_found", "It does not exist, or you may not see it.")
    }

    /// 409: it is not in a state for that.
    pub fn conflict(detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// 422: understood, but it cannot be done.
    pub fn unprocessable(code: &str, detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 500: our own fault.
    pub fn internal(cause: impl std::fmt::Display) -> Refusal {
        let detail = "Ocelot made a mistake. Its log has more under this request's id.";
        let mut refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
        refusal.cause = Some(cause.to_string());
        refusal
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Refusal {
        self.header = Some(Box::new((name, value)));
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = render(&self.problem);
        if let Some((name, value)) = self.header.as_deref() {
            response.headers_mut().insert(name, value.clone());
        }
        // `middleware::finish` writes the log line and gives a 5xx its request id.
        response.extensions_mut().insert(self);
        response
    }
}

/// The problem as a response.
pub(super) fn render(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let kind = HeaderValue::from_static("application/problem+json");
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        match error {
            StoreError::NotFound(_) => Refusal::not_found(),
            StoreError::Conflict(why) => Refusal::conflict(why),
            StoreError::Stale => Refusal::conflict(error.to_string()),
            StoreError::Unavailable(_) | StoreError::LogStore(_) => {
                let outage = error.outage().unwrap_or_default();
                unavailable(&format!("{outage} Try again in a moment."), error.to_string())
            }
            StoreError::Overtaken => {
                unavailable("Other builds of this branch came in between. Try again.", error.to_string())
            }
            StoreError::LogMissing(why) => {
                let words = "This log is missing in the log store, where it was put when it was finished. Whoever runs \
                             this server finds its name in the server's log, under this request's id.";
                let mut refusal = Refusal::new(StatusCode::BAD_GATEWAY, "log_missing", words);
                refusal.cause = Some(why);
                refusal
            }
            StoreError::Sql(_) | StoreError::Corrupt(_) => Refusal::internal(error),
        }
    }
}

fn unavailable(detail: &str, why: String) -> Refusal {
    let mut refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
        .with(header::RETRY_AFTER, HeaderValue::from_static("5"));
    refusal.cause = Some(why);
    refusal
}

impl From<TriggerError> for Refusal {
    fn from(error: TriggerError) -> Refusal {
        match error {
            TriggerError::Store(error) => error.into(),
            TriggerError::Unsupported(why) => Refusal::unprocessable("not_supported", why),
            TriggerError::BadRequest(why) => Refusal::bad_request(why),
            TriggerError::NoFile(why) => Refusal::unprocessable("no_pipeline", why),
            TriggerError::Excluded(why) => Refusal::new(StatusCode::CONFLICT, "excluded", why),
            TriggerError::State(why) => Refusal::conflict(why),
            TriggerError::Git(error) => error.into(),
            TriggerError::Forge(error) => error.into(),
        }
    }
}

impl From<ForgeError> for Refusal {
    fn from(error: ForgeError) -> Refusal {
        let detail = error.to_string();
        match error {
            ForgeError::Store(error) => error.into(),
            ForgeError::Unknown(_) => Refusal::unprocessable("unknown_forge", detail),
            ForgeError::PlainGit(_) => Refusal::unprocessable("plain_git", detail),
            ForgeError::BadRequest(_) => Refusal::bad_request(detail),
            ForgeError::Settings(_) => Refusal::unprocessable("forge_settings", detail),
            ForgeError::Api { error, .. } => of_forge(&error, detail),
        }
    }
}

/// What the forge says, in our words.
fn of_forge(error: &ApiError, detail: String) -> Refusal {
    match error {
        ApiError::Unauthorized { .. } => Refusal::unprocessable("forge_credentials", detail),
        ApiError::Forbidden(_) => Refusal::unprocessable("forge_forbids", detail),
        ApiError::NotFound(_) => Refusal::unprocessable("not_at_forge", detail),
        ApiError::Refused { .. } => Refusal::unprocessable("forge_refuses", detail),
        ApiError::RateLimited { until } => {
            let seconds = until.duration_since(jiff::Timestamp::now()).as_secs().max(1);
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "forge_limit", detail)
                .with(header::RETRY_AFTER, HeaderValue::from(seconds))
        }
        ApiError::Unavailable(_) | ApiError::Nonsense(_) | ApiError::TooLarge => {
            Refusal::new(StatusCode::BAD_GATEWAY, "forge_failed", detail)
        }
    }
}

impl From<ocelot_forge::GitError> for Refusal {
    fn from(error: ocelot_forge::GitError) -> Refusal {
        use ocelot_forge::GitError;
        let detail = error.to_string();
        match error {
            GitError::BadUrl(_) => Refusal::new(StatusCode::BAD_REQUEST, "bad_url", detail),
            GitError::NotFound(_) => Refusal::unprocessable("repository_not_found", detail),
            GitError::NoAccess { .. } => Refusal::unprocessable("no_access", detail),
            GitError::NoDefaultBranch(_)
            | GitError::NoBranch { .. }
            | GitError::NoCommit { .. }
            | GitError::TooLarge(_) => Refusal::unprocessable("no_such_revision", detail),
            GitError::Timeout { .. } => Refusal::new(StatusCode::GATEWAY_TIMEOUT, "git_timeout", detail),
            GitError::DiskFull(why) => unavailable(
                "The server's disk is full, so it cannot fetch the repository. Try again when there is room.",
                why,
            ),
            GitError::Failed(_) => Refusal::new(StatusCode::BAD_GATEWAY, "git_failed", detail),
            GitError::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                GitError::DiskFull(error.to_string()).into()
            }
            GitError::Io(error) => Refusal::internal(error),
        }
    }
}
