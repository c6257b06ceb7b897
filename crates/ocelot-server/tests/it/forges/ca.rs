//! A forge whose certificate an authority of one's own has signed, behind real TLS.

use ocelot_model::ForgeKind;
use ocelot_testkit::forge::{CLIENT, TOKEN};
use ocelot_testkit::{Authority, GitRepo, Manners, TlsFront, WebHost};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::scene::{KINDS, REPO, Scene};

/// The certificate of an authority, as PEM.
fn pem(authority: &Authority) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::read_to_string(authority.write(folder.path())).unwrap()
}

fn forge(scene: &Scene, front: &TlsFront, ca: Option<&str>) -> Value {
    let access = match scene.fake.kind() {
        ForgeKind::Bitbucket => json!({"client": {"id": CLIENT.0, "secret": CLIENT.1}}),
        ForgeKind::Git | ForgeKind::Github | ForgeKind::Gitlab | ForgeKind::Gitea => json!({"token": TOKEN}),
    };
    let (kind, url) = (scene.fake.kind().as_str(), front.url());
    let mut body = json!({"name": "codes", "kind": kind, "base_url": url, "access": access});
    if let Some(ca) = ca {
        body["ca"] = ca.into();
    }
    body
}

#[tokio::test]
async fn each_forge_is_believed_with_it_and_not_without() {
    let authority = Authority::new("ours");
    let (ours, others) = (pem(&authority), pem(&Authority::new("somebody else's")));
    for kind in KINDS {
        let scene = Scene::new(kind, |_| {}).await;
        let front = TlsFront::before(&scene.fake.url(), &authority).await;
        for ca in [None, Some(others.as_str())] {
            let (status, said) = scene.ask(Method::POST, "forges", &forge(&scene, &front, ca)).await;
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{kind}: {said}");
            assert!(said["detail"].as_str().unwrap().contains("`ocelot forge add --ca FILE`"), "{said}");
        }
        // The OAuth consumer of Bitbucket asks for its token there, too.
        let made = scene.must(Method::POST, "forges", &forge(&scene, &front, Some(&ours))).await;
        assert_eq!(made["ca"], true);
        assert!(!scene.get("forges").await.to_string().contains("CERTIFICATE"));
        scene.must(Method::POST, "repos", &json!({"forge": "codes", "full_name": REPO})).await;

        let (status, said) = scene.ask(Method::PATCH, "forges/codes", &json!({"ca": others})).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "the credentials are tried with it: {said}");
        scene.must(Method::PATCH, "forges/codes", &json!({"ca": format!("{others}{ours}")})).await;
        assert_eq!(scene.get("forges/codes/repos").await["items"][0]["full_name"], REPO, "{kind}");
        let (status, said) = scene.ask(Method::PATCH, "forges/codes", &json!({"ca": ""})).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "it needs one: {said}");
        assert_eq!(scene.get("forges").await["items"][0]["ca"], true);
    }
}

#[tokio::test]
async fn one_that_is_not_needed_any_more_is_taken_away() {
    let scene = Scene::known(ForgeKind::Gitea, |_| {}).await;
    let ours = pem(&Authority::new("ours"));
    assert_eq!(scene.must(Method::PATCH, "forges/codes", &json!({"ca": ours})).await["ca"], true);
    assert_eq!(scene.must(Method::PATCH, "forges/codes", &json!({"ca": ""})).await["ca"], false);
    let audit = scene.get("audit").await;
    assert_eq!(audit["items"][0]["detail"], "no certificate authority");
    assert_eq!(scene.get("forges/codes/repos").await["items"][0]["full_name"], REPO);
}

#[tokio::test]
async fn git_believes_it_on_the_server_and_the_worker_is_told() {
    let authority = Authority::new("ours");
    let scene = Scene::new(ForgeKind::Gitea, |_| {}).await;
    let (repo, served) = (GitRepo::with(crate::room::SMALL), tempfile::tempdir().unwrap());
    repo.git(&["clone", "--quiet", "--bare", ".", served.path().join("acme/app.git").to_str().unwrap()]);
    let host = WebHost::start(served.path(), Manners::Open);
    let front = TlsFront::before(&scene.fake.url(), &authority).await;
    let clones = TlsFront::before(&host.url(""), &authority).await;
    scene.fake.clones_from(&clones.url());
    scene.must(Method::POST, "forges", &forge(&scene, &front, Some(&pem(&authority)))).await;
    scene.must(Method::POST, "repos", &json!({"forge": "codes", "full_name": REPO})).await;
    let url = format!("{}/acme/app.git", clones.url());
    let mut worker = scene.world.worker("w1", 1).await;
    scene.must(Method::POST, "builds", &json!({"repo": "codes/acme/app"})).await;
    let offer = worker.offer().await;
    assert_eq!((offer.clone_url, offer.ca), (url, pem(&authority)));
}

#[tokio::test]
async fn what_is_no_authority_is_refused() {
    let authority = Authority::new("ours");
    let scene = Scene::new(ForgeKind::Gitea, |_| {}).await;
    let front = TlsFront::before(&scene.fake.url(), &authority).await;
    let (cert, key) = authority.sign(&["127.0.0.1"]);
    for (ca, words) in [
        ("nothing".to_owned(), "no certificate in it"),
        (format!("{cert}{key}"), "a private key in it"),
        ("a".repeat(70_000), "more than 64 KiB"),
    ] {
        let (status, said) = scene.ask(Method::POST, "forges", &forge(&scene, &front, Some(&ca))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
        assert!(said["detail"].as_str().unwrap().contains(words), "{words}: {said}");
    }
}
