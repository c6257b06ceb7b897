//! A server in this process with a database in a folder of its own, and callers of each role.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ocelot_model::access::Role;
use ocelot_model::build::{Happening, Outcome};
use ocelot_model::{BuildNumber, StageId, Status, WorkerId};
use ocelot_server::{App, Config};
use ocelot_store::{Claimed, Hello, Identity, Options, StageUpdate, Store};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The smallest useful pipeline.
pub(crate) const SMALL: &str = "image: busybox\nstages:\n  - name: test\n    script: [echo hello]\n";

/// A server that runs until it is dropped.
pub(crate) struct Room {
    pub(crate) app: App,
    pub(crate) url: String,
    pub(crate) admin: String,
    pub(crate) client: reqwest::Client,
    folder: TempDir,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.app.shutdown.cancel();
    }
}

/// Options of a server in `folder`.
pub(crate) fn config(folder: &Path) -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        database_url: format!("sqlite://{}/ocelot.db", folder.display()),
        data: folder.to_owned(),
        log_store: ocelot_store::LogStoreOptions::default(),
        public_url: None,
        tls: None,
        trusted_proxies: Vec::new(),
        metrics_listen: None,
        allow_local_repos: true,
        key_file: None,
        insecure_http: false,
        lease_hard_limit: Duration::from_mins(3),
        lease_grace: Duration::from_mins(1),
        queue_timeout: Duration::from_hours(24),
        approval_timeout: Duration::from_hours(24),
        reconcile_every: Duration::from_mins(15),
        limits: ocelot_model::pipeline::Limits::default(),
        max_jobs_per_repo: None,
        stop_delay: Duration::ZERO,
        keep: ocelot_server::Keep::default(),
        patience: ocelot_server::Patience::default(),
    }
}

impl Room {
    pub(crate) async fn new() -> Room {
        let folder = tempfile::tempdir().unwrap();
        let caches = folder.path().to_owned();
        Room::fetching_into(&caches, folder).await
    }

