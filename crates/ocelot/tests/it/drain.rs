//! SIGTERM to a worker: it finishes its jobs and ends; the second one cancels them.

use std::path::Path;

use ocelot_model::Status;
use ocelot_model::access::Role;
use ocelot_testkit::{Process, Setup, TestApp, wait_for};
use rustix::process::Signal;

use super::OCELOT;

/// A server, and a worker for processes of this machine.
async fn start(folder: &Path) -> (TestApp, Process) {
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    let token = app.token(Role::Worker, &[]).await;
    let args =
        ["worker", "--executor=host", "--name=w1", "--label=tag=here", "--data=data", "--server", app.url()];
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let log = folder.join("worker.log");
    let worker = Process::start(OCELOT.as_ref(), folder, &[("OCELOT_TOKEN", &token)], &args, &log);
    (app, worker)
}

fn yml(script: &str) -> String {
    format!("machineTag: here\nstages:\n  - name: a\n    script: ['echo begun; {script}']\n")
}

async fn is(app: &TestApp, state: &str) {
    let admin = app.admin();
    let what = format!("the state {state}");
    wait_for(&what, async || admin.workers().await.ok()?.iter().any(|it| it.state == state).then_some(()))
        .await;
}

#[tokio::test]
async fn a_worker_that_is_to_stop_finishes_its_job() {
    let folder = tempfile::tempdir().unwrap();
    let (app, mut worker) = start(folder.path()).await;
    let go = folder.path().join("go");
    let script = format!("until test -e {}; do sleep 0.02; done", go.display());
    let build = app.build("first", &yml(&script)).await;
    app.logged(build.number, "begun\n").await;
    worker.signal(Signal::TERM);
    is(&app, "draining").await;
    // Nothing new goes to it, and people see why.
    let second = app.build("second", &yml("true")).await;
    let why = app.cli(&["queue"]).await.expect(0).stdout;
    assert!(why.contains("the only worker that may take it is draining: w1"), "{why}");
    std::fs::write(go, "").unwrap();
    assert_eq!(app.finished(build.number).await.status, Status::Passed);
    let ended = wait_for("its end", async || worker.ended()).await;
    assert_eq!(ended.code(), Some(0), "{}", worker.said());
    is(&app, "disconnected").await;
    assert_eq!(app.admin().build(second.number).await.unwrap().status, Status::Queued);
}

#[tokio::test]
async fn a_second_signal_cancels_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (app, mut worker) = start(folder.path()).await;
    let build = app.build("long", &yml("sleep 1000")).await;
    app.logged(build.number, "begun\n").await;
    worker.signal(Signal::TERM);
    is(&app, "draining").await;
    worker.signal(Signal::TERM);
    assert_eq!(app.finished(build.number).await.status, Status::Cancelled);
    let ended = wait_for("its end", async || worker.ended()).await;
    assert_eq!(ended.code(), Some(0), "{}", worker.said());
}
