//! One repository is built after another one, from file to variable, in real containers and processes.

use ocelot_api::body::Build;
use ocelot_model::access::Role;
use ocelot_model::{EventKind, ForgeKind, Status};
use ocelot_testkit::forge::{Scene, TOKEN, Told, Webhook};
use ocelot_testkit::{
    FakeForge, GitRepo, Manners, Setup, Stages as _, TestApp, WebHost, nothing_left, wait_for,
};

use super::OCELOT;

const POGO: &str = "image: ocelot-test/busybox\nstages:\n- {name: test, script: ['test ! -e broken']}\n";
const TASK: &str = "image: ocelot-test/busybox\nstages:\n\
    - {name: always, script: ['echo \"hash=${POGO_GIT_HASH:-none}\"']}\n\
    - name: after pogo\n  triggers: ['\\upstream pogo']\n  script:\n\
    \x20   - echo \"$POGO_GIT_HASH $POGO_GIT_HASH_SHORT $POGO_GIT_BRANCH $POGO_BUILD_ID\"\n\
    \x20   - test \"$OCELOT_EVENT\" = subscription\n\
    subscriptions:\n- acctRepo: pogo\n  alias: pogo\n  branchQueueMap: [develop:develop, main:main]\n";
const SHOP: &str = "image: ocelot-test/busybox\nstages:\n- {name: test, script: ['test \"$TASK_GIT_BRANCH\" = develop']}\n\
    subscriptions:\n- {acctRepo: task-service, alias: task, branches: {develop: main}}\n";
/// What is said of a build that follows one that its reader may not see, or that is gone.
const HIDDEN: &str =
    "It was made after a build of another repository, which you may not see or which is not there any more.";

