//! A worker gets its token from a file, which may come later than it does.

use ocelot_model::access::Role;
use ocelot_testkit::{Process, Setup, TestApp, wait_for};

use super::OCELOT;

#[tokio::test]
async fn a_worker_waits_for_its_token() {
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let args = ["worker", "--executor=host", "--name=late", "--server", app.url(), "--data", "data"];
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let env = [("OCELOT_TOKEN_FILE", file.to_str().expect("a path of letters"))];
    let log = folder.path().join("worker.log");
    let worker = Process::start(OCELOT.as_ref(), folder.path(), &env, &args, &log);
    wait_for("its word", async || worker.said().contains("waiting for the token in").then_some(())).await;

    let token = app.token(Role::Worker, &[]).await;
    std::fs::write(&file, format!("{token}\n")).expect("a file");
    let admin = app.admin();
    let connected = async || {
        let workers = admin.workers().await.ok()?;
        workers.iter().any(|worker| worker.name == "late" && worker.state == "idle").then_some(())
    };
    wait_for("the worker", connected).await;
}
