//! Start and stop: the store, one port for HTTP and gRPC, the loops.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use axum::Router;
use ocelot_model::access::Role;
use ocelot_store::{Options, Store, StoreError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::grpc::Fleet;
use crate::listen::{GOODBYE, accept};
use crate::tls::{self, Certificates};
use crate::{App, Config, admin, grpc, loops};

/// A database that is not there yet is waited for so long.
const DATABASE_WAIT: Duration = Duration::from_mins(1);

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
    let certificates = config.tls.as_ref().map(Certificates::load).transpose()?;
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
    store.limit_jobs_per_repo(config.max_jobs_per_repo);
    let scheme = if certificates.is_some() { "https" } else { "http" };
    let public_url =
        config.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}", reachable(address)));
    let app = App {
        git: ocelot_forge::Git::with_http(&config.data, config.allow_local_repos, config.insecure_http),
        public_url: Arc::from(public_url.trim_end_matches('/')),
        forges: crate::forges::Forges::default(),
        web: crate::notify::Web::new(config.insecure_http)?,
        fleet: Fleet::default(),
        stopping: CancellationToken::new(),
        live: crate::http::Live::default(),
        recent: crate::http::Recent::default(),
        hooks: crate::Hooks::default(),
        insights: crate::builds::insight::Insights::default(),
        shutdown: CancellationToken::new(),
        config: Arc::new(config),
        store,
    };
    admin::ensure_token(&app.store, &app.config.data.join("admin-token"), "admin", Role::Admin).await?;
    let mut parts = Parts::new(app.shutdown.clone());
    loops::start(&app, &mut parts);
    parts.spawn("listening", accept(listener, router(&app), certificates.clone(), app.shutdown.clone()));
    if let Some(certificates) = certificates {
        parts.spawn("looking at the certificate", tls::watch(certificates, app.shutdown.clone()));
    }
    if let Some(listener) = metrics_listener {
        let router = crate::http::metrics_router(app.clone());
        parts.spawn("listening for metrics", accept(listener, router, None, app.shutdown.clone()));
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

    /// True when it speaks TLS.
    pub fn is_encrypted(&self) -> bool {
        self.app.config.tls.is_some()
    }

    /// Where a worker in this process gets to it without TLS: the certificate is for the name that others use. With TLS
    /// that is a port of its own, which only this machine reaches.
    pub async fn plain_address(&mut self) -> Result<SocketAddr> {
        if !self.is_encrypted() {
            return Ok(self.address);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (router, shutdown) = (router(&self.app), self.app.shutdown.clone());
        self.parts.spawn("listening for the worker beside", accept(listener, router, None, shutdown));
        Ok(address)
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

    /// Stops: says so for a while, so that proxies send new requests elsewhere; then no more claims, open requests are
    /// finished, streams end, the store is flushed.
    pub async fn stop(mut self) {
        self.app.stopping.cancel();
        tokio::time::sleep(self.app.config.stop_delay).await;
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
    let options = Options {
        database_url: config.database_url.clone(),
        data: config.data.clone(),
        log_store: config.log_store.clone(),
        key_file: config.key_file.clone(),
    };
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
            other => return other.context("the database or the log store cannot be opened"),
        }
    }
}

fn router(app: &App) -> Router {
    // The worker protocol knows its own paths only; what it does not know is HTTP's to answer.
    let mut grpc = tonic::service::Routes::new(grpc::service(app.clone())).into_axum_router();
    grpc = grpc.reset_fallback();
    crate::http::router(app.clone()).merge(grpc)
}
