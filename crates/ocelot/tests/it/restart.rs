//! Death in the middle of a build: nothing is lost, nothing is done twice, nothing is left.

use ocelot_model::Status;
use ocelot_testkit::{Setup, Stages as _, TestApp, nothing_left};

use super::OCELOT;

/// Counts to 60 in about 6 seconds.
const COUNT: &str = "image: ocelot-test/busybox\nstages:\n  - name: count\n    \
                     script: ['for i in $(seq 1 60); do echo n$i; sleep 0.1; done']\n";

async fn finish(app: &TestApp, number: i64) {
    let build = app.finished(number).await;
    assert_eq!(build.status, Status::Passed, "{build:#?}");
    let log = app.stage_log(&build, "count").await;
    let got: Vec<&str> = log.lines().filter(|line| line.starts_with('n')).collect();
    let want: Vec<String> = (1..=60).map(|n| format!("n{n}")).collect();
    assert_eq!(got, want, "{log}");
    assert_eq!(build.stage("count").log_bytes, log.len() as i64);
    nothing_left(&app.instance());
}

/// The server dies in the middle of a build and comes back.
async fn the_server_dies(setup: Setup) {
    let mut app = TestApp::start(OCELOT, setup).await;
    let build = app.build("count", COUNT).await;
    app.logged(build.number, "n10\n").await;
    app.kill9();
    app.restart().await;
    finish(&app, build.number).await;
}

#[tokio::test]
async fn a_killed_server_loses_no_build_and_no_byte() {
    the_server_dies(Setup::Apart).await;
}

#[tokio::test]
async fn on_postgresql_a_killed_server_loses_nothing_either() {
    the_server_dies(Setup::Postgres).await;
}

#[tokio::test]
async fn server_and_worker_killed_together_go_on_together() {
    the_server_dies(Setup::Up).await;
}

#[tokio::test]
async fn a_killed_worker_takes_up_its_jobs_again() {
    let mut app = TestApp::start(OCELOT, Setup::Apart).await;
    let build = app.build("count", COUNT).await;
    app.logged(build.number, "n10\n").await;
    app.kill9_worker();
    app.restart_worker();
    finish(&app, build.number).await;
}
