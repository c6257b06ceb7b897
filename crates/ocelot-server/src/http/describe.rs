//! The `OpenAPI` document: what handlers say about themselves, completed by what the table of routes knows about all of
//! them, so that no handler has to repeat it.

use axum::http::{Method, StatusCode};
use ocelot_api::Problem;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::Response;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Components, Content, Info, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr};
use utoipa::{PartialSchema as _, ToSchema as _};
use utoipa_axum::router::OpenApiRouter;

use super::guard::Right;
use super::router::{Handler, Route, table};

/// Names of the two ways to say who one is.
const TOKEN: &str = "token";
const SESSION: &str = "session";

/// The document of all routes that programs use.
pub fn openapi() -> OpenApi {
    let empty = OpenApiBuilder::new().info(info()).build();
    let mut router = OpenApiRouter::with_openapi(empty);
    let mut routes = Vec::new();
    for Route { method, path, right, handler } in table() {
        if let Handler::Api(handler) = handler {
            router = router.routes(handler);
            routes.push((method, path, right));
        }
    }
    let mut document = router.into_openapi();
    for (method, path, right) in routes {
        let item = document.paths.paths.get_mut(&path.replace("{*", "{"));
        if let Some(operation) = item.and_then(|item| operation(item, &method)) {
            complete(operation, path, right, method != Method::GET);
        }
    }
    let components = document.components.get_or_insert_default();
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    schemes(components);
    document
}

fn info() -> Info {
    let words = "A CI server. Times are RFC 3339 in UTC, durations milliseconds (`…_ms`), errors `application/problem+json`. \
                 What one may not see answers like what does not exist.";
    InfoBuilder::new().title("Ocelot").version(env!("CARGO_PKG_VERSION")).description(Some(words)).build()
}

fn schemes(components: &mut Components) {
    let token = Http::new(HttpAuthScheme::Bearer);
    components.add_security_scheme(TOKEN, SecurityScheme::Http(token));
    let words = "Set by the sign-in page; `__Host-ocelot_session` over https.";
    let session = ApiKeyValue::with_description("ocelot_session", words);
    components.add_security_scheme(SESSION, SecurityScheme::ApiKey(ApiKey::Cookie(session)));
}

fn operation<'a>(item: &'a mut PathItem, method: &Method) -> Option<&'a mut Operation> {
    match *method {
        Method::GET => item.get.as_mut(),
        Method::POST => item.post.as_mut(),
        Method::PATCH => item.patch.as_mut(),
        Method::DELETE => item.delete.as_mut(),
        _ => None,
    }
}

fn complete(operation: &mut Operation, path: &str, right: Right, changes: bool) {
    let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
    let own = operation.operation_id.take().unwrap_or_default();
    operation.operation_id = Some(format!("{tag}_{own}"));
    operation.security = Some(security(right, changes));
    for (status, words) in common(operation, path, right, changes) {
        let declared = &mut operation.responses.responses;
        declared.entry(status.as_str().to_owned()).or_insert_with(|| RefOr::T(Response::new(words)));
    }
    for (code, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let status = code.parse::<StatusCode>().ok();
        if response.description.is_empty() {
            let words = status.and_then(|status| status.canonical_reason()).unwrap_or("The answer");
            words.clone_into(&mut response.description);
        }
        if status.is_some_and(|status| status.as_u16() >= 400) {
            response.content.insert("application/problem+json".to_owned(), problem());
        }
    }
    let mut other = Response::new("Any other error");
    other.content.insert("application/problem+json".to_owned(), problem());
    operation.responses.responses.insert("default".to_owned(), RefOr::T(other));
}

fn problem() -> RefOr<Content> {
    RefOr::T(Content::new(Some(RefOr::<utoipa::openapi::Schema>::Ref(
        Ref::from_schema_name(Problem::name()),
    ))))
}

fn security(right: Right, changes: bool) -> Vec<SecurityRequirement> {
    let named = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
    let open = SecurityRequirement::default();
    match right {
        Right::Public | Right::SignIn | Right::Signature | Right::Page => vec![open],
        // Public repositories can be read by everyone.
        Right::Repo if !changes => vec![named(TOKEN), named(SESSION), open],
        Right::Repo | Right::SignedIn | Right::Whole(_) => vec![named(TOKEN), named(SESSION)],
    }
}

/// What every route of this kind may answer.
fn common(operation: &Operation, path: &str, right: Right, changes: bool) -> Vec<(StatusCode, &'static str)> {
    let knows_callers = right != Right::Public;
    let rows = [
        (knows_callers, StatusCode::BAD_REQUEST, "The request makes no sense; `detail` says why"),
        (knows_callers, StatusCode::UNAUTHORIZED, "No token, or one that does not hold"),
        (
            changes || matches!(right, Right::Whole(_)) || path.ends_with("/events"),
            StatusCode::FORBIDDEN,
            "The token's role does not allow it, or another site's page sends this",
        ),
        (path.contains('{'), StatusCode::NOT_FOUND, "It does not exist, or the caller may not see it"),
        (operation.request_body.is_some(), StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time"),
        (operation.request_body.is_some(), StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
        (
            operation.request_body.is_some(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The body is no JSON, or it is compressed",
        ),
        (
            knows_callers,
            StatusCode::SERVICE_UNAVAILABLE,
            "The database does not answer; try again in a moment",
        ),
    ];
    rows.into_iter().filter(|(holds, ..)| *holds).map(|(_, status, words)| (status, words)).collect()
}
