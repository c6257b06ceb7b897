//! Webhooks are made once, mended, and removed.

use ocelot_model::ForgeKind;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::scene::{KINDS, REPO, Scene};
use crate::room::SMALL;

const WATCH: &str = "watch/codes/acme/app";
const NOTHING: Value = Value::Null;

#[tokio::test]
async fn watching_is_done_once_and_mends_what_is_broken() {
    for kind in KINDS {
        let scene = Scene::known(kind, |_| {}).await;
        let said = scene.must(Method::POST, WATCH, &NOTHING).await;
        let hooks = scene.fake.hooks(REPO);
        assert_eq!(hooks.len(), 1, "{kind}");
        let url = &hooks[0].url;
        let begin = format!("http://{}/hooks/codes/", scene.world.server.address);
        assert!(said["url"] == url.as_str() && url.starts_with(&begin), "{url}");
        assert!(hooks[0].secret.len() >= 32 && !said.to_string().contains(&hooks[0].secret));
        let tries = usize::from(kind != ForgeKind::Bitbucket);
        assert_eq!((hooks[0].pings, said["tried"] == true), (tries, tries == 1), "{kind}");
        assert_eq!(scene.get("repos/codes/acme/app").await["watched"], true);

        scene.must(Method::POST, WATCH, &NOTHING).await;
        let again = scene.fake.hooks(REPO);
        assert_eq!(
            (again.len(), &again[0].id, &again[0].secret),
            (1, &hooks[0].id, &hooks[0].secret),
            "{kind}"
        );

        scene.fake.switch_hooks_off(REPO);
        scene.must(Method::POST, WATCH, &NOTHING).await;
        assert!(scene.fake.hooks(REPO)[0].active, "{kind}");

        scene.fake.drop_hooks(REPO);
        scene.must(Method::POST, WATCH, &NOTHING).await;
        let new = scene.fake.hooks(REPO);
        assert_eq!((new.len(), &new[0].url, &new[0].secret), (1, url, &hooks[0].secret), "{kind}");

        scene.must(Method::DELETE, WATCH, &NOTHING).await;
        scene.must(Method::DELETE, WATCH, &NOTHING).await;
        assert_eq!(scene.fake.hooks(REPO), [], "{kind}");
        assert_eq!(scene.get("repos").await["items"][0]["watched"], false);
    }
}

#[tokio::test]
async fn what_was_left_half_done_heals() {
    let scene = Scene::known(ForgeKind::Gitlab, |_| {}).await;
    scene.fake.set_down(true);
    let (status, said) = scene.ask(Method::POST, WATCH, &NOTHING).await;
    assert_eq!((status, &said["code"]), (StatusCode::BAD_GATEWAY, &"forge_failed".into()));
    scene.fake.set_down(false);
    scene.must(Method::POST, WATCH, &NOTHING).await;
    // While the forge is away, the webhook here stays as well.
    scene.fake.set_down(true);
    assert_eq!(scene.ask(Method::DELETE, WATCH, &NOTHING).await.0, StatusCode::BAD_GATEWAY);
    assert_eq!(scene.get("repos/codes/acme/app").await["watched"], true);
    scene.fake.set_down(false);
    scene.fake.drop_hooks(REPO);
    scene.must(Method::DELETE, WATCH, &NOTHING).await;
    assert_eq!(scene.get("repos/codes/acme/app").await["watched"], false);
}

#[tokio::test]
async fn a_removed_repository_takes_its_webhook_along() {
    let scene = Scene::known(ForgeKind::Gitea, |_| {}).await;
    scene.must(Method::POST, WATCH, &NOTHING).await;
    let (status, _) = scene.ask(Method::DELETE, "repos/codes/acme/app", &NOTHING).await;
    assert_eq!((status, scene.fake.hooks(REPO)), (StatusCode::NO_CONTENT, Vec::new()));

    scene.must(Method::POST, "repos", &json!({"forge": "codes", "full_name": REPO})).await;
    scene.must(Method::POST, WATCH, &NOTHING).await;
    scene.fake.set_down(true);
    let (status, said) = scene.ask(Method::DELETE, "repos/codes/acme/app", &NOTHING).await;
    assert_eq!(status, StatusCode::OK);
    assert!(said["note"].as_str().unwrap().contains("could not be removed"), "{said}");
    assert_eq!(scene.ask(Method::GET, "repos/codes/acme/app", &NOTHING).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_new_name_is_followed_and_another_repository_of_the_old_name_is_not_taken_for_it() {
    for kind in KINDS {
        let scene = Scene::known(kind, |_| {}).await;
        let build = scene.build(SMALL).await;
        scene.fake.rename(REPO, "acme/new-name");
        scene.fake.add_repo(99, REPO);
        let said = scene.must(Method::POST, WATCH, &NOTHING).await;
        assert_eq!(said["repo"], "codes/acme/new-name", "{kind}");
        assert_eq!((scene.fake.hooks("acme/new-name").len(), scene.fake.hooks(REPO).len()), (1, 0), "{kind}");
        assert_eq!(scene.get(&format!("builds/{build}")).await["repo"], "codes/acme/new-name");
        let clone_url = scene.get("repos/codes/acme/new-name").await["clone_url"].clone();
        assert!(clone_url.as_str().unwrap().ends_with("/acme/new-name.git"), "{clone_url}");
        // The other one may come, too.
        scene.must(Method::POST, "repos", &json!({"forge": "codes", "full_name": REPO})).await;
    }
}

#[tokio::test]
async fn many_that_watch_at_once_make_one_webhook() {
    for kind in KINDS {
        let scene = Scene::known(kind, |_| {}).await;
        let all = (0..6).map(|_| scene.ask(Method::POST, WATCH, &NOTHING));
        for (status, said) in futures_util::future::join_all(all).await {
            assert_eq!(status, StatusCode::OK, "{kind} {said}");
        }
        assert_eq!(scene.fake.hooks(REPO).len(), 1, "{kind}");
    }
}
