//! Notifications: what arrives, what does not, and who sees that.

use std::time::Duration;

use jiff::Timestamp;
use ocelot_model::access::Role;
use ocelot_model::build::{Happening, Outcome};
use ocelot_model::notify::{Occasion, Rule, Target};
use ocelot_model::secret::{Kind, Limits};
use ocelot_model::{Approvals, BuildNumber, EventKind, RepoId, Status, Trust};
use ocelot_server::Config;
use ocelot_store::{Beside, FromFile, NewBuild, NewRepo, NewSecret, Plan};
use ocelot_testkit::{Fault, Postgres, Receiver, SLACK_CANARY, WEBHOOK_KEY, wait_for};
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

/// What a mail to this server comes to.
async fn mail_to(told: &Told, url: &str) -> String {
    let fields = json!({"type": "email", "url": url, "from": "ci@example.org", "to": "ann@example.org"});
    told.credential("mailer", "password", &fields).await;
    let said =
        told.must(Method::POST, "notifications/test", &json!({"credential": "mailer", "scope": ""})).await;
    said["items"][0]["error"].as_str().unwrap_or_default().to_owned()
}

fn credential(scope: &str, name: &str, value: &str, fields: &Value) -> Value {
    json!({"name": name, "kind": "notify", "scope": scope, "value": value, "fields": fields})
}

async fn titles(receiver: &Receiver, want: &[&str]) {
    wait_for(&format!("{want:?}"), async || (receiver.titles() == want).then_some(())).await;
}

const TEAM: &str = "{slack: {identifier: team, channel: '#ci', on: [pass, fail, cancelled]}}";

#[tokio::test]
async fn slack_is_told_how_a_build_ended() {
    let told = Told::new(|_| {}).await;
    let slack = Receiver::slack().await;
    told.team(&slack).await;
    let mut worker = told.world.worker("w1", 1).await;
    let build = told.build(&format!("{THREE}notify: {TEAM}\n")).await;
    let offer = worker.offer().await;
    worker.take(&offer).await;
    for (at, status, code) in [(0, "passed", 0), (1, "passed", 0), (2, "running", 0), (2, "failed", 7)] {
        worker.report(&offer, at, status, Some(code).filter(|_| status != "running")).await.unwrap();
    }
    // Its third stage never began.
    let job = told.world.detail(build).await.jobs[0].id;
    let outcome = Outcome { status: Status::Failed, reason: None, infrastructure: false };
    told.world.app().store.advance(build, Happening::Finished { job, attempt: 1, outcome }).await.unwrap();
    titles(&slack, &[&format!("Build {build} failed")]).await;
    let body = slack.taken().pop().unwrap();
    let one = &body["attachments"][0];
    assert_eq!((&body["channel"], &one["color"]), (&json!("#ci"), &json!("danger")));
    let link = format!("http://{}/builds/{build}", told.world.server.address);
    assert_eq!(one["title_link"], link.as_str());
    let text = one["text"].as_str().unwrap();
    assert!(text.contains("[lint] passed\n[test] failed: exit code 7\n[deploy] skipped"), "{text}");
    let fields = one["fields"].as_array().unwrap();
    for (name, want) in
        [("Repository", "git/example"), ("Branch", "main"), ("Commit", "0123456 a change"), ("Author", "Ann")]
    {
        let field =
            fields.iter().find(|field| field["title"] == name).unwrap_or_else(|| panic!("{name}: {body}"));
        assert_eq!(field["value"], want);
    }
    assert!(fields.iter().any(|field| field["title"] == "Duration"), "{body}");
    assert_eq!(told.get("notifications").await["items"], json!([]));
}