#[tokio::test]
async fn task_service_is_built_after_pogo() {
    let app = TestApp::start(OCELOT, Setup::Up).await;
    let (pogo, task, shop) = (GitRepo::with(POGO), GitRepo::with(TASK), GitRepo::with(SHOP));
    task.git(&["branch", "develop"]);
    pogo.git(&["checkout", "--quiet", "-b", "develop"]);
    let commit = pogo.commit(&[("x", "1")]);
    let handle = app.add_repo(&task, "task-service").await;
    let first = app.start_build(&handle).await;
    let first = app.finished(first.number).await;
    assert_eq!((first.status, first.stage("after pogo").status), (Status::Passed, Status::Skipped));
    assert!(app.stage_log(&first, "always").await.contains("hash=none"));
    let said = app.cli(&["subscriptions"]).await.expect(0).stdout;
    assert!(said.contains("git/task-service") && said.contains("no repository git/pogo here"), "{said}");
    let said = app.cli(&["status", &first.number.to_string()]).await.expect(0).stdout;
    assert!(said.contains("subscription pogo: there is no repository git/pogo here"), "{said}");
    let why = async |number: i64| app.cli(&["why", &number.to_string()]).await.expect(0).stdout;
    let said = why(first.number).await;
    assert!(said.contains("subscription pogo: there is no repository git/pogo here"), "{said}");
    let shop = app.add_repo(&shop, "shop").await;
    let shop = app.start_build(&shop).await;
    app.finished(shop.number).await;

    app.add_repo(&pogo, "pogo").await;
    let upstream = app.cli_in(pogo.path(), &["build", "--json"]).await.expect(0);
    let upstream: serde_json::Value = serde_json::from_str(&upstream.stdout).unwrap();
    let upstream = app.finished(upstream["number"].as_i64().unwrap()).await;
    assert_eq!((upstream.status, &*upstream.branch), (Status::Passed, "develop"));
    let made = wait_for("the build that follows", async || {
        let found = app.admin().builds(&ocelot_api::client::BuildQuery::default()).await.ok()?.items;
        found.into_iter().find(|build| build.event == EventKind::Subscription)
    })
    .await;
    let made = app.finished(made.number).await;
    assert_eq!((made.status, &*made.repo, &*made.branch), (Status::Passed, "git/task-service", "develop"));
    let log = app.stage_log(&made, "after pogo").await;
    let want = format!("{commit} {} develop {}\n", &commit[..7], upstream.number);
    assert!(log.contains(&want), "{want} in {log}");
    assert_eq!(made.upstream, Some(upstream.number));
    let said = app.cli(&["status", &made.number.to_string()]).await.expect(0).stdout;
    assert!(said.contains(&format!("after: git/pogo {} (develop ", upstream.number)), "{said}");
    let said = app.cli(&["status", &upstream.number.to_string()]).await.expect(0).stdout;
    assert!(said.contains(&format!("followed by: git/task-service {} (passed)", made.number)), "{said}");
    // A build after that one: who came before, and who comes after.
    let last = wait_for("the build after that", async || {
        let found = app.admin().builds(&ocelot_api::client::BuildQuery::default()).await.ok()?.items;
        found.into_iter().find(|build| build.upstream == Some(made.number))
    })
    .await;
    assert_eq!(app.finished(last.number).await.status, Status::Passed);
    let after = |repo: &str, build: &Build| {
        format!("build {} of {repo} (develop {})", build.number, &build.commit[..10])
    };
    let (made_after, pogo_after) = (after("git/task-service", &made), after("git/pogo", &upstream));
    let said = why(last.number).await;
    let whole = format!("It was made after {made_after}, which was made after {pogo_after}.");
    assert!(said.contains(&whole), "{whole} in {said}");
    let said = why(made.number).await;
    let below = format!("Build {} of git/shop was made after it: passed", last.number);
    assert!(said.contains(&format!("It was made after {pogo_after}.")) && said.contains(&below), "{said}");
    let said = why(first.number).await;
    assert!(!said.contains("after") && !said.contains("subscription"), "{said}");
    let said = app.cli(&["why", "--json", &last.number.to_string()]).await.expect(0).stdout;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let numbers: Vec<_> =
        said["upstream"].as_array().unwrap().iter().map(|of| of["build"].as_i64()).collect();
    assert_eq!(numbers, [Some(made.number), Some(upstream.number)]);
    let said = app.cli(&["subscriptions", "pogo"]).await.expect(0).stdout;
    assert!(
        said.contains("develop:develop main:main") && said.contains(&format!("build {}", made.number)),
        "{said}"
    );
    let said = app.cli(&["subscriptions", "git/none", "--json"]).await.expect(0).stdout;
    assert_eq!(said.trim(), "[]");

    // Who may not see a build on the way is told no more than that there is one.
    let seen_by = async |scope: &[&str], number: i64| {
        let token = app.token(Role::Read, scope).await;
        app.cli(&["why", &number.to_string(), "--token", &token]).await.expect(0).stdout
    };
    let said = seen_by(&["git/task-service"], made.number).await;
    assert!(said.contains(HIDDEN) && !said.contains(&commit[..7]) && !said.contains("git/shop"), "{said}");
    let said = seen_by(&["git/task-service", "git/shop"], last.number).await;
    assert!(said.contains(&format!("It was made after {made_after}.\n")), "{said}");
    let said = seen_by(&["git/pogo", "git/shop"], last.number).await;
    assert!(said.contains(HIDDEN) && !said.contains("git/pogo"), "{said}");

    // A retry still follows it; a build that fails is followed by none.
    app.cli(&["retry", &made.number.to_string(), "--follow"]).await.expect(1);
    let again = app.admin().builds(&ocelot_api::client::BuildQuery::default()).await.unwrap().items.remove(0);
    let again = app.finished(again.number).await;
    assert!(app.stage_log(&again, "after pogo").await.contains(&want));
    assert_eq!((again.event, again.upstream), (EventKind::Retry, Some(upstream.number)));
    pogo.commit(&[("broken", "1")]);
    app.cli_in(pogo.path(), &["build", "--follow"]).await.expect(1);
    let builds = app.admin().builds(&ocelot_api::client::BuildQuery::default()).await.unwrap().items;
    assert_eq!(builds.iter().filter(|build| build.event == EventKind::Subscription).count(), 2);
    // One that is gone looks the same.
    app.cli(&["repo", "remove", "git/pogo", "--yes"]).await.expect(0);
    let said = why(made.number).await;
    assert!(said.contains(HIDDEN), "{said}");
    let said = why(last.number).await;
    assert!(said.contains(&format!("It was made after {made_after}.\n")), "{said}");
    nothing_left(&app.instance());
}

