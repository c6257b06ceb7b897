//! A forge from the command line: added, looked through, watched, and removed again.

use ocelot_model::ForgeKind;
use ocelot_model::Status;
use ocelot_testkit::forge::{Pull, Scene, TOKEN, Told, Webhook};
use ocelot_testkit::{FakeForge, GitRepo, Manners, Setup, TestApp, WebHost, wait_for};

use super::OCELOT;

#[tokio::test]
async fn a_forge_is_added_watched_and_removed() {
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    let fake = FakeForge::start(ForgeKind::Gitea).await;
    for (number, name, file) in [(1, "acme/app", "ocelot.yml"), (2, "acme/lib", "README")] {
        fake.add_repo(number, name);
        fake.commit(name, "main", "one", &[(file, Some("image: a\n"))]);
    }
    let (good, bad) = (app.home().join("good"), app.home().join("bad"));
    std::fs::write(&good, format!("{TOKEN}\n")).unwrap();
    std::fs::write(&bad, "wrong").unwrap();
    let url = fake.url();
    let add = async |file: &std::path::Path, code: i32| {
        let file = file.to_str().unwrap();
        let kind = ["forge", "add", "codes", "--kind", "forgejo", "--at", &url, "--insecure-http"];
        let args: Vec<&str> = kind.into_iter().chain(["--token-file", file]).collect();
        app.cli(&args).await.expect(code)
    };
    assert!(add(&bad, 2).await.stderr.contains("does not take the token"));
    assert!(add(&good, 0).await.stdout.contains("Added codes"));
    let list = app.cli(&["forge", "list"]).await.expect(0).stdout;
    assert!(list.contains("codes") && list.contains("gitea") && !list.contains(TOKEN), "{list}");
    let change = ["forge", "change", "codes", "--hook-secret-file", good.to_str().unwrap()];
    app.cli(&change).await.expect(0);
    assert_eq!(app.cli(&["forge", "list", "--json"]).await.expect(0).json()[0]["hook_secret"], true);

    let found = app.cli(&["repo", "discover", "codes", "acme"]).await.expect(0).stdout;
    assert!(found.contains("acme/app") && found.contains("acme/lib"), "{found}");
    let said = app.cli(&["repo", "discover", "codes", "--watch"]).await.expect(0).stdout;
    assert_eq!(said, "Watching codes/acme/app.\n");
    assert_eq!((fake.hooks("acme/app").len(), fake.hooks("acme/lib").len()), (1, 0));
    assert!(app.cli(&["repo", "show", "app"]).await.expect(0).stdout.contains("watched: yes"));
    // The forge may be left out.
    app.cli(&["watch", "acme/app"]).await.expect(0);
    let said = app.cli(&["watch", "acme/none"]).await.expect(2).stderr;
    assert!(said.contains("no repository is named `acme/none`; write FORGE/OWNER/NAME"), "{said}");
    // A list of nothing says whether there is such a repository.
    for what in ["deliveries", "summary"] {
        let said = app.cli(&[what, "codes/acme/none"]).await.expect(2).stderr;
        assert!(said.contains("codes/acme/none: It does not exist"), "{said}");
    }
    assert!(app.cli(&["deliveries", "app"]).await.expect(0).stdout.starts_with("No webhook came"));
    let said = app.cli(&["deliveries", "app", "--state", "failed"]).await.expect(0).stdout;
    assert_eq!(said, "No webhook is in the state failed.\n");
    let said =
        app.cli_with(&["secret", "add", "TOKEN", "--scope", "acme/app"], "canary").await.expect(2).stderr;
    assert!(said.contains("acme/app: It does not exist"), "{said}");
    app.cli(&["unwatch", "app"]).await.expect(0);
    assert_eq!(fake.hooks("acme/app").len(), 0);
    app.cli(&["repo", "add", "acme/lib", "--forge", "codes", "--ssh"]).await.expect(0);
    app.cli(&["forge", "remove", "codes"]).await.expect(2);

    app.cli(&["watch", "app"]).await.expect(0);
    fake.set_down(true);
    let said = app.cli(&["repo", "remove", "app", "--yes"]).await.expect(0);
    assert!(said.stderr.contains("could not be removed"), "{}", said.stderr);
    app.cli(&["repo", "remove", "lib", "--yes"]).await.expect(0);
    app.cli(&["forge", "remove", "codes"]).await.expect(0);
    let done = app.cli(&["audit", "--subject", "codes"]).await.expect(0).stdout;
    assert!(done.contains("forge_added") && done.contains("forge_removed"), "{done}");
    let done = app.cli(&["audit", "--action", "repo_watched", "--json"]).await.expect(0).json();
    assert_eq!(done[0]["subject"], "codes/acme/app", "{done}");
    app.cli(&["audit", "--action", "nonsense"]).await.expect(64);
}

