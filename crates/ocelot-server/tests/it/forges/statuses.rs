//! What forges are told of builds, while they are well and while they are not.

use std::time::Duration;

use jiff::Timestamp;
use ocelot_model::{ForgeKind, Status};
use ocelot_server::Config;
use ocelot_testkit::forge::TOKEN;
use ocelot_testkit::{FakeForge, Fault, wait_for};
use reqwest::Method;
use serde_json::json;

use super::scene::{KINDS, REPO, Scene};
use crate::room::SMALL;

const TWO: &str = "image: busybox\njobs:\n  one: {stages: [{name: a, script: [x]}]}\n  two: {stages: [{name: a, script: [x]}]}\n";

fn impatient(config: &mut Config) {
    config.patience.again = Duration::from_millis(20);
}

/// The forge's words for queued, running, passed, failed.
fn words(kind: ForgeKind) -> [&'static str; 4] {
    match kind {
        ForgeKind::Gitlab => ["pending", "running", "success", "failed"],
        ForgeKind::Bitbucket => ["INPROGRESS", "INPROGRESS", "SUCCESSFUL", "FAILED"],
        ForgeKind::Github | ForgeKind::Gitea | ForgeKind::Git => ["pending", "pending", "success", "failure"],
    }
}

/// Waits until the forge was told this.
async fn told(scene: &Scene, what: &str) -> Vec<String> {
    wait_for(what, async || Some(scene.told()).filter(|told| told.iter().any(|one| one == what))).await
}