/// Waits for the build that was made after this one.
async fn after(app: &TestApp, upstream: i64) -> Build {
    let made = wait_for(&format!("the build after build {upstream}"), async || {
        let found = app.admin().builds(&ocelot_api::client::BuildQuery::default()).await.ok()?.items;
        found.into_iter().find(|build| build.upstream == Some(upstream))
    })
    .await;
    app.finished(made.number).await
}

/// Each upstream gives its own variables and lets its own stages run; and whoever pushes while it is built is in the build
/// that follows.
#[tokio::test]
async fn each_of_several_upstreams_gives_its_own_variables() {
    const BOTH: &str = "machineTag: here\nstages:\n\
        - {name: always, script: ['echo \"pogo=${POGO_GIT_HASH:-}/${POGO_GIT_BRANCH:-}/${POGO_BUILD_ID:-}.\"',\
         'echo \"lib=${LIB_GIT_HASH:-}/${LIB_GIT_BRANCH:-}/${LIB_BUILD_ID:-}.\"']}\n\
        - {name: after pogo, script: [ls], triggers: ['\\upstream pogo']}\n\
        - {name: after lib, script: [ls], when: 'upstream(\"lib\")'}\n\
        subscriptions:\n- {acctRepo: pogo, alias: pogo, branches: {main: main}}\n\
        - {acctRepo: git/lib, alias: lib, branchQueueMap: ['main:main']}\n";
    let app = TestApp::start(OCELOT, Setup::Host).await;
    let go_on = app.home().join("go-on");
    let waits = format!("while ! test -e {}; do sleep 0.05; done", go_on.display());
    let waits = format!("machineTag: here\nstages:\n- {{name: test, script: ['echo begun', '{waits}']}}\n");
    let both = GitRepo::with(BOTH);
    let pogo = GitRepo::with(&waits);
    let lib = GitRepo::with("machineTag: here\nstages:\n- {name: test, script: [ls]}\n");
    let handle = app.add_repo(&both, "both").await;
    let first = app.start_build(&handle).await;
    let first = app.finished(first.number).await;
    let (pogo, lib) = (app.add_repo(&pogo, "pogo").await, app.add_repo(&lib, "lib").await);

    let upstream = app.start_build(&lib).await;
    let upstream = app.finished(upstream.number).await;
    let made = after(&app, upstream.number).await;
    assert_eq!((made.status, &made.commit), (Status::Passed, &first.commit));
    let log = app.stage_log(&made, "always").await;
    let want = format!("lib={}/main/{}.\n", upstream.commit, upstream.number);
    assert!(log.contains("pogo=//.\n") && log.contains(&want), "{want} in {log}");
    let stages = |build: &Build| ["after pogo", "after lib"].map(|name| build.stage(name).status);
    assert_eq!(stages(&made), [Status::Skipped, Status::Passed]);

    let upstream = app.start_build(&pogo).await;
    app.logged(upstream.number, "begun").await;
    let late = both.commit(&[("late", "1")]);
    std::fs::write(&go_on, "").unwrap();
    let upstream = app.finished(upstream.number).await;
    let made = after(&app, upstream.number).await;
    assert_eq!((made.status, &made.commit), (Status::Passed, &late));
    let log = app.stage_log(&made, "always").await;
    let want = format!("pogo={}/main/{}.\n", upstream.commit, upstream.number);
    assert!(log.contains("lib=//.\n") && log.contains(&want), "{want} in {log}");
    assert!(app.stage_log(&made, "after pogo").await.contains("late\n"));
    assert_eq!(stages(&made), [Status::Passed, Status::Skipped]);
}

