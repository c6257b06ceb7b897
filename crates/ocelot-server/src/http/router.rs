//! The one table of routes: method, path, right, handler. It makes the router and the `OpenAPI`
//! document, and a test walks it to prove that nothing is open by accident.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use ocelot_model::access::Action;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::UtoipaMethodRouter;
use utoipa_axum::routes;

use super::guard::{Gate, Right, guard};
use super::{
    audit, badges, builds, creds, deliveries, events, export, fleet, forges, insights, logs, middleware,
    notifications, pause, repos, secrets, session, stats, status, subscriptions, times, tokens, webhook,
    workers,
};
use crate::App;
use crate::site;

/// One row of the table.
pub struct Route {
    /// Method.
    pub method: Method,
    /// Path as the router has it.
    pub path: &'static str,
    /// Who may call it.
    pub right: Right,
    pub(super) handler: Handler,
}

pub(super) enum Handler {
    /// Described in the `OpenAPI` document.
    Api(UtoipaMethodRouter<App>),
    /// For browsers.
    Page(MethodRouter<App>),
}

impl Route {
    /// True when it belongs into the `OpenAPI` document.
    pub fn is_api(&self) -> bool {
        matches!(self.handler, Handler::Api(_))
    }
}

fn api(method: Method, path: &'static str, right: Right, handler: UtoipaMethodRouter<App>) -> Route {
    Route { method, path, right, handler: Handler::Api(handler) }
}

fn page(method: Method, path: &'static str, right: Right, handler: MethodRouter<App>) -> Route {
    Route { method, path, right, handler: Handler::Page(handler) }
}

/// All routes.
pub fn table() -> Vec<Route> {
    let mut routes = api_table();
    routes.extend(page_table());
    routes
}

