//! Credentials that are wrong, or are so some day: the repository says so, and what to do.

use std::path::Path;

use ocelot_model::ForgeKind;
use ocelot_testkit::forge::{CLIENT, PASSWORD, TOKEN, app_keys};
use ocelot_testkit::{Fault, Manners, SshHost, WebHost, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use super::reconcile::{PATH, Place, often};
use super::scene::{KINDS, Scene};
use crate::room::{SMALL, commit, git};

const TOKEN_URL: &str = "/site/oauth2/access_token";

/// What the repository says once its forge answers so to everything that has `at` in its path.
async fn says(
    kind: ForgeKind,
    access: &Value,
    at: &'static str,
    (status, body): (u16, &'static str),
) -> String {
    let place = Place::with(kind, often, access.clone()).await;
    // Tokens that were given out are asked for again.
    place.scene.fake.revoke_tokens();
    place.scene.fake.always(at, Fault::Status(status, Vec::new(), body));
    let repo = place.until(PATH, |repo| repo["reconciled"]["outcome"] != "nothing is missing").await;
    repo["reconciled"]["outcome"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_forge_that_takes_them_no_longer_is_told_of_at_the_repository() {
    let token = json!({"token": TOKEN});
    let password = json!({"password": {"user": PASSWORD.0, "password": PASSWORD.1}});
    let client = json!({"client": {"id": CLIENT.0, "secret": CLIENT.1}});
    let change = "`ocelot forge change codes` gives Ocelot others";
    let wrong = "it is wrong or was revoked";
    let refused = r#"{"message": "Bad credentials"}"#;
    let expired = r#"{"error": "invalid_token", "error_description": "Token is expired."}"#;
    let narrow = r#"{"message": "needs the scope `repo`"}"#;
    for kind in KINDS {
        for (answer, want) in [
            (
                (401, refused),
                format!("codes: the forge does not take the token: {wrong} (Bad credentials); {change}"),
            ),
            (
                (401, expired),
                format!(
                    "codes: the forge does not take the token: it has expired, make a new one (Token is expired.); {change}"
                ),
            ),
            (
                (403, narrow),
                format!("codes: the credentials do not suffice: needs the scope `repo`; {change}"),
            ),
        ] {
            assert_eq!(says(kind, &token, "", answer).await, want, "{kind}");
        }
    }
    let consumer = "codes: the forge does not take the OAuth consumer's key and secret";
    for (access, at, answer, want) in [
        (
            &password,
            "",
            (401, refused),
            format!("codes: the forge does not take the app password: {wrong} (Bad credentials); {change}"),
        ),
        (&client, TOKEN_URL, (401, refused), format!("{consumer}: {wrong} (Bad credentials); {change}")),
        (
            &client,
            TOKEN_URL,
            (400, r#"{"error": "invalid_client"}"#),
            format!("{consumer}: {wrong} (invalid_client); {change}"),
        ),
        (
            &client,
            TOKEN_URL,
            (400, r#"{"error_description": "The consumer may not do that", "error": "unauthorized_client"}"#),
            format!("{consumer}: {wrong} (unauthorized_client); {change}"),
        ),
        (
            &client,
            TOKEN_URL,
            (503, ""),
            "codes: the forge is not available: Service Unavailable (status 503)".to_owned(),
        ),
    ] {
        assert_eq!(says(ForgeKind::Bitbucket, access, at, answer).await, want, "{answer:?}");
    }
}

#[tokio::test]
async fn a_github_app_that_is_refused_is_told_of_until_it_is_taken_again() {
    let ((private, public), (_, other)) = (app_keys(), app_keys());
    let scene = Scene::new(ForgeKind::Github, often).await;
    scene.fake.install("123", &public, "acme");
    let place = Place::of(scene, json!({"app": {"id": "123", "key": private}})).await;
    let fake = &place.scene.fake;
    let says = async |want: &str| {
        place.until(PATH, |repo| repo["reconciled"]["outcome"] == want).await;
    };
    let well = "nothing is missing";
    let change = "`ocelot forge change codes` gives Ocelot others";
    says(well).await;

    // The key is taken back. What was given out for it ends, too.
    fake.uninstall();
    fake.install("123", &other, "acme");
    let refused = "codes: the forge does not take the id and the private key of the GitHub App";
    let words = "A JSON web token could not be decoded";
    says(&format!("{refused}: it is wrong or was revoked ({words}); {change}")).await;
    fake.install("123", &public, "acme");
    says(well).await;

    fake.uninstall();
    let narrow = "codes: the credentials do not suffice";
    says(&format!("{narrow}: the GitHub App is not installed at `acme`: install it there; {change}")).await;
    fake.install("123", &public, "acme");
    says(well).await;

    let suspended = r#"{"message": "This installation has been suspended"}"#;
    fake.always("access_tokens", Fault::Status(403, Vec::new(), suspended));
    fake.revoke_tokens();
    says(&format!("{narrow}: This installation has been suspended; {change}")).await;
    fake.set_down(false);
    says(well).await;
}

/// Keeps a credential, in the place of one of the same name.
async fn keep(scene: &Scene, kind: &str, fields: Value, value: &str) {
    let body = json!({"name": "DEPLOY", "kind": kind, "fields": fields, "value": value});
    scene.must(Method::POST, "credentials", &body).await;
}

/// What the look at a repository that was added says.
async fn looks(scene: &Scene, url: &str, name: &str, breaks: impl AsyncFnOnce()) -> String {
    let added = json!({"clone_url": url, "name": name});
    scene.must(Method::POST, "repos", &added).await;
    breaks().await;
    let repo = format!("git/{name}");
    scene.must(Method::POST, "polls", &json!({"repo": repo, "cron": "@daily"})).await;
    wait_for("a look", async || {
        let polls = scene.get("polls").await;
        let poll =
            polls["items"].as_array().unwrap().iter().find(|poll| poll["repo"] == repo.as_str())?.clone();
        poll["outcome"].as_str().map(str::to_owned)
    })
    .await
}

fn served(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    git(folder, &["init", "-q", "-b", "main"]);
    commit(folder, &[("ocelot.yml", SMALL)]);
}

#[tokio::test]
async fn a_host_that_takes_them_no_longer_is_told_of_at_the_repository() {
    let scene = Scene::new(ForgeKind::Github, |_| {}).await;
    let folder = scene.world.folder.path().join("served");
    served(&folder.join("app"));
    let explained = |kind: &str| {
        format!(
            "(with the credential DEPLOY: it is wrong or has expired, or may not read this repository; \
             `ocelot creds {kind} add DEPLOY` changes it)"
        )
    };

    let web = WebHost::start(&folder, Manners::Open);
    let url = web.url("app");
    let said = looks(&scene, &url, "none", async || web.turn(Manners::Closed)).await;
    let begin = format!("Ocelot may not read {url}: Authentication failed");
    assert!(said.starts_with(&begin), "{said}");
    let add = "(Ocelot has no credential for this address: `ocelot creds vcs add NAME --field url=URL --field username=USER` gives it one)";
    assert!(said.ends_with(add), "{said}");

    let fields = || json!({"url": web.url(""), "username": "ada"});
    keep(&scene, "vcs", fields(), "secret").await;
    let said = looks(&scene, &url, "wrong", async || keep(&scene, "vcs", fields(), "wrong-one").await).await;
    assert!(said.starts_with(&begin) && said.ends_with(&explained("vcs")), "{said}");
    assert!(!said.contains("wrong-one"), "{said}");
    keep(&scene, "vcs", fields(), "secret").await;
    let said = looks(&scene, &url, "forbidden", async || web.turn(Manners::Forbidding)).await;
    assert!(said.contains("error: 403") && said.ends_with(&explained("vcs")), "{said}");

    let (ssh, stranger) = (SshHost::start(), SshHost::start());
    let url = ssh.url(&folder.join("app"));
    keep(&scene, "ssh", json!({}), &ssh.client_key()).await;
    let said = looks(&scene, &url, "key", async || {
        keep(&scene, "ssh", json!({}), &stranger.client_key()).await;
    })
    .await;
    assert!(said.contains("Permission denied") && said.ends_with(&explained("ssh")), "{said}");
    keep(&scene, "ssh", json!({}), &ssh.client_key()).await;
    let said = looks(&scene, &url, "changed", async || ssh.change_key()).await;
    assert!(said.contains("Host key verification failed") && said.contains("shows another key"), "{said}");
    assert!(!said.contains("credential"), "it was not even shown: {said}");
}
