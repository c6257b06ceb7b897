//! One repository is built after another one, from file to variable, in real containers.

use ocelot_model::{EventKind, Status};
use ocelot_testkit::{GitRepo, Setup, Stages as _, TestApp, nothing_left, wait_for};

use super::OCELOT;

const POGO: &str = "image: ocelot-test/busybox\nstages:\n- {name: test, script: ['test ! -e broken']}\n";
const TASK: &str = "image: ocelot-test/busybox\nstages:\n\
    - {name: always, script: ['echo \"hash=${POGO_GIT_HASH:-none}\"']}\n\
    - name: after pogo\n  triggers: ['\\upstream pogo']\n  script:\n\
    \x20   - echo \"$POGO_GIT_HASH $POGO_GIT_HASH_SHORT $POGO_GIT_BRANCH $POGO_BUILD_ID\"\n\
    \x20   - test \"$OCELOT_EVENT\" = subscription\n\
    subscriptions:\n- acctRepo: pogo\n  alias: pogo\n  branchQueueMap: [develop:develop, main:main]\n";

#[tokio::test]
async fn task_service_is_built_after_pogo() {
    let app = TestApp::start(OCELOT, Setup::Up).await;
    let (pogo, task) = (GitRepo::with(POGO), GitRepo::with(TASK));
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
    let said = app.cli(&["subscriptions", "pogo"]).await.expect(0).stdout;
    assert!(
        said.contains("develop:develop main:main") && said.contains(&format!("build {}", made.number)),
        "{said}"
    );
    let said = app.cli(&["subscriptions", "git/none", "--json"]).await.expect(0).stdout;
    assert_eq!(said.trim(), "[]");

    // A retry still follows it; a build that fails is followed by none.
    app.cli(&["retry", &made.number.to_string(), "--follow"]).await.expect(1);
    let again = app.admin().builds(&ocelot_api::client::BuildQuery::default()).await.unwrap().items.remove(0);
    let again = app.finished(again.number).await;
    assert!(app.stage_log(&again, "after pogo").await.contains(&want));
    assert_eq!((again.event, again.upstream), (EventKind::Retry, Some(upstream.number)));
    pogo.commit(&[("broken", "1")]);
    app.cli_in(pogo.path(), &["build", "--follow"]).await.expect(1);
    let builds = app.admin().builds(&ocelot_api::client::BuildQuery::default()).await.unwrap().items;
    assert_eq!(builds.iter().filter(|build| build.event == EventKind::Subscription).count(), 1);
    nothing_left(&app.instance());
}
