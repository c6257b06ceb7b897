//! Forges come, change and go; what they have is found.

use ocelot_api::proto::Ready;
use ocelot_api::proto::from_worker::Message as Up;
use ocelot_model::ForgeKind;
use ocelot_model::access::Role;
use ocelot_testkit::forge::{CLIENT, PASSWORD, TOKEN};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::scene::{KINDS, REPO, Scene};
use crate::room::answer;

const NOTHING: Value = Value::Null;

#[tokio::test]
async fn credentials_are_tried_before_they_are_stored() {
    for kind in KINDS {
        let scene = Scene::new(kind, |_| {}).await;
        let (status, said) = scene.ask(Method::POST, "forges", &scene.forge("codes", "wrong")).await;
        assert_eq!((status.as_u16(), &said["code"]), (422, &"forge_credentials".into()), "{kind}: {said}");
        assert!(said["detail"].as_str().unwrap().contains("does not take the token"), "{said}");
        assert_eq!(scene.get("forges").await["items"].as_array().unwrap().len(), 1, "{kind}: it was stored");

        let made = scene.must(Method::POST, "forges", &scene.forge("codes", TOKEN)).await;
        assert_eq!((&made["kind"], &made["access"]), (&kind.as_str().into(), &"token".into()));
        let (status, _) = scene.ask(Method::POST, "forges", &scene.forge("codes", TOKEN)).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(!scene.get("forges").await.to_string().contains(TOKEN));

        let change = |token: &str| json!({"access": {"token": token}, "hook_secret": "a-long-secret"});
        let (status, _) = scene.ask(Method::PATCH, "forges/codes", &change("wrong")).await;
        assert_eq!(status.as_u16(), 422);
        scene.must(Method::POST, "repos", &json!({"forge": "codes", "full_name": REPO})).await;
        let changed = scene.must(Method::PATCH, "forges/codes", &change(TOKEN)).await;
        assert_eq!(changed["hook_secret"], true);

        let (status, said) = scene.ask(Method::DELETE, "forges/codes", &NOTHING).await;
        assert_eq!(status, StatusCode::CONFLICT, "it has a repository: {said}");
        scene.must(Method::DELETE, "repos/codes/acme/app", &NOTHING).await;
        scene.must(Method::DELETE, "forges/codes", &NOTHING).await;
        let (status, _) = scene.ask(Method::DELETE, "forges/codes", &NOTHING).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn bitbucket_takes_an_oauth_consumer_and_an_app_password() {
    let scene = Scene::new(ForgeKind::Bitbucket, |_| {}).await;
    let with = |name: &str, access: Value| {
        let mut body = scene.forge(name, "");
        body["access"] = access;
        body
    };
    let client = |secret: &str| json!({"client": {"id": CLIENT.0, "secret": secret}});
    let (status, said) = scene.ask(Method::POST, "forges", &with("bad", client("wrong"))).await;
    assert_eq!(status.as_u16(), 422, "{said}");
    scene.must(Method::POST, "forges", &with("consumer", client(CLIENT.1))).await;
    let password = json!({"password": {"user": PASSWORD.0, "password": PASSWORD.1}});
    scene.must(Method::POST, "forges", &with("person", password)).await;
    for forge in ["consumer", "person"] {
        let found = scene.get(&format!("forges/{forge}/repos")).await;
        assert_eq!(found["items"][0]["full_name"], REPO, "{found}");
    }
}

#[tokio::test]
async fn what_cannot_be_a_forge_is_refused_in_words() {
    let scene = Scene::new(ForgeKind::Gitea, |_| {}).await;
    let good = scene.forge("codes", TOKEN);
    let check = async |key: &str, value: Value, status: u16, words: &str| {
        let mut body = good.clone();
        body[key] = value;
        let (got, said) = scene.ask(Method::POST, "forges", &body).await;
        let detail = said["detail"].as_str().unwrap_or_default();
        assert!(got.as_u16() == status && detail.contains(words), "{key}: {got} {said}");
    };
    check("insecure_http", json!(false), 400, "--insecure-http").await;
    check("kind", json!("svn"), 400, "one of git, github").await;
    check("kind", json!("git"), 400, "repo add").await;
    check("name", json!("a/b"), 400, "name for a forge").await;
    check("name", json!("git"), 409, "another name").await;
    check("base_url", json!("ftp://h"), 400, "no address of a forge").await;
    check("base_url", json!("https://me:secret@h"), 400, "without a user").await;
    check("access", json!({"token": "a\nb"}), 400, "line break").await;
    check("access", json!({"password": {"user": "a", "password": "b"}}), 400, "takes other credentials")
        .await;
    check("hook_secret", json!("short"), 400, "8 characters").await;
    let url = format!("{}/somewhere/else", scene.fake.url());
    check("base_url", json!(url), 400, "does not answer like gitea").await;
    check("base_url", json!("http://127.0.0.1:1"), 502, "not available").await;
    assert_eq!(scene.get("forges").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_missing_is_said_with_the_command_that_helps() {
    let scene = Scene::new(ForgeKind::Github, |_| {}).await;
    let (status, said) =
        scene.ask(Method::POST, "repos", &json!({"forge": "github", "full_name": REPO})).await;
    assert_eq!(status.as_u16(), 422);
    assert!(said["detail"].as_str().unwrap().contains("`ocelot forge add github --kind github`"), "{said}");
    let (status, said) = scene.ask(Method::POST, "watch/git/example", &NOTHING).await;
    assert_eq!((status.as_u16(), &said["code"]), (422, &"plain_git".into()));
    assert!(said["detail"].as_str().unwrap().contains("`ocelot poll add git/example`"), "{said}");
    for (path, want) in [
        ("forges/nope/repos", "there is no forge `nope` here, only git; `ocelot forge add nope --kind KIND`"),
        ("forges/git/repos", "`ocelot repo add URL` adds a repository of it"),
    ] {
        let (status, said) = scene.ask(Method::GET, path, &NOTHING).await;
        assert!(status.as_u16() == 422 && said["detail"].as_str().unwrap().contains(want), "{said}");
    }
    scene.must(Method::POST, "forges", &scene.forge("codes", TOKEN)).await;
    let body = json!({"forge": "codes", "full_name": REPO});
    scene.must(Method::POST, "repos", &body).await;
    let (status, said) = scene.ask(Method::POST, "repos", &body).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let want = "codes/acme/app is here already; `ocelot watch codes/acme/app` builds what is pushed there";
    assert_eq!(said["detail"], want);
    for (body, want) in [
        (json!({"forge": "codes", "full_name": "acme/none"}), 422),
        (json!({"forge": "codes", "full_name": "acme"}), 400),
        (json!({"forge": "codes", "full_name": "../.."}), 400),
        (json!({"forge": "codes", "clone_url": "https://h/a.git"}), 400),
        (json!({"full_name": REPO}), 400),
    ] {
        let (status, said) = scene.ask(Method::POST, "repos", &body).await;
        assert_eq!(status.as_u16(), want, "{body}: {said}");
    }
}

#[tokio::test]
async fn a_repository_is_what_its_forge_says() {
    for kind in KINDS {
        let scene = Scene::known(kind, |_| {}).await;
        let repo = scene.get("repos/codes/acme/app").await;
        let want = (&"acme".into(), &"app".into(), &"main".into(), &false.into());
        assert_eq!((&repo["owner"], &repo["name"], &repo["default_branch"], &repo["watched"]), want);
        assert!(repo["clone_url"].as_str().unwrap().ends_with("/acme/app.git"), "{repo}");
        scene.fake.add_repo(12, "acme/lib");
        scene.fake.commit("acme/lib", "main", "one", &[("a", Some("b"))]);
        let body = json!({"forge": "codes", "full_name": "acme/lib", "ssh": true});
        let lib = scene.must(Method::POST, "repos", &body).await;
        assert_eq!(lib["clone_url"], "git@127.0.0.1:acme/lib.git");
        let (status, _) = scene.ask(Method::POST, "repos", &body).await;
        assert_eq!(status, StatusCode::CONFLICT);
    }
}

#[tokio::test]
async fn what_a_forge_has_is_listed_with_what_is_here() {
    for kind in KINDS {
        let scene = Scene::known(kind, |_| {}).await;
        for (number, name) in [(12, "acme/lib"), (13, "beta/tool")] {
            scene.fake.add_repo(number, name);
            scene.fake.commit(name, "main", "one", &[("README", Some("x"))]);
        }
        let found = scene.get("forges/codes/repos").await;
        let rows: Vec<Value> = found["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| json!([row["full_name"], row["pipeline"], row["repo"]]))
            .collect();
        let want =
            json!([[REPO, true, "codes/acme/app"], ["acme/lib", false, null], ["beta/tool", false, null]]);
        assert_eq!((json!(rows), &found["cut"]), (want, &false.into()), "{kind}");
        let of_one = scene.get("forges/codes/repos?owner=beta").await;
        assert_eq!(of_one["items"].as_array().unwrap().len(), 1, "{kind}: {of_one}");
    }
}

#[tokio::test]
async fn only_an_admin_of_the_whole_server_changes_forges() {
    let scene = Scene::known(ForgeKind::Gitea, |_| {}).await;
    let store = &scene.world.app().store;
    for (role, scope, list, rest) in
        [(Role::Write, &[][..], 200, 403), (Role::Admin, &["codes/acme/app".to_owned()], 200, 403)]
    {
        let (_, token) =
            store.create_token(&format!("a {role} one"), role, scope, None, "tests").await.unwrap();
        let base = format!("http://{}/api/v1", scene.world.server.address);
        let client = reqwest::Client::new();
        let ask = async |method: Method, path: &str| {
            let request = client.request(method, format!("{base}/{path}")).bearer_auth(&token);
            answer(request.json(&scene.forge("x", TOKEN))).await.0.as_u16()
        };
        assert_eq!(ask(Method::GET, "forges").await, list, "{role}");
        for (method, path) in [
            (Method::POST, "forges"),
            (Method::PATCH, "forges/codes"),
            (Method::DELETE, "forges/codes"),
            (Method::GET, "forges/codes/repos"),
        ] {
            assert_eq!(ask(method.clone(), path).await, rest, "{role} {method} {path}");
        }
    }
}

/// Key and secret of an OAuth consumer are changed for a token before anything is cloned with them.
#[tokio::test]
async fn a_consumer_of_bitbucket_clones_with_a_token() {
    let scene = Scene::known(ForgeKind::Bitbucket, |_| {}).await;
    let token_url = format!("{}/site/oauth2/access_token", scene.fake.url());
    let add = async |name: &str, token_url: &str, secret: &str| {
        let new = json!({"name": name, "scope": "codes/acme/", "kind": "vcs", "value": secret, "fields":
            {"url": scene.fake.url().replace("http:", "https:"), "username": CLIENT.0, "token_url": token_url}});
        scene.must(Method::POST, "credentials", &new).await;
    };
    add("CLONE", &token_url, CLIENT.1).await;
    let mut worker = scene.world.worker("w1", 2).await;
    let mut offers = Vec::new();
    for _ in 0..2 {
        scene.build(crate::room::SMALL).await;
        offers.push(worker.offer().await);
    }
    let given = |at: usize| {
        let credential = &offers[at].credentials[0];
        assert!(credential.for_worker && !credential.for_stages);
        (credential.fields["username"].clone(), String::from_utf8(credential.value.to_vec()).unwrap())
    };
    let (user, token) = given(0);
    assert!(user == "x-token-auth" && token.starts_with("oauth-"), "{user}");
    assert!(!offers[0].credentials[0].fields.contains_key("token_url"));
    assert_eq!(given(1).1, token, "it is used for as long as it lasts");

    // A wrong secret, or an address that no admin knows, ends the job with the reason.
    for (url, secret, words) in [
        (token_url.as_str(), "wrong", "does not take the OAuth consumer's key and secret"),
        ("https://169.254.169.254/token", CLIENT.1, "is at no forge that is here"),
    ] {
        add("CLONE", url, secret).await;
        worker.say(Up::Ready(Ready { slots: 1 }));
        let build = scene.build(crate::room::SMALL).await;
        let over = scene.world.until(build, |it| it.build.status.is_terminal()).await;
        assert!(over.jobs[0].reason.as_deref().unwrap().contains(words), "{over:?}");
    }
}