#[rustfmt::skip]
fn api_table() -> Vec<Route> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PATCH: Method = Method::PATCH;
    const DELETE: Method = Method::DELETE;
    const FLEET: Right = Right::Whole(Action::ReadFleet);
    const ADMIN: Right = Right::Whole(Action::Administer);
    const METRICS: Right = Right::Whole(Action::ReadMetrics);
    vec![
        api(GET,    "/healthz",                                 Right::Public,   routes!(status::health)),
        api(GET,    "/readyz",                                  Right::Public,   routes!(status::ready)),
        api(GET,    "/api/openapi.json",                        Right::Public,   routes!(status::openapi)),
        api(GET,    "/metrics",                                 METRICS,         routes!(status::numbers)),
        api(GET,    "/api/v1/builds",                           Right::Repo,     routes!(builds::list)),
        api(POST,   "/api/v1/builds",                           Right::Repo,     routes!(builds::create)),
        api(GET,    "/api/v1/builds/{number}",                  Right::Repo,     routes!(builds::show)),
        api(POST,   "/api/v1/builds/{number}/cancel",           Right::Repo,     routes!(builds::cancel)),
        api(POST,   "/api/v1/builds/{number}/approve",          Right::Repo,     routes!(builds::approve)),
        api(POST,   "/api/v1/builds/{number}/retry",            Right::Repo,     routes!(builds::retry)),
        api(GET,    "/api/v1/builds/{number}/insights",         Right::Repo,     routes!(insights::insights)),
        api(GET,    "/api/v1/builds/{number}/log",              Right::Repo,     routes!(logs::build)),
        api(GET,    "/api/v1/builds/{number}/stages/{id}/log",  Right::Repo,     routes!(logs::stage)),
        api(DELETE, "/api/v1/builds/{number}/stages/{id}/log",  Right::Repo,     routes!(logs::delete)),
        api(GET,    "/api/v1/builds/{number}/events",           Right::Repo,     routes!(events::build)),
        api(GET,    "/api/v1/events",                           Right::Repo,     routes!(events::all)),
        api(GET,    "/api/v1/stats",                            Right::Repo,     routes!(stats::show)),
        api(GET,    "/api/v1/export",                           Right::Repo,     routes!(export::export)),
        api(GET,    "/badges/{*handle}",                        Right::Public,   routes!(badges::show)),
        api(GET,    "/api/v1/badges/{*handle}",                 Right::Repo,     routes!(badges::describe)),
        api(POST,   "/api/v1/badges/{*handle}",                 Right::Repo,     routes!(badges::make)),
        api(DELETE, "/api/v1/badges/{*handle}",                 Right::Repo,     routes!(badges::remove)),
        api(GET,    "/api/v1/repos",                            Right::Repo,     routes!(repos::list)),
        api(POST,   "/api/v1/repos",                            Right::SignedIn, routes!(repos::add)),
        api(GET,    "/api/v1/repos/{*handle}",                  Right::Repo,     routes!(repos::show)),
        api(PATCH,  "/api/v1/repos/{*handle}",                  Right::Repo,     routes!(repos::change)),
        api(DELETE, "/api/v1/repos/{*handle}",                  Right::Repo,     routes!(repos::remove)),
        api(POST,   "/api/v1/watch/{*handle}",                  Right::Repo,     routes!(forges::watch)),
        api(DELETE, "/api/v1/watch/{*handle}",                  Right::Repo,     routes!(forges::unwatch)),
        api(GET,    "/api/v1/forges",                           Right::SignedIn, routes!(forges::list)),
        api(POST,   "/api/v1/forges",                           ADMIN,           routes!(forges::add)),
        api(PATCH,  "/api/v1/forges/{name}",                    ADMIN,           routes!(forges::change)),
        api(DELETE, "/api/v1/forges/{name}",                    ADMIN,           routes!(forges::remove)),
        api(GET,    "/api/v1/forges/{name}/repos",              ADMIN,           routes!(forges::repos)),
        api(GET,    "/api/v1/deliveries",                       Right::Repo,     routes!(deliveries::list)),
        api(GET,    "/api/v1/deliveries/{id}",                  Right::Repo,     routes!(deliveries::show)),
        api(POST,   "/api/v1/deliveries/{id}/replay",           Right::Repo,     routes!(deliveries::replay)),
        api(GET,    "/api/v1/audit",                            ADMIN,           routes!(audit::list)),
        api(POST,   "/hooks/{forge}",                           Right::Signature, routes!(webhook::of_forge)),
        api(POST,   "/hooks/{forge}/{hook}",                    Right::Signature, routes!(webhook::of_repo)),
        api(GET,    "/api/v1/polls",                            Right::Repo,     routes!(times::polls)),
        api(POST,   "/api/v1/polls",                            Right::Repo,     routes!(times::add_poll)),
        api(DELETE, "/api/v1/polls/{*handle}",                  Right::Repo,     routes!(times::remove_poll)),
        api(GET,    "/api/v1/schedules",                        Right::Repo,     routes!(times::schedules)),
        api(POST,   "/api/v1/schedules",                        Right::Repo,     routes!(times::add_schedule)),
        api(DELETE, "/api/v1/schedules/{id}",                   Right::Repo,     routes!(times::remove_schedule)),
        api(GET,    "/api/v1/subscriptions",                    Right::Repo,     routes!(subscriptions::list)),
        api(GET,    "/api/v1/subscriptions/graph",              Right::Repo,     routes!(subscriptions::graph)),
        api(GET,    "/api/v1/workers",                          FLEET,           routes!(fleet::workers)),
        api(DELETE, "/api/v1/workers/{id}",                     ADMIN,           routes!(workers::remove)),
        api(POST,   "/api/v1/workers/{id}/drain",               ADMIN,           routes!(workers::drain)),
        api(POST,   "/api/v1/workers/{id}/resume",              ADMIN,           routes!(workers::resume)),
        api(GET,    "/api/v1/worker-tokens",                    ADMIN,           routes!(workers::tokens)),
        api(POST,   "/api/v1/worker-tokens",                    ADMIN,           routes!(workers::create_token)),
        api(DELETE, "/api/v1/worker-tokens/{id}",               ADMIN,           routes!(workers::revoke_token)),
        api(GET,    "/api/v1/queue",                            FLEET,           routes!(fleet::queue)),
        api(GET,    "/api/v1/pause",                            FLEET,           routes!(pause::show)),
        api(POST,   "/api/v1/pause",                            ADMIN,           routes!(pause::pause)),
        api(POST,   "/api/v1/unpause",                          ADMIN,           routes!(pause::unpause)),
        api(GET,    "/api/v1/tokens",                           ADMIN,           routes!(tokens::list)),
        api(POST,   "/api/v1/tokens",                           ADMIN,           routes!(tokens::create)),
        api(DELETE, "/api/v1/tokens/{id}",                      ADMIN,           routes!(tokens::revoke)),
        api(GET,    "/api/v1/secrets",                          Right::SignedIn, routes!(secrets::list)),
        api(POST,   "/api/v1/secrets",                          Right::SignedIn, routes!(secrets::add)),
        api(DELETE, "/api/v1/secrets/{id}",                     Right::SignedIn, routes!(secrets::remove)),
        api(GET,    "/api/v1/credentials",                      Right::SignedIn, routes!(secrets::list_credentials)),
        api(POST,   "/api/v1/credentials",                      Right::SignedIn, routes!(secrets::add_credential)),
        api(DELETE, "/api/v1/credentials/{id}",                 Right::SignedIn, routes!(secrets::remove_credential)),
        api(GET,    "/api/v1/creds/{kind}",                     Right::SignedIn, routes!(creds::list_original)),
        api(POST,   "/api/v1/creds/{kind}",                     Right::SignedIn, routes!(creds::add_original)),
        api(DELETE, "/api/v1/creds/{kind}/{account}/{identifier}", Right::SignedIn, routes!(creds::remove_original)),
        api(GET,    "/api/v1/notifications",                    Right::Repo,     routes!(notifications::list)),
        api(POST,   "/api/v1/notifications/test",               Right::SignedIn, routes!(notifications::test)),
        api(GET,    "/api/v1/whoami",                           Right::SignedIn, routes!(tokens::whoami)),
    ]
}

