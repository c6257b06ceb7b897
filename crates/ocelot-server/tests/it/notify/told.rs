//! What is told, in which words.

use jiff::Timestamp;
use ocelot_model::Status;
use ocelot_model::build::{Happening, Outcome};
use ocelot_testkit::{Fault, Receiver, WEBHOOK_KEY};
use reqwest::Method;
use serde_json::{Value, json};

use super::{COMMIT, TEAM, THREE, Told, credential, impatient, titles};
use crate::room::SMALL;

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
