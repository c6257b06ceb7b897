//! A whole server, and a forge that it knows as `codes`.

use ocelot_model::access::Role;
use ocelot_model::{BuildNumber, ForgeKind};
use ocelot_server::Config;
use ocelot_testkit::FakeForge;
use ocelot_testkit::forge::TOKEN;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::grpc::world::World;
use crate::room::answer;

pub(super) const KINDS: [ForgeKind; 4] =
    [ForgeKind::Github, ForgeKind::Gitlab, ForgeKind::Bitbucket, ForgeKind::Gitea];
/// What stands at the forge.
pub(super) const REPO: &str = "acme/app";

pub(super) struct Scene {
    pub(super) world: World,
    pub(super) fake: FakeForge,
    /// The newest commit of `REPO`.
    pub(super) commit: String,
    admin: String,
    client: reqwest::Client,
}

impl Scene {
    /// A forge with a repository that nobody has added.
    pub(super) async fn new(kind: ForgeKind, change: fn(&mut Config)) -> Scene {
        let world = World::with(change).await;
        let fake = FakeForge::start(kind).await;
        fake.add_repo(11, REPO);
        let commit = fake.commit(REPO, "main", "one", &[("ocelot.yml", Some(crate::room::SMALL))]);
        let admin = world.token(Role::Admin).await;
        Scene { world, fake, commit, admin, client: reqwest::Client::new() }
    }

    /// A forge that was added, with a repository that was.
    pub(super) async fn known(kind: ForgeKind, change: fn(&mut Config)) -> Scene {
        let scene = Scene::new(kind, change).await;
        scene.must(Method::POST, "forges", &scene.forge("codes", TOKEN)).await;
        scene.must(Method::POST, "repos", &json!({"forge": "codes", "full_name": REPO})).await;
        scene
    }

    /// The body that adds the forge.
    pub(super) fn forge(&self, name: &str, token: &str) -> Value {
        json!({"name": name, "kind": self.fake.kind().as_str(), "base_url": self.fake.url(), "insecure_http": true,
            "access": {"token": token}})
    }

    pub(super) async fn ask(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let url = format!("http://{}/api/v1/{path}", self.world.server.address);
        let request = self.client.request(method, url).bearer_auth(&self.admin);
        answer(if body.is_null() { request } else { request.json(body) }).await
    }

    /// It must go well.
    pub(super) async fn must(&self, method: Method, path: &str, body: &Value) -> Value {
        let (status, said) = self.ask(method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {said}");
        said
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.must(Method::GET, path, &Value::Null).await
    }

    /// Queues a build of the newest commit.
    pub(super) async fn build(&self, yml: &str) -> BuildNumber {
        self.world.build_in("codes/acme/app", &self.commit, yml).await
    }

    /// `context state` of each status that the forge was told, in their order.
    pub(super) fn told(&self) -> Vec<String> {
        let told = self.fake.statuses(REPO).into_iter();
        told.map(|status| format!("{} {}", status.context, status.state)).collect()
    }

    /// The same database, served by another server after this one has stopped.
    pub(super) async fn restart(self) -> Scene {
        Scene { world: self.world.restart().await, ..self }
    }
}
