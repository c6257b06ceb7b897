//! A server with a forge that it knows only by name, a real git repository that it clones, and webhooks signed like the
//! forge's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ocelot_model::ForgeKind;
use ocelot_server::{Config, LogPlace, LogStoreOptions, Server};
use ocelot_store::{Hook, NewForge, NewRepo, Repo};
use ocelot_testkit::Postgres;
use ocelot_testkit::forge::{Scene, Told, Webhook};
use reqwest::{RequestBuilder, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::room::{SMALL, answer, commit, config, git};

/// What the forge signs with when it sends for all of its repositories.
pub(super) const FORGE_SECRET: &str = "the-forge-s-own";
/// Longest wait for something that must come.
const DEADLINE: Duration = Duration::from_mins(1);

/// What a server keeps its state in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Database {
    Sqlite,
    Postgres,
}

pub(super) struct World {
    pub(super) kind: ForgeKind,
    pub(super) server: Server,
    pub(super) client: reqwest::Client,
    pub(super) admin: String,
    pub(super) hook: Hook,
    pub(super) git: PathBuf,
    pub(super) folder: TempDir,
    config: Config,
}

impl World {
    pub(super) async fn new(database: Database) -> World {
        World::of(database, ForgeKind::Github, SMALL, |_| {}).await
    }

    /// A forge of this kind, a repository with this file, and other options.
    pub(super) async fn of(database: Database, kind: ForgeKind, yml: &str, change: fn(&mut Config)) -> World {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        if database == Database::Postgres {
            let made = tokio::task::spawn_blocking(|| Postgres::shared().database());
            config.database_url = made.await.unwrap();
            let place = LogPlace::below(folder.path()).shared();
            config.log_store = LogStoreOptions { place: Some(place), ..LogStoreOptions::default() };
        }
        change(&mut config);
        let again = config.clone();
        let server = ocelot_server::start(config).await.unwrap();
        let store = &server.app().store;
        let forge = NewForge {
            name: kind.to_string(),
            kind,
            base_url: "https://forge.example".to_owned(),
            insecure_http: false,
            ca: None,
            access: None,
            hook_secret: Some(FORGE_SECRET.into()),
        };
        store.add_forge(&forge, "tests").await.unwrap();
        let git = repository(folder.path(), "app", yml);
        let repo = add(&server, kind, ("acme", "app"), remote_id(kind, 11), &git).await;
        let hook = store.make_hook(repo.id).await.unwrap();
        let admin = std::fs::read_to_string(folder.path().join("admin-token")).unwrap().trim().to_owned();
        World { kind, server, client: reqwest::Client::new(), admin, hook, git, folder, config: again }
    }