/// The repository below the served folder, as forges have theirs.
fn published(app: &TestApp, name: &str, yml: &str) -> GitRepo {
    let repo = GitRepo::with(yml);
    let bare = app.home().join("served").join(format!("{name}.git"));
    repo.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    repo.git(&["remote", "add", "origin", bare.to_str().unwrap()]);
    repo
}

/// A push to one forge ends as a status at the other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_of_another_forge_is_followed() {
    const APP: &str = "machineTag: here\nstages:\n- {name: test, script: [ls]}\n";
    const TASK: &str = "machineTag: here\nstages:\n\
        - {name: test, script: ['echo \"$APP_GIT_HASH $APP_BUILD_ID.\"'], triggers: ['\\upstream app']}\n\
        subscriptions:\n- {acctRepo: acme/app, acctVcsType: github, alias: app, branches: {main: main}}\n";
    let app = TestApp::start(OCELOT, Setup::Host).await;
    let upstream = published(&app, "acme/app", APP);
    let task = published(&app, "shop/task", TASK);
    let host = WebHost::start(&app.home().join("served"), Manners::Open);
    let (hub, tea) = (FakeForge::start(ForgeKind::Github).await, FakeForge::start(ForgeKind::Gitea).await);
    let token = app.home().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    // Its own forge has one of that name too, and that one is not meant.
    for (fake, forge, repos) in [(&hub, "hub", &["acme/app"][..]), (&tea, "tea", &["acme/app", "shop/task"])]
    {
        fake.clones_from(&host.url(""));
        let (kind, url) = (fake.kind().to_string(), fake.url());
        let add = ["forge", "add", forge, "--kind", &kind, "--at", &url, "--insecure-http"];
        let add: Vec<&str> = add.into_iter().chain(["--token-file", token.to_str().unwrap()]).collect();
        app.cli(&add).await.expect(0);
        for (number, name) in (11..).zip(repos) {
            fake.add_repo(number, name);
            app.cli(&["repo", "add", name, "--forge", forge]).await.expect(0);
        }
    }
    app.cli(&["watch", "hub/acme/app"]).await.expect(0);
    for (handle, want) in [("tea/shop/task", Status::Skipped), ("tea/acme/app", Status::Passed)] {
        let build = app.start_build(handle).await;
        assert_eq!(app.finished(build.number).await.status, want);
    }
    let said = app.cli(&["subscriptions"]).await.expect(0).stdout;
    assert!(said.contains("tea/shop/task") && said.contains("hub/acme/app"), "{said}");

    let before = upstream.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let pushed = upstream.commit(&[("a", "1")]);
    upstream.git(&["push", "--quiet", "origin", "main"]);
    let scene = Scene { name: "main".into(), before, after: pushed.clone(), ..Scene::default() };
    hub.tell("acme/app", &Webhook::new(ForgeKind::Github, Told::BranchPushed, &scene).unwrap()).await;
    let passed = wait_for("the build of the push", async || {
        let found = app.admin().builds(&ocelot_api::client::BuildQuery::default()).await.ok()?.items;
        found.into_iter().find(|build| build.repo == "hub/acme/app")
    })
    .await;
    assert_eq!(app.finished(passed.number).await.status, Status::Passed);
    let made = after(&app, passed.number).await;
    let head = task.git(&["rev-parse", "HEAD"]).trim().to_owned();
    assert_eq!((made.status, &*made.repo, &made.commit), (Status::Passed, "tea/shop/task", &head));
    let want = format!("{pushed} {}.", passed.number);
    assert!(app.stage_log(&made, "test").await.contains(&want));
    let link = format!("/builds/{}", made.number);
    wait_for("the status at the other forge", async || {
        let told = tea.statuses("shop/task");
        told.into_iter().find(|one| one.commit == head && one.state == "success" && one.link.ends_with(&link))
    })
    .await;
    let builds = app.admin().builds(&ocelot_api::client::BuildQuery::default()).await.unwrap().items;
    assert_eq!(builds.iter().filter(|build| build.event == EventKind::Subscription).count(), 1);
}
