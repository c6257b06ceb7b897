//! Workers as people see them: labels, names, ids.

use std::path::Path;

use ocelot_model::access::Role;
use ocelot_testkit::{Process, Setup, TestApp, ocelot, wait_for};
use serde_json::json;

use super::OCELOT;

/// A worker that runs nothing, which comes with this token and keeps its data in a folder of this name.
fn worker(app: &TestApp, folder: &Path, name: &str, token: &str, data: &str) -> Process {
    let args = ["worker", "--executor=host", "--server", app.url(), "--name", name, "--data", data];
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let log = folder.join(format!("{data}.log"));
    Process::start(OCELOT.as_ref(), folder, &[("OCELOT_TOKEN", token)], &args, &log)
}

/// The lines of `ocelot worker list`, once so many workers are connected.
async fn listed(app: &TestApp, count: usize) -> Vec<String> {
    wait_for("the workers", async || {
        let said = app.cli(&["worker", "list"]).await.expect(0).stdout;
        (said.matches(" idle ").count() == count).then(|| said.lines().map(str::to_owned).collect())
    })
    .await
}

#[test]
fn a_worker_has_one_label_of_each_key() {
    let folder = tempfile::tempdir().unwrap();
    let start = ["worker", "--server=http://127.0.0.1:1", "--token=t"];
    for command in [&start[..], &["up"], &["worker", "token", "create"]] {
        let args = [command, &["--label=zone=a", "--label=disk=ssd", "--label=zone=b"]].concat();
        let said = ocelot(Path::new(OCELOT), folder.path(), &[], &args, "").expect(64).stderr;
        assert!(said.contains("--label: zone is a and b; a worker has one of each"), "{said}");
    }
    let env = [("OCELOT_LABEL", "zone=a,zone=b")];
    let said = ocelot(Path::new(OCELOT), folder.path(), &env, &start, "").expect(64).stderr;
    assert!(said.contains("zone is a and b"), "{said}");
}

#[tokio::test]
async fn the_labels_of_a_token_go_before_the_workers_own() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    let twice = ["worker", "token", "create", "--label=zone=dmz", "--label=zone=dmz"];
    let token = app.cli(&twice).await.expect(0).stdout;
    let args = ["worker", "--executor=host", "--label=zone=lan,disk=ssd", "--data=w", "--name=w", "--server"];
    let args: Vec<String> = args.iter().chain(&[app.url()]).map(|&arg| arg.to_owned()).collect();
    let env = [("OCELOT_TOKEN", token.trim())];
    let _worker = Process::start(OCELOT.as_ref(), folder.path(), &env, &args, &folder.path().join("w.log"));
    let lines = listed(&app, 1).await;
    assert!(lines[1].contains("disk=ssd") && lines[1].contains("zone=dmz"), "{lines:#?}");
    assert!(!lines[1].contains("zone=lan"), "{lines:#?}");
}

/// A token of the role worker gives its workers any name, an enrolled one keeps its own: they are told apart by id.
#[tokio::test]
async fn two_workers_of_one_name_are_told_apart_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    let plain = app.token(Role::Worker, &[]).await;
    let own = app.cli(&["worker", "token", "create", "--uses=2"]).await.expect(0).stdout;
    let _enrolled = worker(&app, folder.path(), "w", own.trim(), "own");
    let lines = listed(&app, 1).await;
    assert!(
        lines[0].starts_with("ID  WORKER  STATE") && lines[1].starts_with("1   w       idle"),
        "{lines:#?}"
    );
    let _plain = worker(&app, folder.path(), "w", &plain, "plain");
    let lines = listed(&app, 2).await;
    assert!(
        lines[1].starts_with("1   w ") && lines[1].ends_with("has the name of worker 2, too"),
        "{lines:#?}"
    );
    assert!(
        lines[2].starts_with("2   w ") && lines[2].ends_with("has the name of worker 1, too"),
        "{lines:#?}"
    );
    // One that enrols takes no name that is taken.
    let _third = worker(&app, folder.path(), "w", own.trim(), "third");
    let lines = listed(&app, 3).await;
    assert!(lines[3].starts_with("3   w-2 "), "{lines:#?}");
    let said = app.cli(&["worker", "drain", "w"]).await.expect(2).stderr;
    assert!(said.contains("`w` is several workers: take the id that `ocelot worker list` shows"), "{said}");
    app.cli(&["worker", "drain", "2"]).await.expect(0);
    let all = app.cli(&["worker", "list", "--json"]).await.expect(0).json();
    let rows: Vec<_> =
        all.as_array().unwrap().iter().map(|row| json!([row["id"], row["enrolled"], row["state"]])).collect();
    assert_eq!(rows, [json!([1, true, "idle"]), json!([2, false, "draining"]), json!([3, true, "idle"])]);
}