    /// Another server on the same database, with a folder of its own.
    pub(super) async fn second(&self) -> Server {
        let data = self.folder.path().join("second");
        std::fs::create_dir_all(&data).unwrap();
        let key_file = Some(self.config.key_file.clone().unwrap_or(self.folder.path().join("secret-key")));
        let config = Config { data, key_file, ..self.config.clone() };
        ocelot_server::start(config).await.unwrap()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    /// Address of the repository's own webhook.
    pub(super) fn hook_path(&self) -> String {
        format!("/hooks/{}/{}", self.kind, self.hook.id)
    }

    pub(super) fn secret(&self) -> String {
        self.hook.secret.expose_secret().to_owned()
    }

    /// A webhook about the newest commit of the repository.
    pub(super) fn webhook(&self, told: Told, scene: &Scene) -> Webhook {
        let mut webhook = Webhook::new(self.kind, told, scene).unwrap();
        webhook.delivery = format!("{}-{}", webhook.delivery, unique());
        webhook
    }

    pub(super) fn request(&self, path: &str, webhook: &Webhook, secret: &str) -> RequestBuilder {
        let mut request = self.client.post(self.url(path)).body(webhook.body.clone());
        for (name, value) in webhook.headers(secret) {
            request = request.header(name, value);
        }
        request
    }

    /// Sends it to the repository's own webhook.
    pub(super) async fn send(&self, webhook: &Webhook) -> (StatusCode, Value) {
        answer(self.request(&self.hook_path(), webhook, &self.secret())).await
    }

    /// The same, and waits for what becomes of it.
    pub(super) async fn tell(&self, told: Told, scene: &Scene) -> Value {
        let (status, body) = self.send(&self.webhook(told, scene)).await;
        assert!(status.is_success(), "{status} {body}");
        self.settled(&body).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, body) = answer(self.client.get(self.url(path)).bearer_auth(&self.admin)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    pub(super) async fn post(&self, path: &str) -> (StatusCode, Value) {
        answer(self.client.post(self.url(path)).bearer_auth(&self.admin)).await
    }

    /// Posts this; it must go well.
    pub(super) async fn must(&self, path: &str, body: &Value) {
        let request = self.client.post(self.url(path)).bearer_auth(&self.admin).json(body);
        let (status, said) = answer(request).await;
        assert!(status.is_success(), "{path}: {status} {said}");
    }

    pub(super) async fn deliveries(&self) -> Vec<Value> {
        self.get("/api/v1/deliveries?limit=500").await["items"].as_array().unwrap().clone()
    }

    pub(super) async fn builds(&self) -> Vec<Value> {
        self.get("/api/v1/builds?limit=500").await["items"].as_array().unwrap().clone()
    }

    /// Waits until a delivery is settled; `state: outcome`.
    pub(super) async fn settled(&self, received: &Value) -> Value {
        let path = format!("/api/v1/deliveries/{}", received["delivery"]);
        self.until(&path, |body| body["state"] != "waiting").await
    }

    /// Waits until the answer at this path is so.
    pub(super) async fn until(&self, path: &str, want: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let body = self.get(path).await;
            if want(&body) {
                return body;
            }
            assert!(tokio::time::Instant::now() < deadline, "{path} stays at {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A commit upon `branch`, which begins at the newest one of `main`.
    pub(super) fn commit_on(&self, branch: &str, message: &str) -> String {
        git(&self.git, &["checkout", "-q", "-B", branch]);
        std::fs::write(self.git.join("file"), unique()).unwrap();
        git(&self.git, &["add", "-A"]);
        git(&self.git, &["commit", "-q", "-m", message]);
        git(&self.git, &["rev-parse", "HEAD"])
    }

    pub(super) fn head(&self) -> String {
        git(&self.git, &["rev-parse", "HEAD"])
    }
}

/// `state: outcome` of a delivery.
pub(super) fn words(delivery: &Value) -> String {
    format!("{}: {}", delivery["state"].as_str().unwrap(), delivery["outcome"].as_str().unwrap())
}

pub(super) fn remote_id(kind: ForgeKind, number: u64) -> String {
    match kind {
        ForgeKind::Bitbucket => format!("00000000-0000-4000-8000-{number:012x}"),
        ForgeKind::Git | ForgeKind::Github | ForgeKind::Gitlab | ForgeKind::Gitea => number.to_string(),
    }
}

pub(super) fn repository(folder: &Path, name: &str, yml: &str) -> PathBuf {
    let path = folder.join("repos").join(name);
    std::fs::create_dir_all(&path).unwrap();
    git(&path, &["init", "-q", "-b", "main"]);
    commit(&path, &[("ocelot.yml", yml)]);
    path
}

pub(super) async fn add(
    server: &Server,
    kind: ForgeKind,
    (owner, name): (&str, &str),
    remote_id: String,
    git: &Path,
) -> Repo {
    let repo = NewRepo {
        name: format!("{kind}/{owner}/{name}").parse().unwrap(),
        remote_id,
        clone_url: git.display().to_string(),
        default_branch: "main".into(),
        public: false,
        approvals: ocelot_model::Approvals::default(),
    };
    server.app().store.add_repo(&repo, "tests").await.unwrap()
}

/// A text that no other one is like.
pub(super) fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}
