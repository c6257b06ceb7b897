//! What may be reached and who sees what of it.

use ocelot_model::Approvals;
use ocelot_model::access::Role;
use ocelot_store::NewRepo;
use ocelot_testkit::{Fault, Receiver, SLACK_CANARY, WEBHOOK_KEY, wait_for};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Told, credential, impatient, titles};

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
