//! `ocelot notify test`.

use ocelot_model::access::Role;
use ocelot_model::notify::{Occasion, Rule, Target};
use ocelot_store::{Beside, FromFile, NewBuild};
use ocelot_testkit::{Fault, Receiver, WEBHOOK_KEY};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Told, broken, credential, impatient};
use crate::room::SMALL;

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