#[rustfmt::skip]
fn page_table() -> Vec<Route> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    vec![
        page(POST, "/login",                              Right::SignIn, post(session::login)),
        page(GET,  "/login/link/{secret}",                Right::Public, get(site::sign_in::link)),
        page(POST, "/login/link/{secret}",                Right::SignIn, post(session::link)),
        page(POST, "/logout",                             Right::Public, post(session::logout)),
        page(GET,  "/login",                              Right::Public, get(site::sign_in::show)),
        page(GET,  "/assets/{name}",                      Right::Public, get(site::assets::asset)),
        page(GET,  "/",                                   Right::Page,   get(site::builds::list)),
        page(GET,  "/stats",                              Right::Page,   get(site::stats::show)),
        page(GET,  "/builds/{number}",                    Right::Page,   get(site::build::show)),
        page(GET,  "/builds/{number}/stages/{id}/lines",  Right::Page,   get(site::build::lines)),
        page(POST, "/builds/{number}/cancel",             Right::Page,   post(site::build::cancel)),
        page(POST, "/builds/{number}/approve",            Right::Page,   post(site::build::approve)),
        page(POST, "/builds/{number}/retry",              Right::Page,   post(site::build::retry)),
    ]
}

/// All of HTTP. Whoever serves it adds `ConnectInfo<SocketAddr>` with the peer's address.
pub fn router(app: App) -> Router {
    crate::metrics::begin();
    let gate = Gate::new(app.clone());
    let mut router = Router::new();
    for route in table() {
        let handler = match route.handler {
            Handler::Api((_, _, handler)) | Handler::Page(handler) => handler,
        };
        let handler = match route.right {
            Right::Signature => handler.layer(DefaultBodyLimit::max(middleware::WEBHOOK_MAX)),
            _ => handler,
        };
        let layer = from_fn_with_state((Arc::clone(&gate), route.right), guard);
        router = router.route(route.path, handler.route_layer(layer));
    }
    around(router).with_state(app)
}

/// `/metrics` alone and open, for the listener that an admin set up for it.
pub fn metrics_router(app: App) -> Router {
    around(Router::new().route("/metrics", get(status::numbers))).with_state(app)
}

fn around(router: Router<App>) -> Router<App> {
    router
        .fallback(middleware::no_path)
        .method_not_allowed_fallback(middleware::no_method)
        .layer(DefaultBodyLimit::max(middleware::BODY_MAX))
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn(middleware::outer))
}