const YML: &str = "image: ocelot-test/busybox\nstages:\n- {name: test, script: ['echo \"request=$OCELOT_PR tag=$OCELOT_TAG.\"']}\n";

/// From the push to the status and the comment, with nothing faked but the forge itself.
async fn comes_back_as_a_status(kind: ForgeKind) {
    let app = TestApp::start(OCELOT, Setup::Up).await;
    let fake = FakeForge::start(kind).await;
    let work = GitRepo::with(YML);
    let served = app.home().join("served");
    let bare = served.join("acme/app.git");
    work.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    let host = WebHost::start(&served, Manners::Open);
    fake.clones_from(&host.url(""));
    fake.add_repo(11, "acme/app");
    let token = app.home().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let (word, url, token) = (kind.to_string(), fake.url(), token.to_str().unwrap());
    let add =
        ["forge", "add", "codes", "--kind", &word, "--at", &url, "--insecure-http", "--token-file", token];
    app.cli(&add).await.expect(0);
    app.cli(&["repo", "add", "acme/app", "--forge", "codes"]).await.expect(0);
    app.cli(&["watch", "app"]).await.expect(0);

    let before = work.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let after = work.commit(&[("a", "1")]);
    work.git(&["push", "--quiet", bare.to_str().unwrap(), "main", "main:topic"]);
    let scene = Scene { name: "main".into(), before, after: after.clone(), ..Scene::default() };
    let push = Webhook::new(kind, Told::BranchPushed, &scene).unwrap();
    let answers = fake.tell("acme/app", &push).await;
    assert!(answers.iter().all(|status| (200..300).contains(status)) && answers.len() == 1, "{answers:?}");
    wait_for("the build", async || app.admin().build(1).await.ok()).await;
    let build = app.finished(1).await;
    assert_eq!((build.status, build.commit.as_str()), (Status::Passed, after.as_str()), "{build:#?}");
    let good = |state: &str| ["success", "SUCCESSFUL"].contains(&state);
    let status = wait_for("a good status", async || {
        fake.statuses("acme/app").into_iter().find(|status| status.commit == after && good(&status.state))
    })
    .await;
    assert!(status.context == "ocelot" && status.link.ends_with("/builds/1"), "{status:?}");

    // Sent again, and replayed, it is the same build.
    fake.tell("acme/app", &push).await;
    app.cli(&["deliveries", "replay", "1"]).await.expect(0);
    let told = app.cli(&["deliveries", "app"]).await.expect(0).stdout;
    assert!(told.contains("built") && told.contains("codes/acme/app"), "{told}");

    // A pull request of another commit gets a build and one comment.
    let change = work.commit(&[("a", "2")]);
    work.git(&["push", "--quiet", bare.to_str().unwrap(), "HEAD:topic"]);
    let pull = Pull {
        number: 3,
        title: "A change".into(),
        source: Some(11),
        branch: "topic".into(),
        commit: change.clone(),
        target: "main".into(),
    };
    fake.open("acme/app", pull);
    let scene = Scene { before: after, after: change, ..Scene::default() };
    fake.tell("acme/app", &Webhook::new(kind, Told::PullRequestOpened, &scene).unwrap()).await;
    let words = wait_for("a comment", async || fake.comments("acme/app", 3).pop()).await;
    assert!(words.contains("build 2") && words.contains("passed"), "{words}");
    assert!(app.admin().log(2).await.unwrap().contains("request=3 tag=."));
    assert_eq!(app.admin().builds(&ocelot_api::client::BuildQuery::default()).await.unwrap().items.len(), 2);

    // A tag is a build of its own.
    work.git(&["push", "--quiet", bare.to_str().unwrap(), "HEAD:refs/tags/v1"]);
    fake.tell(
        "acme/app",
        &Webhook::new(kind, Told::TagCreated, &Scene { name: "v1".into(), ..scene }).unwrap(),
    )
    .await;
    wait_for("the build of the tag", async || app.admin().build(3).await.ok()).await;
    app.finished(3).await;
    assert!(app.admin().log(3).await.unwrap().contains("request= tag=v1."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_github_comes_back_as_a_status() {
    comes_back_as_a_status(ForgeKind::Github).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_gitlab_comes_back_as_a_status() {
    comes_back_as_a_status(ForgeKind::Gitlab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_bitbucket_comes_back_as_a_status() {
    comes_back_as_a_status(ForgeKind::Bitbucket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_gitea_comes_back_as_a_status() {
    comes_back_as_a_status(ForgeKind::Gitea).await;
}