#[tokio::test]
async fn a_forge_is_told_how_a_build_stands() {
    for kind in KINDS {
        let scene = Scene::known(kind, |_| {}).await;
        let [queued, running, passed, failed] = words(kind);
        let build = scene.build(SMALL).await;
        told(&scene, &format!("ocelot {queued}")).await;
        let mut worker = scene.world.worker("w1", 1).await;
        let offer = worker.offer().await;
        worker.take(&offer).await;
        told(&scene, &format!("ocelot {running}")).await;
        wait_for("two statuses", async || (scene.told().len() == 2).then_some(())).await;
        worker.finish(&offer, "passed").await.unwrap();
        let all = told(&scene, &format!("ocelot {passed}")).await;
        assert_eq!(all, [queued, running, passed].map(|state| format!("ocelot {state}")), "{kind}");
        let last = scene.fake.statuses(REPO).pop().unwrap();
        let page = format!("http://{}/builds/{build}", scene.world.server.address);
        assert_eq!((last.commit, last.link), (scene.commit.clone(), page), "{kind}");
        assert!(last.description.starts_with("passed after "), "{}", last.description);

        let second = scene.build(TWO).await;
        let running: Vec<_> = scene.world.detail(second).await.jobs;
        assert_eq!(running.len(), 2);
        told(&scene, &format!("ocelot/two {queued}")).await;
        scene.must(Method::POST, &format!("builds/{second}/cancel"), &serde_json::Value::Null).await;
        let cancelled = if kind == ForgeKind::Gitlab { "canceled" } else { failed };
        let is_last = |context: &str| {
            let last = scene.fake.statuses(REPO).into_iter().rfind(|status| status.context == context);
            last.is_some_and(|status| status.description.starts_with("cancelled"))
        };
        wait_for(cancelled, async || {
            ["ocelot", "ocelot/one", "ocelot/two"].into_iter().all(is_last).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_forge_that_does_not_answer_adds_nothing_to_a_build() {
    let scene = Scene::known(ForgeKind::Github, |_| {}).await;
    // The very first status gets no answer at all, ever.
    scene.fake.misbehave(Fault::Silence);
    let build = scene.build(SMALL).await;
    wait_for("the request", async || {
        scene.fake.requests().iter().any(|request| request.starts_with("POST")).then_some(())
    })
    .await;
    let mut worker = scene.world.worker("w1", 1).await;
    let offer = worker.offer().await;
    worker.take(&offer).await;
    worker.finish(&offer, "passed").await.unwrap();
    scene.world.until(build, |detail| detail.build.status == Status::Passed).await;
    // The build is over, and the forge has still not taken its first status; nor does a newer one overtake that.
    assert_eq!(scene.told(), Vec::<String>::new());
}

#[tokio::test]
async fn a_forge_that_was_away_gets_the_newest_status_alone() {
    for kind in KINDS {
        let scene = Scene::known(kind, impatient).await;
        let passed = words(kind)[2];
        scene.fake.set_down(true);
        let build = scene.build(SMALL).await;
        let mut worker = scene.world.worker("w1", 1).await;
        let offer = worker.offer().await;
        worker.take(&offer).await;
        worker.finish(&offer, "passed").await.unwrap();
        let path = format!("builds/{build}");
        let undelivered = wait_for("several tries", async || {
            let tries = scene.fake.requests().iter().filter(|request| request.starts_with("POST")).count();
            let undelivered = scene.get(&path).await["undelivered"].clone();
            (tries >= 3 && undelivered.is_array()).then_some(undelivered)
        })
        .await;
        assert_eq!(
            (&undelivered[0]["kind"], &undelivered[0]["context"]),
            (&"status".into(), &"ocelot".into())
        );
        assert!(undelivered[0]["error"].as_str().unwrap().contains("503"), "{undelivered}");
        // Wrong answers on the way back to health.
        for fault in [Fault::Status(429, vec![("retry-after", "0".into())], ""), Fault::WrongJson, Fault::Cut]
        {
            scene.fake.misbehave(fault);
        }
        scene.fake.set_down(false);
        told(&scene, &format!("ocelot {passed}")).await;
        assert!(scene.told().iter().all(|one| *one == format!("ocelot {passed}")), "{:?}", scene.told());
        wait_for("its delivery", async || scene.get(&path).await["undelivered"].is_null().then_some(()))
            .await;
    }
}

#[tokio::test]
async fn a_forge_that_wants_no_more_is_left_alone_for_as_long_as_it_says() {
    let scene = Scene::known(ForgeKind::Gitea, impatient).await;
    scene.fake.misbehave(Fault::Status(429, vec![("retry-after", "3600".into())], ""));
    let build = scene.build(SMALL).await;
    let path = format!("builds/{build}");
    let again_at = wait_for("the refusal", async || {
        let undelivered = scene.get(&path).await["undelivered"][0].clone();
        undelivered["again_at"].as_str().and_then(|time| time.parse::<Timestamp>().ok())
    })
    .await;
    let wait = again_at.duration_since(Timestamp::now()).as_secs();
    assert!((3_500..=3_601).contains(&wait), "{wait}");
}

#[tokio::test]
async fn one_forge_does_not_keep_another_waiting() {
    let scene = Scene::known(ForgeKind::Github, |_| {}).await;
    let other = FakeForge::start(ForgeKind::Gitlab).await;
    other.add_repo(5, "beta/tool");
    let commit = other.commit("beta/tool", "main", "one", &[("ocelot.yml", Some(SMALL))]);
    let body = json!({"name": "lab", "kind": "gitlab", "base_url": other.url(), "insecure_http": true,
        "access": {"token": TOKEN}});
    scene.must(Method::POST, "forges", &body).await;
    scene.must(Method::POST, "repos", &json!({"forge": "lab", "full_name": "beta/tool"})).await;
    for _ in 0..20 {
        scene.fake.misbehave(Fault::Silence);
    }
    for _ in 0..3 {
        scene.build(TWO).await;
    }
    scene.world.build_in("lab/beta/tool", &commit, SMALL).await;
    wait_for("the other forge", async || other.statuses("beta/tool").first().map(|_| ())).await;
    assert_eq!(scene.told(), Vec::<String>::new());
}

#[tokio::test]
async fn a_restart_loses_no_status() {
    let scene = Scene::known(ForgeKind::Bitbucket, impatient).await;
    scene.fake.set_down(true);
    scene.build(SMALL).await;
    let mut worker = scene.world.worker("w1", 1).await;
    let offer = worker.offer().await;
    worker.take(&offer).await;
    worker.finish(&offer, "failed").await.unwrap();
    drop(worker);
    let scene = scene.restart().await;
    scene.fake.set_down(false);
    told(&scene, "ocelot FAILED").await;
    assert!(scene.told().iter().all(|one| one == "ocelot FAILED"), "{:?}", scene.told());
}

#[tokio::test]
async fn a_repository_with_a_new_name_gets_its_statuses() {
    let scene = Scene::known(ForgeKind::Gitlab, impatient).await;
    scene.fake.rename(REPO, "acme/new-name");
    scene.build(SMALL).await;
    wait_for("the status", async || scene.fake.statuses("acme/new-name").first().map(|_| ())).await;
    scene.get("repos/codes/acme/new-name").await;
}

#[tokio::test]
async fn requests_to_forges_are_counted() {
    let scene = Scene::known(ForgeKind::Github, |_| {}).await;
    scene.ask(Method::POST, "repos", &json!({"forge": "codes", "full_name": "acme/none"})).await;
    let url = format!("http://{}/metrics", scene.world.server.address);
    let token = scene.world.token(ocelot_model::access::Role::Metrics).await;
    let text = reqwest::Client::new().get(url).bearer_auth(token).send().await.unwrap().text().await.unwrap();
    for series in ["{forge=\"codes\",outcome=\"ok\"}", "{forge=\"codes\",outcome=\"refused\"}"] {
        assert!(text.contains(&format!("ocelot_forge_requests_total{series}")), "{text}");
    }
}