#[tokio::test]
async fn a_failure_is_told_until_it_is_fixed() {
    let told = Told::new(|_| {}).await;
    let slack = Receiver::slack().await;
    told.team(&slack).await;
    let mut want = Vec::new();
    for (status, words) in
        [("failed", "failed"), ("failed", "still fails"), ("passed", "is fixed: it passed")]
    {
        let build = told.ends(TEAM, status).await;
        want.push(format!("Build {build} {words}"));
        titles(&slack, &want.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    let build = told.build(&format!("{SMALL}notify: {TEAM}\n")).await;
    told.must(Method::POST, &format!("builds/{build}/cancel"), &Value::Null).await;
    want.push(format!("Build {build} was cancelled"));
    titles(&slack, &want.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(slack.taken().pop().unwrap()["attachments"][0]["color"], "warning");
}

#[tokio::test]
async fn a_webhook_is_signed_and_is_the_same_message_when_it_comes_again() {
    let told = Told::new(impatient).await;
    let hook = Receiver::webhook().await;
    told.credential("sign", WEBHOOK_KEY, &json!({"type": "webhook", "url": hook.url()})).await;
    hook.misbehave(Fault::Status(500, Vec::new(), "oops"));
    hook.misbehave(Fault::Status(502, Vec::new(), ""));
    let build = told.ends("{webhook: {identifier: sign, on: [FAIL]}}", "failed").await;
    titles(&hook, &["build.failed"]).await;
    let body = hook.taken().remove(0);
    let data = &body["data"];
    assert_eq!((&data["number"], &data["status"]), (&json!(build.0), &json!("failed")));
    assert_eq!(data["occasions"], json!(["fail", "broken"]));
    assert_eq!((&data["repo"], &data["commit"]), (&json!("git/example"), &json!(COMMIT)));
    assert!(body["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok());
    assert_eq!(data["jobs"][0]["stages"][1]["name"], "test");
    let second = told.ends("{webhook: {identifier: sign, on: [FAIL]}}", "failed").await;
    titles(&hook, &["build.failed", "build.failed"]).await;
    let ids = hook.ids();
    assert_eq!(ids[..3], [ids[0].as_str(); 3], "a message that comes again is the same one");
    assert!(ids[0] != ids[3] && ids[0].starts_with("msg_"), "{ids:?} of {build} and {second}");
}

#[tokio::test]
async fn a_place_that_wants_no_more_is_left_alone_for_as_long_as_it_says() {
    let told = Told::new(impatient).await;
    let slack = Receiver::slack().await;
    told.team(&slack).await;
    slack.misbehave(Fault::Status(429, vec![("retry-after", "3600".into())], ""));
    let failed = told.metric(r#"kind="slack",outcome="failed""#).await;
    let build = told.ends(TEAM, "failed").await;
    let (error, all) = told.undelivered(build).await;
    assert!(error.starts_with("the far side wants no more until"), "{error}");
    assert_eq!((&all[0]["kind"], &all[0]["context"]), (&json!("slack"), &json!("team #ci")));
    let again: Timestamp = all[0]["again_at"].as_str().unwrap().parse().unwrap();
    let wait = again.duration_since(Timestamp::now()).as_secs();
    assert!((3_400..=3_601).contains(&wait), "{wait}");
    assert_eq!(slack.requests(), 1);
    // Other tests count too.
    assert!(told.metric(r#"kind="slack",outcome="failed""#).await >= failed + 1.0);
    // Seen in the list, on the page, and by nobody who may not read the repository.
    let listed = told.get("notifications?repo=git/example").await["items"][0].clone();
    assert_eq!(
        (&listed["build"], &listed["place"], &listed["tries"]),
        (&json!(build.0), &json!("team #ci"), &json!(1))
    );
    let page = format!("http://{}/builds/{build}", told.world.server.address);
    let page = told.client.get(page).bearer_auth(&told.admin).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Not delivered yet: slack team #ci"), "{page}");
    let app = told.world.app();
    let other = app
        .store
        .create_token("other", Role::Read, &["git/other".to_owned()], None, "tests")
        .await
        .unwrap()
        .1;
    let (status, said) = told.ask_as(&other, Method::GET, "notifications", &Value::Null).await;
    assert_eq!((status, &said["items"]), (StatusCode::OK, &json!([])));
    let (status, _) = told.ask_as(&other, Method::GET, "notifications?repo=git/example", &Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_place_that_was_away_is_told_of_everything() {
    let told = Told::new(impatient).await;
    let slack = Receiver::slack().await;
    told.team(&slack).await;
    slack.set_down(true);
    let first = told.ends(TEAM, "failed").await;
    let second = told.ends(TEAM, "passed").await;
    let (error, _) = told.undelivered(second).await;
    assert!(error.contains("503"), "{error}");
    let before = slack.requests();
    wait_for("further tries", async || (slack.requests() > before + 2).then_some(())).await;
    slack.set_down(false);
    // In whatever order.
    wait_for("both", async || (slack.taken().len() == 2).then_some(())).await;
    for want in [format!("Build {first} failed"), format!("Build {second} is fixed: it passed")] {
        assert!(slack.titles().contains(&want), "{want} in {:?}", slack.titles());
    }
    wait_for("a clean list", async || (told.get("notifications").await["items"] == json!([])).then_some(()))
        .await;
    assert!(told.metric(r#"kind="slack",outcome="sent""#).await >= 2.0);
}

#[tokio::test]
async fn one_that_never_answers_delays_no_other() {
    let told = Told::new(restless).await;
    let (dead, slack) = (Receiver::slack().await, Receiver::slack().await);
    told.credential("dead", &dead.url(), &json!({})).await;
    told.team(&slack).await;
    // Many times: until it is told to behave.
    (0..1_000).for_each(|_| dead.misbehave(Fault::Silence));
    let build = told.ends("{slack: [{identifier: dead}, {identifier: team}]}", "failed").await;
    // On a slow machine an answer may come too late, and the message again.
    let has_it = async |receiver: &Receiver| (!receiver.taken().is_empty()).then_some(());
    wait_for("the other place", async || has_it(&slack).await).await;
    let error = wait_for("that it is late", async || {
        let all = told.get(&format!("builds/{build}")).await["undelivered"].clone();
        let dead = all.as_array()?.iter().find(|one| one["context"] == "dead")?;
        Some(dead["error"].clone())
    })
    .await;
    assert_eq!(error, "no answer in time");
    dead.behave();
    wait_for("the dead one", async || has_it(&dead).await).await;
}

#[tokio::test]
async fn redirects_are_not_followed_and_secrets_not_said() {
    let told = Told::new(impatient).await;
    let (slack, inner) = (Receiver::slack().await, Receiver::slack().await);
    told.team(&slack).await;
    slack.misbehave(Fault::Redirect(307, inner.url()));
    let build = told.ends("{slack: {identifier: team}}", "failed").await;
    titles(&slack, &[&format!("Build {build} failed")]).await;
    assert_eq!(inner.requests(), 0);
    // What one channel refuses is no reason to keep others waiting.
    let build = told.ends(
        "{slack: [{identifier: team, channel: '#gone'}, {identifier: team, channel: '#echo'}, {identifier: team, channel: '#ci'}]}",
        "failed",
    )
    .await;
    wait_for("the good channel", async || (slack.taken().len() == 2).then_some(())).await;
    let all = wait_for("both errors", async || {
        let all = told.get(&format!("builds/{build}")).await["undelivered"].clone();
        all[1]["error"].is_string().then_some(all)
    })
    .await;
    let errors = all.to_string();
    assert!(
        errors.contains("channel_not_found (status 404)")
            && errors.contains("no channel at /services/T0/B0/***"),
        "{errors}"
    );
    assert!(!errors.contains(SLACK_CANARY), "{errors}");
    assert!(!told.get("notifications").await.to_string().contains(SLACK_CANARY));
}

#[tokio::test]
async fn only_a_whole_servers_admin_leads_into_its_network() {
    let told = Told::new(impatient).await;
    let (hook, slack) = (Receiver::webhook().await, Receiver::slack().await);
    // The credential is an admin's, the address a file's.
    told.credential("sign", WEBHOOK_KEY, &json!({"type": "webhook"})).await;
    let by_ip = hook.url().replace("http://", "https://");
    let by_name = by_ip.replace("127.0.0.1", "localhost");
    for url in [by_ip, by_name, hook.url()] {
        let build = told.ends(&format!("{{webhook: {{identifier: sign, url: '{url}'}}}}"), "failed").await;
        let (error, _) = told.undelivered(build).await;
        assert!(error.contains("private network") || error.contains("plain http://"), "{url}: {error}");
    }
    // The admin of some repositories is not the server's.
    let app = told.world.app();
    let some =
        app.store.create_token("some", Role::Admin, &["git/".to_owned()], None, "tests").await.unwrap().1;
    for (scope, token, is_sent) in
        [("git/", &some, false), ("git/", &told.admin, true), ("git/", &some, false)]
    {
        let body = credential(scope, "team", &slack.url(), &json!({}));
        let (status, said) = told.ask_as(token, Method::POST, "credentials", &body).await;
        assert!(status.is_success(), "{said}");
        let before = slack.taken().len();
        let build = told.ends("{slack: {identifier: team}}", "failed").await;
        if is_sent {
            wait_for("a message", async || (slack.taken().len() == before + 1).then_some(())).await;
        } else {
            let (error, _) = told.undelivered(build).await;
            assert!(error.contains("plain http://") && !error.contains(SLACK_CANARY), "{error}");
        }
    }
    assert_eq!(hook.requests(), 0);
}

#[tokio::test]
async fn a_credential_of_an_owner_tells_without_a_file() {
    let told = Told::new(|_| {}).await;
    let slack = Receiver::slack().await;
    let fields = json!({"on": "error, blocked", "channel": "#all"});
    told.must(Method::POST, "credentials", &credential("git/", "all", &slack.url(), &fields)).await;
    told.ends("{}", "failed").await;
    let build = told.build("image: busybox\napproval: true\nstages: [{name: a, script: [x]}]\n").await;
    assert_eq!(told.world.detail(build).await.build.status, Status::Blocked);
    titles(&slack, &[&format!("Build {build} waits for approval")]).await;
    assert_eq!(slack.taken()[0]["channel"], "#all");
}

#[tokio::test]
async fn a_test_says_what_was_sent_and_answered() {
    let told = Told::new(|_| {}).await;
    let (slack, hook) = (Receiver::slack().await, Receiver::webhook().await);
    let test =
        async |token: &str, body: Value| told.ask_as(token, Method::POST, "notifications/test", &body).await;
    let repo = json!({"repo": "git/example"});
    let (status, said) = test(&told.admin, repo.clone()).await;
    assert_eq!(
        (status, said["detail"].as_str().unwrap().contains("nobody is told")),
        (StatusCode::CONFLICT, true)
    );
    told.credential("team", &slack.url(), &json!({"on": "fail", "channel": "#ci"})).await;
    told.credential("sign", WEBHOOK_KEY, &json!({"type": "webhook", "on": "fail", "url": hook.url()})).await;
    let (status, said) = test(&told.admin, repo.clone()).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let items = said["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{said}");
    for (item, receiver) in [(&items[1], &slack), (&items[0], &hook)] {
        assert_eq!((&item["answer"], &item["error"]), (&json!("200 ok"), &Value::Null), "{said}");
        let sent: Value = serde_json::from_str(item["sent"].as_str().unwrap()).unwrap();
        assert_eq!(receiver.taken(), [sent]);
    }
    // One alone, that fails; nothing is owed afterwards.
    slack.misbehave(Fault::Status(410, Vec::new(), "no more"));
    let (_, said) = test(&told.admin, json!({"credential": "team"})).await;
    assert_eq!(said["items"][0]["error"], "the far side refuses: no more (status 410)");
    assert_eq!(told.get("notifications").await["items"], json!([]));
    // Who may.
    for (body, want) in [
        (json!({"credential": "nobody"}), StatusCode::NOT_FOUND),
        (json!({"credential": "team", "scope": "git/"}), StatusCode::NOT_FOUND),
        (json!({"repo": "git/none"}), StatusCode::NOT_FOUND),
        (json!({}), StatusCode::BAD_REQUEST),
        (json!({"repo": "git/example", "credential": "team"}), StatusCode::BAD_REQUEST),
        (json!({"credential": "team", "scope": "a b"}), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(test(&told.admin, body.clone()).await.0, want, "{body}");
    }
    let write = told.world.token(Role::Write).await;
    assert_eq!(test(&write, repo).await.0, StatusCode::FORBIDDEN);
    assert_eq!(test(&write, json!({"credential": "team"})).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_credential_that_can_never_work_is_refused() {
    let told = Told::new(|_| {}).await;
    let mail = json!({"type": "email", "url": "smtp://mail.example.org", "from": "ci@example.org"});
    let with = |name: &str, value: &str| {
        let mut fields = mail.clone();
        fields[name] = json!(value);
        fields
    };
    for (value, fields, want) in [
        ("xoxb-not-an-address", json!({}), "begins with https://"),
        ("whsec_short", json!({"type": "webhook"}), "whsec_"),
        (WEBHOOK_KEY, json!({"type": "webhook", "url": "example.org"}), "url"),
        ("password", with("url", "https://mail.example.org"), "smtp://HOST"),
        ("password", with("from", "nobody"), "from: nobody"),
        ("password", with("to", "ann@example.org, bob"), "to: bob"),
        ("password", json!({"type": "pigeon"}), "one of slack, webhook, email"),
    ] {
        let body = credential("", "team", value, &fields);
        let (status, said) = told.ask_as(&told.admin, Method::POST, "credentials", &body).await;
        let detail = said["detail"].as_str().unwrap_or_default();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
        assert!(detail.contains(want) && !detail.contains(value), "{want}: {said}");
    }
    let mut body = credential("", "team", "password", &mail);
    body["stages"] = json!(["deploy"]);
    let (status, said) = told.ask_as(&told.admin, Method::POST, "credentials", &body).await;
    assert_eq!(
        (status, said["detail"].as_str().unwrap().contains("stages")),
        (StatusCode::BAD_REQUEST, true)
    );
    assert_eq!(told.get("credentials").await["items"], json!([]));
}

#[tokio::test]
async fn only_who_administers_a_repository_sees_where_to_and_why() {
    let told = Told::new(impatient).await;
    let slack = Receiver::slack().await;
    told.team(&slack).await;
    let open = NewRepo {
        name: "git/open".parse().unwrap(),
        remote_id: "open".into(),
        clone_url: "https://example.com/open.git".into(),
        default_branch: "main".into(),
        public: true,
        approvals: Approvals::default(),
    };
    told.world.app().store.add_repo(&open, "tests").await.unwrap();
    slack.misbehave(Fault::Status(429, vec![("retry-after", "3600".into())], ""));
    let build = told.ends_in("git/open", "{slack: {identifier: team, channel: '#inner'}}", "failed").await;
    let (error, all) = told.undelivered(build).await;
    assert!(error.contains("wants no more") && all[0]["context"] == "team #inner", "{all}");
    let read = told.world.token(Role::Read).await;
    let address = told.world.server.address;
    let look = async |path: &str, token: &str| {
        let request = told.client.get(format!("http://{address}/{path}"));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    };
    for path in
        [format!("builds/{build}"), format!("api/v1/builds/{build}"), "api/v1/notifications".to_owned()]
    {
        let seen = look(&path, &told.admin).await;
        assert!(seen.contains("team #inner") && seen.contains("wants no more"), "{path}: {seen}");
        for token in ["", &read] {
            let seen = look(&path, token).await;
            assert!(
                seen.contains("slack") && seen.contains("who administers the repository sees why"),
                "{seen}"
            );
            assert!(!seen.contains("team #inner") && !seen.contains("wants no more"), "{path}: {seen}");
        }
    }
}

#[tokio::test]
async fn the_login_of_a_webhook_is_a_secret() {
    let told = Told::new(impatient).await;
    let hook = Receiver::webhook().await;
    let with_login =
        |path: &str| hook.url().replace("http://", "http://me:canary-of-login@").replace("/hook", path);
    let fields = json!({"type": "webhook", "url": with_login("/hook")});
    let body = credential("", "sign", WEBHOOK_KEY, &fields);
    let (status, said) = told.ask_as(&told.admin, Method::POST, "credentials", &body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(said["detail"].as_str().unwrap().contains("put the address into the value"), "{said}");
    assert!(!said.to_string().contains("canary"), "{said}");
    let value = format!("{WEBHOOK_KEY}\n{}\n", with_login("/hook/key-0123456789abcdef"));
    told.credential("sign", &value, &json!({"type": "webhook", "on": "fail"})).await;
    hook.misbehave(Fault::Status(
        401,
        Vec::new(),
        "no me:canary-of-login, Basic bWU6Y2FuYXJ5LW9mLWxvZ2lu, at /hook/key-0123456789abcdef",
    ));
    hook.set_down(true);
    let build = told.ends("{}", "failed").await;
    let (error, _) = told.undelivered(build).await;
    assert_eq!(error, "the far side refuses: no ***, Basic ***, at /hook/*** (status 401)");
    let listed = told.get("credentials").await.to_string();
    assert!(!listed.contains("canary") && !listed.contains("key-0123"), "{listed}");
    hook.set_down(false);
    titles(&hook, &["build.failed"]).await;
}

#[tokio::test]
async fn a_test_goes_to_each_place_once_and_to_those_who_are_told() {
    let told = Told::new(impatient).await;
    let (slack, hook) = (Receiver::slack().await, Receiver::webhook().await);
    told.credential("team", &slack.url(), &json!({"id": "the-team", "on": "skip", "channel": "#ci"})).await;
    told.credential("sign", WEBHOOK_KEY, &json!({"type": "webhook", "url": hook.url()})).await;
    let mut narrow = credential("", "release", &slack.url(), &json!({"on": "skip", "channel": "#release"}));
    narrow["branches"] = json!(["release/.*"]);
    told.must(Method::POST, "credentials", &narrow).await;
    let rule =
        |identifier: &str, to| Rule { identifier: identifier.to_owned(), to, on: vec![Occasion::Skip] };
    let (ci, url) = (Target::Slack(Some("#ci".into())), |url: &str| Target::Webhook(Some(url.into())));
    let rules = vec![
        rule("team", ci.clone()),
        rule("the-team", ci),
        rule("sign", url("https://a.example")),
        rule("sign", url("https://b.example")),
    ];
    let store = &told.world.app().store;
    let repo = store.find_repo(&"git/example".parse().unwrap()).await.unwrap().unwrap().id;
    let (seen, file) = (store.beside(repo).await.unwrap(), FromFile { notify: rules, ..FromFile::default() });
    let newest = NewBuild { beside: Some(Beside { seen, file: Some(file) }), ..broken(repo) };
    store.create_build(&newest).await.unwrap();
    let said = told.must(Method::POST, "notifications/test", &json!({"repo": "git/example"})).await;
    let items = said["items"].as_array().unwrap();
    let places: Vec<&str> = items.iter().map(|one| one["place"].as_str().unwrap()).collect();
    assert_eq!(places, ["team #ci", "sign https://a.example", "release #release"], "{said}");
    assert_eq!((slack.requests(), hook.requests()), (1, 1), "{said}");
    let words = |item: usize, name: &str| items[item][name].as_str().unwrap_or_default();
    assert!(words(1, "note").contains("the credential sign has one, which wins"), "{said}");
    assert!(words(2, "skipped").contains("is for branches release/.* only, this is main"), "{said}");
    assert_eq!((words(2, "sent"), words(2, "error")), ("", ""));
    told.must(Method::POST, "notifications/test", &json!({"credential": "team"})).await;
    // The page and `ocelot why` say so as soon as there is a build.
    let build = told
        .build(&format!("{SMALL}notify: {{webhook: {{identifier: sign, url: 'https://a.example'}}}}\n"))
        .await;
    let note = "the `url` in ocelot.yml is not used: the credential sign has one, which wins";
    let path = format!("builds/{build}");
    assert_eq!(told.get(&path).await["notes"], json!([note]));
    let read = told.world.token(Role::Read).await;
    assert_eq!(told.ask_as(&read, Method::GET, &path, &Value::Null).await.1["notes"], Value::Null);
    let page = format!("http://{}/builds/{build}", told.world.server.address);
    for (token, is_said) in [(&told.admin, true), (&read, false)] {
        let page = told.client.get(&page).bearer_auth(token).send().await.unwrap().text().await.unwrap();
        assert_eq!(page.contains("the credential sign has one"), is_said, "{page}");
    }
    let audit = told.get("audit?action=notify_tested").await;
    let rows: Vec<[&str; 2]> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| ["subject", "detail"].map(|name| row[name].as_str().unwrap()))
        .collect();
    assert_eq!(rows, [["team", "1 sent, 0 failed, of 1"], ["git/example", "2 sent, 0 failed, of 3"]]);
}

#[tokio::test]
async fn a_place_that_is_not_there_is_told_in_words() {
    let told = Told::new(restless).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (silent_at, plain_at) = (silent.local_addr().unwrap(), plain.local_addr().unwrap());
    let server = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let mut all = Vec::new();
        loop {
            tokio::select! {
                // It waits for TLS.
                Ok(one) = silent.accept() => all.push(one.0),
                Ok((mut one, _)) = plain.accept() => {
                    let _ = one.write_all(b"220 mail.test ready\r\n").await;
                    all.push(one);
                }
            }
        }
    });
    for (url, want) in [
        (format!("smtp://{silent_at}"), format!("the credential's url is smtps://{silent_at}")),
        (format!("smtps://{plain_at}"), format!("the credential's url is smtp://{plain_at}")),
        ("smtps://nowhere.invalid".to_owned(), "there is no host nowhere.invalid, as far".to_owned()),
    ] {
        let said = mail_to(&told, &url).await;
        assert!(said.contains(&want), "{url}: {said}");
    }
    server.abort();
    for (url, want) in [
        ("https://nowhere.invalid/x".to_owned(), "there is no host nowhere.invalid, as far".to_owned()),
        (format!("http://{plain_at}/x"), format!("{plain_at}: ")),
    ] {
        told.credential("sign", WEBHOOK_KEY, &json!({"type": "webhook", "url": url})).await;
        let said = told.must(Method::POST, "notifications/test", &json!({"credential": "sign"})).await;
        let error = said["items"][0]["error"].as_str().unwrap();
        assert!(error.contains(&want) && !error.contains("error sending request"), "{url}: {error}");
    }
}

#[tokio::test]
async fn what_waits_when_a_server_stops_is_told_by_the_next_one() {
    let mut told = Told::new(impatient).await;
    let hook = Receiver::webhook().await;
    told.credential("sign", WEBHOOK_KEY, &json!({"type": "webhook", "url": hook.url()})).await;
    hook.set_down(true);
    let rule = "{webhook: {identifier: sign}}";
    let build = told.ends(rule, "failed").await;
    told.undelivered(build).await;
    let Told { world, admin, client } = told;
    told = Told { world: world.restart().await, admin, client };
    let (error, _) = told.undelivered(build).await;
    assert!(error.contains("503"), "{error}");
    hook.set_down(false);
    wait_for("a clean list", async || (told.get("notifications").await["items"] == json!([])).then_some(()))
        .await;
    assert_eq!(hook.titles(), ["build.failed"]);
    let ids = hook.ids();
    assert!(ids.len() > 1 && ids.iter().all(|id| *id == ids[0]), "it is the same message: {ids:?}");
}

#[tokio::test]
async fn two_servers_on_one_database_tell_each_thing_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = tokio::task::spawn_blocking(|| Postgres::shared().database()).await.unwrap();
    let start = async |name: &str| {
        let mut config = crate::room::config(&folder.path().join(name));
        config.database_url.clone_from(&database);
        config.key_file = Some(folder.path().join("secret-key"));
        let path = folder.path().join("log-store");
        config.log_store.place = Some(ocelot_server::LogPlace::Folder { path, shared: true });
        ocelot_server::start(config).await.unwrap()
    };
    let (one, two) = (start("1").await, start("2").await);
    let hook = Receiver::webhook().await;
    let store = &one.app().store;
    let name = "git/example".parse().unwrap();
    let new = NewRepo {
        name,
        remote_id: "example".into(),
        clone_url: "https://example.com/example.git".into(),
        default_branch: "main".into(),
        public: false,
        approvals: Approvals::default(),
    };
    let repo = store.add_repo(&new, "tests").await.unwrap();
    let fields = json!({"type": "webhook", "url": hook.url(), "on": "error"});
    let new = NewSecret {
        scope: "".parse().unwrap(),
        name: "sign".to_owned(),
        kind: Kind::Notify,
        fields: serde_json::from_value(fields).unwrap(),
        limits: Limits::default(),
        value: WEBHOOK_KEY.as_bytes().to_vec().into(),
        by: "ada".to_owned(),
        by_admin: true,
    };
    store.put_secret(&new).await.unwrap();
    for n in 0..BUILDS {
        let server = if n % 2 == 0 { &one } else { &two };
        server.app().store.create_build(&broken(repo.id)).await.unwrap();
    }
    wait_for("all of them", async || (hook.taken().len() >= BUILDS).then_some(())).await;
    wait_for("nothing owed", async || store.outbox_lanes().await.unwrap().is_empty().then_some(())).await;
    let mut numbers: Vec<i64> =
        hook.taken().iter().map(|body| body["data"]["number"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(hook.requests(), BUILDS, "{numbers:?}");
    numbers.dedup();
    assert_eq!(numbers.len(), BUILDS);
    one.stop().await;
    two.stop().await;
}

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
