//! Start and stop: the store, one port for HTTP and gRPC, the loops.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use axum::Router;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ocelot_model::access::Role;
use ocelot_store::{Options, Store, StoreError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::grpc::Fleet;
use crate::heads::{Connection, Heard};
use crate::{App, Config, admin, grpc, loops};

/// A database that is not there yet is waited for so long.
const DATABASE_WAIT: Duration = Duration::from_mins(1);
/// Connections get so long to end by themselves when the server stops.
const GOODBYE: Duration = Duration::from_secs(5);
/// A client must send its headers within this time.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    app: App,
    parts: Parts,
}

/// Opens everything and begins to serve; returns when requests are answered.
pub async fn start(config: Config) -> Result<Server> {
    crate::http::check_proxies(&config.trusted_proxies)
        .map_err(|words| anyhow!("--trusted-proxy: {words}"))?;
    std::fs::create_dir_all(&config.data)
        .with_context(|| format!("the folder {} cannot be made", config.data.display()))?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}; another program may have the port", config.listen))?;
    let address = listener.local_addr()?;
    let metrics_listener = match config.metrics_listen {
        Some(at) => {
            Some(TcpListener::bind(at).await.with_context(|| format!("cannot listen on {at} for metrics"))?)
        }
        None => None,
    };
    let store = open(&config).await?;
    let public_url = config.public_url.clone().unwrap_or_else(|| format!("http://{}", reachable(address)));
    let app = App {
        git: ocelot_forge::Git::with_http(&config.data, config.allow_local_repos, config.insecure_http),
        public_url: Arc::from(public_url.trim_end_matches('/')),
        fleet: Fleet::default(),
        shutdown: CancellationToken::new(),
        config: Arc::new(config),
        store,
    };
    admin::ensure_token(&app.store, &app.config.data.join("admin-token"), "admin", Role::Admin).await?;
    let mut parts = Parts::new(app.shutdown.clone());
    loops::start(&app, &mut parts);
    parts.spawn("listening", accept(listener, router(&app), app.shutdown.clone()));
    if let Some(listener) = metrics_listener {
        let router = crate::http::metrics_router(app.clone());
        parts.spawn("listening for metrics", accept(listener, router, app.shutdown.clone()));
    }
    tracing::info!(%address, url = %app.public_url, "server started");
    Ok(Server { address, app, parts })
}

impl Server {
    /// What its handlers and loops work with.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Address that people use.
    pub fn public_url(&self) -> &str {
        &self.app.public_url
    }

    /// Secret of the token that the worker beside this server uses.
    pub async fn local_worker_token(&self) -> Result<String> {
        let file = self.app.config.data.join("worker-token");
        admin::ensure_token(&self.app.store, &file, "worker", Role::Worker).await
    }

    /// Writes a token with which any number of workers enrol into `file`, unless a good one stands there.
    pub async fn write_worker_token(&self, file: &Path) -> Result<()> {
        admin::ensure_enrolment(&self.app.store, file).await
    }

    /// A link that signs the admin in, once, within an hour.
    pub async fn sign_in_link(&self) -> Result<String> {
        let secret = admin::sign_in_secret(&self.app.store, &self.app.config.data).await?;
        Ok(format!("{}/login/link/{secret}", self.app.public_url))
    }

    /// Ends when a part of the server dies, with its error.
    pub async fn wait(&mut self) -> Result<()> {
        self.parts.first_end().await
    }

    /// Stops: no more claims, streams end, the store is flushed.
    pub async fn stop(mut self) {
        self.app.fleet.going_away();
        self.app.shutdown.cancel();
        self.parts.all_ends().await;
        if tokio::time::timeout(GOODBYE, self.app.store.close()).await.is_err() {
            tracing::warn!("the database does not close in time");
        }
        tracing::info!("server stopped");
    }
}

/// What runs for as long as the server does.
#[derive(Debug)]
pub(crate) struct Parts {
    tasks: JoinSet<Result<()>>,
    shutdown: CancellationToken,
}

