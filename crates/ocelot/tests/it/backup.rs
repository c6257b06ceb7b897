//! Backup of a living server, its end, and another one that goes on from the file, on the other kind of database.

use std::path::Path;

use ocelot_api::body::{Build, Job};
use ocelot_model::Status;
use ocelot_testkit::{Postgres, Setup, TestApp, wait_for};

use super::OCELOT;

fn yml(script: &str) -> String {
    format!("machineTag: here\nstages:\n  - name: work\n    script:\n      - {script}\n")
}

/// Everything that is told of a build, and its log.
async fn all_of(app: &TestApp, number: i64) -> (serde_json::Value, String) {
    let client = app.admin();
    let build = client.build(number).await.expect("the build");
    (serde_json::to_value(build).expect("JSON"), client.log(number).await.expect("its log"))
}

fn job(build: &Build) -> &Job {
    &build.jobs.as_ref().expect("jobs")[0]
}

async fn back_up(app: &TestApp, file: &Path) {
    let (url, data) = (app.database_url(), app.data());
    let data = data.to_str().expect("a path of letters");
    let said = app
        .cli(&["backup", file.to_str().expect("a path"), "--database-url", &url, "--data", data])
        .await
        .expect(0);
    assert!(said.stdout.contains("Backed up"), "{said:?}");
}

/// The server's machine ends, and another one begins with what the file holds.
async fn move_to_another(app: &mut TestApp, file: &Path) {
    app.destroy();
    let (url, data) = (app.database_url(), app.data());
    let data = data.to_str().expect("a path of letters");
    let restore = ["restore", file.to_str().expect("a path"), "--database-url", &url, "--data", data];
    app.cli(&restore).await.expect(0);
    let again = app.cli(&restore).await.expect(2);
    assert!(again.stderr.contains("not empty"), "{again:?}");
    app.restart().await;
}

#[tokio::test]
async fn a_server_goes_on_from_its_backup() {
    let mut app = TestApp::start(OCELOT, Setup::Host).await;
    let done = app.build("done", &yml("seq 1 50000")).await.number;
    let done = app.finished(done).await;
    assert_eq!(done.status, Status::Passed, "{done:#?}");
    let before = all_of(&app, done.number).await;
    assert!(before.1.contains("\n49999\n50000\n"));
    let gate = app.home().join("gate");
    let script = format!(
        "'echo begun; echo ran $OCELOT_ATTEMPT >> {0}; while [ ! -e {0}.open ]; do sleep 0.05; done'",
        gate.display()
    );
    let running = app.build("running", &yml(&script)).await.number;
    app.logged(running, "begun").await;
    let file = app.home().join("ocelot.backup");
    back_up(&app, &file).await;
    // Made after the backup: nobody knows of it any more.
    let lost = app.start_build("git/done").await.number;
    app.finished(lost).await;

    // To PostgreSQL, and back.
    move_to_another(&mut app, &file).await;
    // The worker, which went on with the first attempt, is told to drop it and gets the second one.
    let second = async || {
        let text = std::fs::read_to_string(&gate).unwrap_or_default();
        text.contains("ran 2").then_some(())
    };
    wait_for("the second attempt", second).await;
    back_up(&app, &file).await;
    move_to_another(&mut app, &file).await;
    std::fs::write(app.home().join("gate.open"), "").expect("a file");
    let running = app.finished(running).await;
    assert_eq!(running.status, Status::Passed, "{running:#?}");
    let attempts: Vec<_> = job(&running).attempts.iter().map(|it| (it.number, it.status)).collect();
    assert_eq!(attempts, [(1, Status::Error), (2, Status::Error), (3, Status::Passed)]);
    assert_eq!(std::fs::read_to_string(&gate).expect("what ran"), "ran 1\nran 2\nran 3\n");

    assert_eq!(all_of(&app, done.number).await, before);
    assert!(app.admin().build(lost).await.is_err());
    let next = app.start_build("git/done").await.number;
    assert_eq!(next, running.number + 1000);
}

#[tokio::test]
async fn a_damaged_backup_is_refused() {
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    let file = app.home().join("ocelot.backup");
    back_up(&app, &file).await;
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap()) & 0o777, 0o600);
    let bytes = std::fs::read(&file).unwrap();
    let target = app.home().join("new");
    let restore = ["restore", file.to_str().unwrap(), "--data", target.to_str().unwrap()];
    for (bytes, want) in [(&bytes[..bytes.len() - 5], "damaged"), (b"hello".as_slice(), "is no backup")] {
        std::fs::write(&file, bytes).unwrap();
        let said = app.cli(&restore).await.expect(2);
        assert!(said.stderr.contains("nothing is restored") && said.stderr.contains(want), "{said:?}");
        assert!(!target.join("ocelot.db").exists());
    }
    std::fs::write(&file, &bytes).unwrap();
    app.cli(&restore).await.expect(0);
    let piped = app.cli(&["backup", "-", "--data", target.to_str().unwrap()]).await.expect(0);
    assert!(!piped.stdout.is_empty());
    let none = app.cli(&["backup", "x", "--data", "nowhere"]).await.expect(64);
    assert!(none.stderr.contains("--database-url"), "{none:?}");
    app.cli(&["restore", "-"]).await.expect(64);
    // A folder that nobody asked for is not left behind.
    let file = file.to_str().unwrap();
    app.cli(&["restore", "nothing-here"]).await.expect(2);
    assert!(!app.home().join("home/data").exists());
    let postgres = tokio::task::spawn_blocking(|| Postgres::shared().database()).await.unwrap();
    app.cli(&["restore", file, "--database-url", &postgres]).await.expect(0);
    assert!(!app.home().join("home/data").exists());
}

#[tokio::test]
async fn a_backup_replaces_files_only() {
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    std::fs::create_dir_all(app.home().join("home")).unwrap();
    let path = |name: &str| app.home().join("home").join(name);
    let data = app.data().to_str().unwrap().to_owned();
    std::fs::write(path("precious"), "text").unwrap();
    std::os::unix::fs::symlink(path("precious"), path("link")).unwrap();
    for name in ["link", "/dev/null", "."] {
        let said = app.cli(&["backup", name, "--data", &data]).await.expect(64);
        assert!(said.stderr.contains("is no plain file"), "{said:?}");
    }
    assert_eq!(std::fs::read_to_string(path("precious")).unwrap(), "text");
    // What another one left half way may be read by anybody.
    std::fs::write(path("file.part"), "half").unwrap();
    std::fs::set_permissions(path("file.part"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    app.cli(&["backup", "file", "--data", &data]).await.expect(0);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path("file")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}
