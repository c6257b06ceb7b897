//! What does not arrive at once is told later, once.

use jiff::Timestamp;
use ocelot_model::Approvals;
use ocelot_model::access::Role;
use ocelot_model::secret::{Kind, Limits};
use ocelot_store::{NewRepo, NewSecret};
use ocelot_testkit::{Fault, Postgres, Receiver, WEBHOOK_KEY, wait_for};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{BUILDS, TEAM, Told, broken, impatient, restless};

/// What a mail to this server comes to.
async fn mail_to(told: &Told, url: &str) -> String {
    let fields = json!({"type": "email", "url": url, "from": "ci@example.org", "to": "ann@example.org"});
    told.credential("mailer", "password", &fields).await;
    let said =
        told.must(Method::POST, "notifications/test", &json!({"credential": "mailer", "scope": ""})).await;
    said["items"][0]["error"].as_str().unwrap_or_default().to_owned()
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
