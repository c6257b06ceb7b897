//! Secrets: from the command line into a stage, and nowhere else.

use std::path::Path;

use ocelot_api::body::NewBuild;
use ocelot_model::Status;
use ocelot_testkit::{GitRepo, Setup, Stages as _, TestApp, inspect_containers, nothing_left, wait_for};

use super::OCELOT;

const CANARY: &str = "c4n4ry/VALUE+in=secret";

async fn up() -> TestApp {
    TestApp::start(OCELOT, Setup::Up).await
}

/// Files below `folder` that have these bytes in them.
pub(crate) fn holding(folder: &Path, bytes: &[u8]) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() => {
                    let text = std::fs::read(&path).unwrap_or_default();
                    if text.windows(bytes.len()).any(|window| window == bytes) {
                        found.push(path.display().to_string());
                    }
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    found
}

/// Command lines of this machine's processes that have this in them.
fn argued(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(text)).collect()
}

#[tokio::test]
async fn a_secret_is_in_its_stage_and_nowhere_else() {
    let app = up().await;
    let said = app.cli_with(&["secret", "add", "TOKEN", "--scope", "git/app"], &format!("{CANARY}\n")).await;
    // A variable that a script did not set must not give it to everyone.
    let empty = app.cli_with(&["secret", "add", "TOKEN", "--scope", ""], &format!("{CANARY}\n")).await;
    empty.expect(64);
    // There is no such repository yet.
    assert!(said.expect(2).stderr.contains("does not exist"));
    let yml = "image: ocelot-test/busybox\nenv: {TOKEN: of the file, OTHER: x}\nstages:\n\
               - {name: without, script: ['test \"$TOKEN\" = \"of the file\"']}\n\
               - name: with\n  secrets: [TOKEN]\n  script:\n  - echo \"it is $TOKEN\"\n  - echo -n \"$TOKEN\" | base64\n\
               \x20 - echo ${#TOKEN} >&2\n  - sleep 3\n";
    let repo = GitRepo::with(yml);
    let handle = app.add_repo(&repo, "app").await;
    let said = app.cli_with(&["secret", "add", "TOKEN", "--scope", &handle], &format!("{CANARY}\n")).await;
    assert_eq!(said.expect(0).stdout, "Kept TOKEN for git/app.\n");
    let said = app.cli(&["secret", "list"]).await.expect(0).stdout;
    assert!(said.contains("TOKEN") && said.contains("git/app") && !said.contains(CANARY), "{said}");

    let build = app.start_build(&handle).await;
    app.logged(build.number, "it is ***").await;
    let inspected = inspect_containers(&app.instance());
    assert!(inspected.contains("ocelot.instance") && !inspected.contains(CANARY), "{inspected}");
    assert_eq!(argued(CANARY), Vec::<String>::new());
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Passed, "{build:#?}");
    let log = app.stage_log(&build, "with").await;
    assert!(log.contains(&format!("\n{}\n", CANARY.len())), "{log}");
    assert!(log.contains("it is ***\n") && !log.contains(CANARY) && !log.contains("YzRuNHJ5"), "{log}");
    nothing_left(&app.instance());
    for text in [CANARY, "c4n4ry", "YzRuNHJ5"] {
        assert_eq!(holding(app.home(), text.as_bytes()), Vec::<String>::new(), "{text}");
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_said_before_anything_runs() {
    let app = up().await;
    let yml = "image: ocelot-test/busybox\nsecrets: [TOKEN]\nstages:\n- {name: one, script: [echo one]}\n";
    let build = app.build("app", yml).await;
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Error, "{build:#?}");
    let reason = build.stage("setup").reason.clone().unwrap_or_default();
    assert!(reason.contains("stage one names the secret TOKEN, which git/app does not have"), "{reason}");
    assert!(reason.contains("`ocelot secret add TOKEN --scope git/app`"), "{reason}");
    assert_eq!(build.stage("one").status, Status::Skipped);
    let said = app.cli(&["status", "1"]).await.expect(0).stdout;
    assert!(said.contains("names the secret TOKEN"), "{said}");

    for (limit, words) in [
        (["--event", "push"], "is for builds by push only, this one is by manual"),
        (["--branch", "release/.*"], "is for branches release/.* only, this is main"),
        (["--stage", "two"], "is for stages two only, not for one"),
    ] {
        let args = [&["secret", "add", "TOKEN", "--scope", "git/"][..], &limit].concat();
        app.cli_with(&args, "canary").await.expect(0);
        let build = app.start_build("git/app").await;
        let build = app.finished(build.number).await;
        let reason = build.stage("setup").reason.clone().unwrap_or_default();
        assert!(build.status == Status::Error && reason.contains(words), "{reason}");
    }
    app.cli(&["secret", "remove", "TOKEN", "--scope", "git/"]).await.expect(0);
    app.cli_with(&["secret", "add", "TOKEN"], "canary").await.expect(0);
    let build = app.start_build("git/app").await;
    assert_eq!(app.finished(build.number).await.status, Status::Passed);
}

