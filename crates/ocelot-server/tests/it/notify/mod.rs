//! Notifications: what arrives, what does not, and who sees that.

mod delivery;
mod rights;
mod told;
mod trial;

use std::time::Duration;

use ocelot_model::access::Role;
use ocelot_model::{BuildNumber, EventKind, RepoId, Trust};
use ocelot_server::Config;
use ocelot_store::{NewBuild, Plan};
use ocelot_testkit::{Receiver, wait_for};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::grpc::world::World;
use crate::room::{SMALL, answer};

/// Builds of two servers.
const BUILDS: usize = 24;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const THREE: &str = "image: busybox\nstages:\n  - {name: lint, script: [x]}\n  - {name: test, script: [x]}\n  - {name: deploy, script: [x]}\n";

fn impatient(config: &mut Config) {
    config.patience.again = Duration::from_millis(20);
}

/// One that gives up on silence soon.
fn restless(config: &mut Config) {
    impatient(config);
    config.patience.send = Duration::from_secs(2);
}

/// A server whose repository `git/example` may be told of.
struct Told {
    world: World,
    admin: String,
    client: reqwest::Client,
}

impl Told {
    async fn new(change: fn(&mut Config)) -> Told {
        let world = World::with(change).await;
        let admin = world.token(Role::Admin).await;
        Told { world, admin, client: reqwest::Client::new() }
    }

    async fn ask_as(&self, token: &str, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let url = format!("http://{}/api/v1/{path}", self.world.server.address);
        let request = self.client.request(method, url).bearer_auth(token);
        answer(if body.is_null() { request } else { request.json(body) }).await
    }

    async fn must(&self, method: Method, path: &str, body: &Value) -> Value {
        let (status, said) = self.ask_as(&self.admin, method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {said}");
        said
    }

    async fn get(&self, path: &str) -> Value {
        self.must(Method::GET, path, &Value::Null).await
    }

    /// Keeps a credential of kind notify for all repositories.
    async fn credential(&self, name: &str, value: &str, fields: &Value) {
        self.must(Method::POST, "credentials", &credential("", name, value, fields)).await;
    }

    /// The Slack of `receiver` as `team`.
    async fn team(&self, receiver: &Receiver) {
        self.credential("team", &receiver.url(), &json!({})).await;
    }

    async fn build(&self, yml: &str) -> BuildNumber {
        self.world.build_in("git/example", COMMIT, yml).await
    }

    /// A build of a small file with this `notify` that ends so.
    async fn ends(&self, notify: &str, status: &str) -> BuildNumber {
        self.ends_in("git/example", notify, status).await
    }

    async fn ends_in(&self, repo: &str, notify: &str, status: &str) -> BuildNumber {
        let mut worker = self.world.worker("w1", 1).await;
        let build = self.world.build_in(repo, COMMIT, &format!("{SMALL}notify: {notify}\n")).await;
        let offer = worker.offer().await;
        worker.take(&offer).await;
        worker.finish(&offer, status).await.unwrap();
        build
    }

    /// Waits until something of a build could not be told; the error and all of it.
    async fn undelivered(&self, build: BuildNumber) -> (String, Value) {
        let path = format!("builds/{build}");
        let found = wait_for("what is not delivered", async || {
            let all = self.get(&path).await["undelivered"].clone();
            all[0]["error"].is_string().then_some(all)
        })
        .await;
        (found[0]["error"].as_str().unwrap().to_owned(), found)
    }

    async fn metric(&self, labels: &str) -> f64 {
        let url = format!("http://{}/metrics", self.world.server.address);
        let text = self.client.get(url).bearer_auth(&self.admin).send().await.unwrap().text().await.unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("ocelot_notifications_total{{{labels}}} ")));
        line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {labels} in {text}"))
    }
}

fn credential(scope: &str, name: &str, value: &str, fields: &Value) -> Value {
    json!({"name": name, "kind": "notify", "scope": scope, "value": value, "fields": fields})
}

async fn titles(receiver: &Receiver, want: &[&str]) {
    wait_for(&format!("{want:?}"), async || (receiver.titles() == want).then_some(())).await;
}

const TEAM: &str = "{slack: {identifier: team, channel: '#ci', on: [pass, fail, cancelled]}}";

/// A build of a file that cannot be read.
pub(crate) fn broken(repo: RepoId) -> NewBuild {
    NewBuild {
        repo,
        event: EventKind::Push,
        branch: "main".into(),
        commit: COMMIT.into(),
        message: "a change".into(),
        author: "Ann".into(),
        triggered_by: None,
        retry_of: None,
        due: None,
        beside: None,
        notify: None,
        concurrency: None,
        trust: Trust::own(),
        pull_request: None,
        tag: None,
        plan: Plan::Broken { reason: "ocelot.yml:1:1: no".into(), problems: Vec::new() },
    }
}