impl Parts {
    fn new(shutdown: CancellationToken) -> Parts {
        Parts { tasks: JoinSet::new(), shutdown }
    }

    /// Begins with one; it must not end before the server does.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        part: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            part.await.with_context(|| format!("a part of the server failed: {name}"))?;
            ensure!(shutdown.is_cancelled(), "a part of the server ended by itself: {name}");
            Ok(())
        });
    }

    async fn first_end(&mut self) -> Result<()> {
        match self.tasks.join_next().await {
            Some(Ok(end)) => end,
            Some(Err(panic)) => bail!("a part of the server failed: {panic}"),
            None => Ok(()),
        }
    }

    async fn all_ends(&mut self) {
        while !self.tasks.is_empty() {
            if let Err(error) = self.first_end().await {
                tracing::warn!("while stopping: {error:#}");
            }
        }
    }
}

/// The address as others can use it: one that stands for all of them is this machine.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}

/// A PostgreSQL that starts together with the server may come later; an SQLite file is there or it is not.
async fn open(config: &Config) -> Result<Store> {
    let options = Options { database_url: config.database_url.clone(), data: config.data.clone() };
    let patient = !config.database_url.starts_with("sqlite:");
    let begin = tokio::time::Instant::now();
    let mut pause = Duration::from_millis(250);
    loop {
        match Store::open(&options).await {
            Err(StoreError::Unavailable(why)) if patient && begin.elapsed() + pause < DATABASE_WAIT => {
                tracing::warn!(why, "the database does not answer yet; asking again in {pause:?}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            other => return other.context("the database cannot be opened"),
        }
    }
}

fn router(app: &App) -> Router {
    // The worker protocol knows its own paths only; what it does not know is HTTP's to answer.
    let mut grpc = tonic::service::Routes::new(grpc::service(app.clone())).into_axum_router();
    grpc = grpc.reset_fallback();
    crate::http::router(app.clone()).merge(grpc)
}

/// Serves HTTP/1.1 and HTTP/2 (with prior knowledge, as gRPC and proxies speak it) until the server stops.
async fn accept(listener: TcpListener, router: Router, shutdown: CancellationToken) -> Result<()> {
    let graceful = GracefulShutdown::new();
    let builder = builder();
    loop {
        let (socket, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: it passes.
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let _ = socket.set_nodelay(true);
        let heard = Heard::default();
        let hears = heard.clone();
        let service = router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            hears.mark(&mut request);
            request
        });
        let service = TowerToHyperService::new(service);
        let (builder, watcher, shutdown) = (builder.clone(), graceful.watcher(), shutdown.clone());
        tokio::spawn(async move {
            let speaks = tokio::time::timeout(HEADERS_WITHIN, says_something(&socket));
            let speaks = tokio::select! {
                () = shutdown.cancelled() => return,
                speaks = speaks => speaks,
            };
            let Ok(Ok(Some(protocol))) = speaks else { return };
            // Frames of HTTP/2 say themselves how long they are.
            let heard = (protocol == Protocol::Http1).then_some(heard);
            let connection = Connection::new(socket, heard);
            let connection = builder.serve_connection(TokioIo::new(connection), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(%error, %peer, "a connection ended badly");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(GOODBYE, graceful.shutdown()).await;
    Ok(())
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN).max_buf_size(64 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_header_list_size(64 << 10)
        .max_concurrent_streams(1000)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20);
    builder
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Waits until it is certain which protocol a connection speaks, without taking anything from it: what comes after this
/// has limits of its own. `None` when it was closed.
async fn says_something(socket: &TcpStream) -> std::io::Result<Option<Protocol>> {
    const HTTP2: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut seen = [0; HTTP2.len()];
    loop {
        let have = socket.peek(&mut seen).await?;
        if have == 0 {
            return Ok(None);
        }
        if seen[..have] != HTTP2[..have] {
            return Ok(Some(Protocol::Http1));
        }
        if have == seen.len() {
            return Ok(Some(Protocol::Http2));
        }
        // A half greeting stays readable, so there is nothing to be woken by.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