#[tokio::test]
async fn credentials_are_the_files_that_tools_read() {
    let app = up().await;
    let yml = "image: ocelot-test/busybox\nsecrets: [CONF]\nstages:\n- name: look\n  secrets: [REGISTRY, NPM]\n  script:\n\
               \x20 - ls -ld ~/.docker ~/.docker/config.json\n  - cat ~/.docker/config.json ~/.npmrc ~/.deep/er/conf\n\
               \x20 - wc -c < ~/.deep/er/conf\n";
    let repo = GitRepo::with(yml);
    app.add_repo(&repo, "app").await;
    let add = async |args: &[&str], value: &str| {
        let args = [&["creds"], args, &["--scope", "git/"]].concat();
        app.cli_with(&args, value).await.expect(0);
    };
    let fields = ["--field", "url=https://r.example", "--field", "username=ci"];
    add(&[&["docker", "add", "REGISTRY"][..], &fields].concat(), "canary-1\n").await;
    add(&["npm", "add", "NPM"], "canary-2\n").await;
    add(&["file", "add", "CONF", "--field", "path=~/.deep/er/conf"], "canary-3\n\nok\n").await;
    let build = app.start_build("git/app").await;
    let build = app.finished(build.number).await;
    let log = app.stage_log(&build, "look").await;
    assert_eq!(build.status, Status::Passed, "{build:#?}\n{log}");
    assert!(log.contains("drwx------") && log.contains("-rw-------"), "{log}");
    assert!(log.contains("\"r.example\"") && log.contains("//registry.npmjs.org/:_authToken=***\n"), "{log}");
    assert!(log.ends_with("13\n") && !log.contains("canary"), "{log}");
    assert!(log.contains("\"auth\": \"Y2k6***=\""), "{log}");
    nothing_left(&app.instance());
    assert_eq!(holding(app.home(), b"canary-"), Vec::<String>::new());
    let said = app.cli(&["creds", "docker", "list"]).await.expect(0).stdout;
    assert!(said.contains("REGISTRY") && said.contains("username=ci") && !said.contains("CONF"), "{said}");
}

#[tokio::test]
async fn a_commit_that_may_be_anyones_gets_none() {
    let app = up().await;
    let yml = "image: ocelot-test/busybox\nsecrets: [TOKEN]\npriority: 9\nstages:\n- {name: one, script: ['test -z \"$TOKEN\"']}\n";
    let repo = GitRepo::with(yml);
    app.add_repo(&repo, "app").await;
    app.cli_with(&["secret", "add", "TOKEN"], CANARY).await.expect(0);
    repo.git(&["checkout", "-q", "--detach"]);
    repo.commit(&[("file", "of a stranger")]);
    let commit = Some(repo.git(&["rev-parse", "HEAD"]).trim().to_owned());
    let new = NewBuild { repo: "git/app".to_owned(), commit, ..NewBuild::default() };
    let build = app.admin().start(&new).await.unwrap();
    app.cli(&["approve", &build.number.to_string()]).await.expect(0);
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Passed, "{build:#?}");
    let setup = app.stage_log(&build, "setup").await;
    assert!(setup.contains("This build is not trusted, so it gets no secrets: TOKEN\n"), "{setup}");
    assert!(setup.contains("This build is not trusted, so its priority of 9 did not count\n"), "{setup}");
}

#[tokio::test]
async fn a_worker_that_comes_back_still_hides_and_still_gives() {
    let mut app = TestApp::start(OCELOT, Setup::Apart).await;
    let yml = "image: ocelot-test/busybox\nsecrets: [TOKEN]\nstages:\n\
               - {name: one, script: ['echo one $TOKEN; sleep 4; echo two $TOKEN']}\n\
               - {name: two, script: ['echo three $TOKEN']}\n";
    app.cli_with(&["secret", "add", "TOKEN"], CANARY).await.expect(0);
    let build = app.build("app", yml).await;
    app.logged(build.number, "one ***\n").await;
    app.kill9_worker();
    app.restart_worker();
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Passed, "{build:#?}");
    for (stage, text) in [("one", "one ***\ntwo ***\n"), ("two", "three ***\n")] {
        let log = app.stage_log(&build, stage).await;
        assert!(log.ends_with(text), "{log}");
    }
    wait_for("the end of the attempt's folder", async || {
        let jobs = std::fs::read_dir(app.home().join("worker/jobs")).unwrap().count();
        (jobs == 0).then_some(())
    })
    .await;
    assert_eq!(holding(app.home(), CANARY.as_bytes()), Vec::<String>::new());
}