    /// One that keeps what it fetches of repositories here, and all else in `folder`.
    pub(crate) async fn fetching_into(caches: &Path, folder: TempDir) -> Room {
        let config = config(folder.path());
        let options = Options {
            database_url: config.database_url.clone(),
            data: config.data.clone(),
            log_store: config.log_store.clone(),
            key_file: None,
        };
        let store = Store::open(&options).await.unwrap();
        let listener = tokio::net::TcpListener::bind(config.listen).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = App {
            git: ocelot_forge::Git::new(caches, true),
            public_url: Arc::from(url.as_str()),
            forges: ocelot_server::forges::Forges::default(),
            web: ocelot_server::notify::Web::new(false).unwrap(),
            fleet: ocelot_server::grpc::Fleet::default(),
            stopping: CancellationToken::new(),
            live: ocelot_server::http::Live::default(),
            recent: ocelot_server::http::Recent::default(),
            hooks: ocelot_server::Hooks::default(),
            insights: ocelot_server::Insights::default(),
            shutdown: CancellationToken::new(),
            config: Arc::new(config),
            store,
        };
        let router = ocelot_server::http::router(app.clone());
        let stop = app.shutdown.clone();
        tokio::spawn(async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await }).await
        });
        let (_, admin) = app.store.create_token("root", Role::Admin, &[], None, "tests").await.unwrap();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Room { app, url, admin, client, folder }
    }

    /// A further token.
    pub(crate) async fn token(&self, role: Role, repos: &[&str]) -> String {
        let repos: Vec<String> = repos.iter().map(|repo| (*repo).to_owned()).collect();
        let name = format!("{role} {}", repos.join(" ").replace('/', "-"));
        self.app.store.create_token(name.trim(), role, &repos, None, "tests").await.unwrap().1
    }

    /// A request without a token.
    pub(crate) fn plain(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A request of the admin.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.plain(method, path).bearer_auth(&self.admin)
    }

    /// GET as admin; status and body.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    /// POST as admin; status and body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).json(body)).await
    }

    /// A git repository with one commit of these files; its path.
    pub(crate) fn repository(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = self.folder.path().join("repos").join(name);
        std::fs::create_dir_all(&path).unwrap();
        git(&path, &["init", "-q", "-b", "main"]);
        commit(&path, files);
        path
    }

    /// A repository that the server knows, as `git/NAME`.
    pub(crate) async fn known(&self, name: &str, yml: &str) -> PathBuf {
        let path = self.repository(name, &[("ocelot.yml", yml)]);
        let (status, body) = self.post("/api/v1/repos", &json!({"clone_url": path, "name": name})).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        path
    }

    /// A build of `main` of `git/NAME`.
    pub(crate) async fn build(&self, name: &str) -> BuildNumber {
        let (status, body) = self.post("/api/v1/builds", &json!({"repo": format!("git/{name}")})).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        BuildNumber(body["number"].as_i64().unwrap())
    }

    /// A worker that says hello, without a connection.
    pub(crate) async fn worker(&self) -> WorkerId {
        self.worker_with("w1", "docker").await
    }

    /// The same with a name and an executor.
    pub(crate) async fn worker_with(&self, name: &str, executor: &str) -> WorkerId {
        let token = format!("token of {name}");
        let (token, _) = self.app.store.create_token(&token, Role::Worker, &[], None, "tests").await.unwrap();
        let hello = Hello {
            identity: Identity::Token(token.id),
            name: name.to_owned(),
            labels: [("executor".to_owned(), executor.to_owned())].into(),
            slots: 4,
            version: "0".to_owned(),
            sharing: "same-paths".to_owned(),
            condition: None,
            process: String::new(),
        };
        self.app.store.worker_hello(&hello).await.unwrap()
    }

    /// The worker takes the next job.
    pub(crate) async fn claim(&self, worker: WorkerId) -> Claimed {
        let claimed = self.app.store.claim(worker).await.unwrap().unwrap();
        self.app.store.accept(&claimed.lease).await.unwrap();
        claimed
    }

    /// A stage begins, or ends.
    pub(crate) async fn stage(&self, job: &Claimed, id: StageId, status: Status) {
        let exit_code = status.is_terminal().then_some(i32::from(!status.is_good()));
        let update = StageUpdate { id, status, exit_code, duration_ms: Some(5), reason: None };
        self.app.store.set_stage(&job.lease, &update).await.unwrap();
    }

    /// Log bytes arrive.
    pub(crate) async fn log(&self, stage: StageId, offset: u64, data: &[u8]) {
        let marks = [ocelot_store::Mark { at: 0, time_us: 1_000_000 * (offset as i64 + 1) }];
        self.app.store.append_log(stage, offset, data, &marks).await.unwrap();
    }

    /// A log ends.
    pub(crate) async fn log_end(&self, stage: StageId, data: &[u8]) {
        use sha2::Digest as _;
        let hash = sha2::Sha256::digest(data);
        self.app.store.finish_log(stage, data.len() as u64, &hash).await.unwrap();
    }

    /// The attempt is over.
    pub(crate) async fn finish(&self, job: &Claimed, status: Status) {
        self.finish_with(job, Outcome { status, reason: None, infrastructure: false }).await;
    }

    /// The attempt is over in this way.
    pub(crate) async fn finish_with(&self, job: &Claimed, outcome: Outcome) {
        let what = Happening::Finished { job: job.job_id, attempt: job.lease.attempt, outcome };
        self.app.store.advance(job.build.number, what).await.unwrap();
    }
}

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(ocelot_server::http::describe::openapi()).unwrap());

/// Every answer that a test gets must be one that the `OpenAPI` document promises.
fn check_declared(method: &Method, path: &str, status: StatusCode) {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let own: Vec<&str> = template.split('/').collect();
        let rest = template.ends_with("{handle}") && parts.len() >= own.len();
        (rest || own.len() == parts.len())
            && own.iter().zip(&parts).all(|(own, part)| own.starts_with('{') || own == part)
    };
    let name = if *method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let Some((template, item)) = paths.iter().find(|(template, _)| fits(template)) else { return };
    // What is said about any request at all is not repeated for each.
    let common = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::URI_TOO_LONG].contains(&status);
    if item[&name].is_object() && !common {
        let declared = &item[&name]["responses"];
        assert!(declared[status.as_str()].is_object(), "{method} {template} does not declare {status}");
    }
}

/// Sends it; status and body as JSON.
pub(crate) async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.unwrap();
    let status = response.status();
    check_declared(&method, &path, status);
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Runs git in a folder.
pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// Commits these files; the commit's id.
pub(crate) fn commit(folder: &Path, files: &[(&str, &str)]) -> String {
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-q", "--allow-empty", "-m", "a change"]);
    git(folder, &["rev-parse", "HEAD"])
}
