//! Builds in real containers, from the push to the exit code.

use std::time::{Duration, Instant};

use ocelot_api::body::{Event, RetryBuild};
use ocelot_api::client::Happened;
use ocelot_model::Status;
use ocelot_testkit::{GitRepo, Setup, Stages as _, TestApp, nothing_left, wait_for};

use super::OCELOT;

async fn up() -> TestApp {
    TestApp::start(OCELOT, Setup::Up).await
}

/// An `ocelot.yml` with stages of one line each.
fn stages(lines: &[(&str, &str)]) -> String {
    let each = lines.iter().map(|(name, script)| format!("  - name: {name}\n    script: ['{script}']\n"));
    format!("image: ocelot-test/busybox\nstages:\n{}", each.collect::<String>())
}

#[tokio::test]
async fn a_build_passes_and_its_log_is_whole_and_in_order() {
    let app = up().await;
    let yml = stages(&[("count", "seq 1 5000; echo 6 >&2"), ("next", "echo done")]);
    let build = app.build("count", &yml).await;
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Passed, "{build:#?}");
    let log = app.stage_log(&build, "count").await;
    let numbers: Vec<u32> = log.lines().filter_map(|line| line.parse().ok()).collect();
    let want: Vec<u32> = (1..=5000).chain([6]).collect();
    assert_eq!(numbers, want, "{log}");
    assert_eq!(build.stage("count").log_bytes, log.len() as i64);
    nothing_left(&app.instance());
}

#[tokio::test]
async fn a_failing_script_fails_the_build_with_its_exit_code() {
    let app = up().await;
    let repo = GitRepo::with(&stages(&[("one", "exit 7"), ("two", "echo never")]));
    app.add_repo(&repo, "fails").await;
    let said = app.cli_in(repo.path(), &["build", "--follow"]).await.expect(1).stdout;
    assert!(said.contains("── one") && said.contains("failed") && !said.contains("── two"), "{said}");
    let build = app.finished(1).await;
    assert_eq!(build.stage("one").exit_code, Some(7));
    assert_eq!(build.stage("two").status, Status::Skipped);
    let said = app.cli(&["status", "1"]).await.expect(0).stdout;
    assert!(said.contains("[one] took") && said.contains("exit code 7"), "{said}");
}

#[tokio::test]
async fn a_failed_build_says_what_is_new_in_its_log() {
    let app = up().await;
    let yml = |end: &str| stages(&[("test", &format!("date +%s.%N; seq 1 200; echo warning: old; {end}"))]);
    let repo = GitRepo::with(&yml("echo fine"));
    app.add_repo(&repo, "new").await;
    for _ in 0..2 {
        app.cli_in(repo.path(), &["build", "--follow"]).await.expect(0);
    }
    // Both are learned before the third one ends.
    let learned = format!("sqlite3 {}/ocelot.db 'SELECT count(*) FROM stage_shapes'", app.data().display());
    wait_for("the logs to be learned", async || {
        let said = std::process::Command::new("sh").args(["-c", &learned]).output().unwrap().stdout;
        String::from_utf8_lossy(&said).trim().eq("4").then_some(())
    })
    .await;
    repo.commit(&[("ocelot.yml", &yml("echo fine; echo error: the bridge is out >&2; exit 3"))]);
    app.cli_in(repo.path(), &["build", "--follow"]).await.expect(1);
    let said = app.cli(&["why", "3"]).await.expect(0).stdout;
    let new = "In the log of test, new against its last 2 passed runs:\n    205  error: the bridge is out\n";
    assert!(said.contains(new), "{said}");
    assert!(
        said.contains("main is broken since build 3") && said.contains("the last good one is build 2"),
        "{said}"
    );
}

#[tokio::test]
async fn conditions_decide_what_runs() {
    let app = up().await;
    let yml = "image: ocelot-test/busybox\nstages:\n\
               - {name: here, script: [echo here], when: 'branch == \"main\" and changed(\"src/**\")'}\n\
               - {name: there, script: [exit 1], image: 127.0.0.1:1/no/such:image, when: branch != \"main\"}\n\
               - {name: asked, script: [exit 1], always: true, triggers: ['\\text \"do it\"']}\n";
    let repo = GitRepo::with(yml);
    app.add_repo(&repo, "conditions").await;
    app.cli_in(repo.path(), &["build", "--follow"]).await.expect(0);
    let build = app.finished(1).await;
    let stages = ["here", "there", "asked"].map(|name| build.stage(name));
    let statuses = stages.map(|stage| stage.status);
    assert_eq!(statuses, [Status::Passed, Status::Skipped, Status::Skipped], "{build:#?}");
    assert_eq!(stages[1].reason.as_deref(), Some("when: branch is main"));
    assert_eq!(stages[2].reason.as_deref(), Some("triggers: no message has do it in it"));
    // Nothing runs on another branch: no worker hears of it.
    let all = yml.replace("branch != \"main\"", "event == \"tag\"");
    repo.git(&["checkout", "-q", "-b", "side"]);
    repo.commit(&[("ocelot.yml", &all)]);
    let said = app.cli_in(repo.path(), &["build", "--follow"]).await.expect(0).stdout;
    assert!(said.contains("skipped") && said.contains("no stage is to run"), "{said}");
    let build = app.finished(2).await;
    assert_eq!((build.status, build.started_at), (Status::Skipped, None));
    nothing_left(&app.instance());
}

#[tokio::test]
async fn following_shows_the_log_and_ends_with_the_page() {
    let app = up().await;
    let repo = GitRepo::with(&stages(&[("greet", "echo hello; sleep 1; echo bye")]));
    app.add_repo(&repo, "follow").await;
    let said = app.cli_in(repo.path(), &["build", "--follow"]).await.expect(0).stdout;
    let places =
        ["── setup", "── greet", "hello", "bye", "Build 1: passed after"].map(|part| said.find(part));
    assert!(places.is_sorted() && places[0].is_some(), "{places:?} in\n{said}");
    assert!(said.contains(&format!("{}/builds/1", app.url())) && !said.contains('\u{1b}'), "{said}");
}

#[tokio::test]
async fn a_broken_file_is_an_error_with_line_and_column() {
    let app = up().await;
    let repo = GitRepo::with("image: busybox\nstagse: []\nstages:\n  - {name: a, script: [echo]}\n");
    app.add_repo(&repo, "broken").await;
    let output = app.cli_in(repo.path(), &["build", "--follow"]).await.expect(2);
    assert!(output.stdout.contains("ocelot.yml:2:1"), "{}", output.stdout);
    let build = app.finished(1).await;
    assert_eq!((build.status, build.problems[0].line), (Status::Error, 2));
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_an_error_in_the_engines_words() {
    let app = up().await;
    let yml = "image: 127.0.0.1:1/no/such:image\nstages:\n  - name: a\n    script: [echo]\n";
    let build = app.build("image", yml).await;
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Error);
    let reason = build.reason.unwrap_or_default();
    assert!(reason.contains("127.0.0.1:1"), "{reason}");
}

#[tokio::test]
async fn on_postgresql_builds_end_as_they_do_on_sqlite() {
    let app = TestApp::start(OCELOT, Setup::Postgres).await;
    let missing = "image: 127.0.0.1:1/no/such:image\nretry: {infrastructure: 0}\nstages:\n  - name: a\n    script: [x]\n";
    let cases = [
        ("passes", stages(&[("a", "echo yes")]), Status::Passed, ""),
        ("fails", stages(&[("a", "exit 3")]), Status::Failed, "exit code 3"),
        ("broken", "image: busybox\nstagse: []\n".to_owned(), Status::Error, "ocelot.yml:2:1"),
        ("missing", missing.to_owned(), Status::Error, "127.0.0.1:1"),
    ];
    for (name, yml, status, reason) in cases {
        let build = app.build(name, &yml).await;
        let build = app.finished(build.number).await;
        assert_eq!(build.status, status, "{build:#?}");
        assert!(build.reason.unwrap_or_default().contains(reason), "{name}");
    }
    nothing_left(&app.instance());
}

#[tokio::test]
async fn cancel_ends_what_runs() {
    let app = up().await;
    let build = app.build("cancel", &stages(&[("long", "echo begun; sleep 1000"), ("after", "echo")])).await;
    app.logged(build.number, "begun\n").await;
    app.cli(&["kill", "1"]).await.expect(0);
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Cancelled);
    assert_eq!(build.stage("after").status, Status::Cancelled);
    assert_eq!(build.reason.as_deref(), Some("cancelled by admin"));
    app.cli(&["logs", "1", "--follow"]).await.expect(3);
    nothing_left(&app.instance());
}

#[tokio::test]
async fn a_timeout_ends_a_stage() {
    let app = up().await;
    let yml = "image: ocelot-test/busybox\nstages:\n  - {name: slow, script: [sleep 1000], timeout: 1s}\n";
    let build = app.build("slow", yml).await;
    assert_eq!(app.finished(build.number).await.status, Status::TimedOut);
    app.cli(&["logs", "1", "--follow"]).await.expect(4);
}

#[tokio::test]
async fn allowed_failures_and_stages_that_always_run() {
    let app = up().await;
    let yml = "image: ocelot-test/busybox\nstages:\n  - {name: may, script: [exit 3], allow_failure: true}\n  \
               - {name: must, script: [exit 4]}\n  - {name: skipped, script: [echo]}\n  \
               - {name: tidy, script: [echo tidy], always: true}\n";
    let build = app.build("always", yml).await;
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Failed);
    let want = [Status::Failed, Status::Failed, Status::Skipped, Status::Passed];
    assert_eq!(["may", "must", "skipped", "tidy"].map(|name| build.stage(name).status), want);
    assert_eq!(["may", "must"].map(|name| build.stage(name).allowed), [true, false]);
    let said = app.cli(&["status", "1"]).await.expect(0).stdout;
    assert_eq!(said.matches("to fail (allowed)").count(), 1, "{said}");
}

#[tokio::test]
async fn the_log_of_an_earlier_attempt() {
    let app = up().await;
    let yml = "image: ocelot-test/busybox\nretry: {script: 1}\nstages:\n  \
               - {name: try, script: ['echo \"this is $OCELOT_ATTEMPT\"', '[ $OCELOT_ATTEMPT = 2 ]']}\n";
    let build = app.build("again", yml).await;
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Passed);
    let newest = app.cli(&["logs", "1"]).await.expect(0);
    assert!(newest.stdout.contains("this is 2") && !newest.stdout.contains("this is 1"), "{newest:?}");
    assert!(newest.stderr.contains("`ocelot logs 1 --attempt 1`"), "{newest:?}");
    let job = &build.jobs.as_ref().unwrap()[0];
    let first = job.attempts[0].stages[1].id.to_string();
    for args in [
        &["logs", "1", "--attempt", "1"][..],
        &["logs", "1", "try", "--attempt", "1"],
        &["logs", "1", &first],
    ] {
        let said = app.cli(args).await.expect(0);
        assert!(
            said.stdout.contains("this is 1") && !said.stdout.contains("this is 2"),
            "{args:?}: {said:?}"
        );
    }
    let said = app.cli(&["logs", "1", "--attempt", "3"]).await.expect(2);
    assert!(said.stderr.contains("no job of build 1 had an attempt 3"), "{said:?}");
    app.cli(&["logs", "1", "--attempt", "1", "--follow"]).await.expect(64);
    let status = app.cli(&["status", "1"]).await.expect(0).stdout;
    assert!(status.contains("job default, attempt 1: failed, try: exit code 1"), "{status}");
}

#[tokio::test]
async fn a_job_waits_for_the_job_that_it_needs() {
    let app = up().await;
    let yml = "image: ocelot-test/busybox\njobs:\n  first:\n    stages: [{name: a, script: [echo a]}]\n  \
               second:\n    needs: [first]\n    stages: [{name: b, script: [echo b]}]\n";
    let build = app.build("needs", yml).await;
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Passed, "{build:#?}");
    assert!(build.stage("a").started_at < build.stage("b").started_at);
}

#[tokio::test]
async fn a_retry_is_a_new_build() {
    let app = up().await;
    let build = app.build("retry", &stages(&[("a", "exit 1")])).await;
    app.finished(build.number).await;
    let again = app.admin().retry(build.number, &RetryBuild::default()).await.unwrap();
    assert_eq!(again.retry_of, Some(build.number));
    assert_eq!(app.finished(again.number).await.status, Status::Failed);
}

#[tokio::test]
async fn the_host_executor_runs_processes_of_this_machine() {
    let app = TestApp::start(OCELOT, Setup::Host).await;
    let yml = "machineTag: here\nstages:\n  - {name: a, script: [test -f ocelot.yml, pwd]}\n";
    let build = app.build("host", yml).await;
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Passed, "{build:#?}");
}

#[tokio::test]
async fn a_line_is_seen_while_its_stage_still_runs() {
    let app = up().await;
    let build = app.build("live", &stages(&[("a", "echo ready; sleep 1000")])).await;
    let mut events = app.admin().events(build.number, None);
    let begin = Instant::now();
    let mut seen = String::new();
    while !seen.contains("ready\n") {
        let happened = events.next().await.expect("the build goes on").unwrap();
        if let Happened::Event { event: Event::Log { text, .. }, .. } = happened {
            seen.push_str(&text);
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "{seen}");
    }
    assert_eq!(app.admin().build(build.number).await.unwrap().status, Status::Running);
    app.admin().cancel(build.number).await.unwrap();
    app.finished(build.number).await;
}

#[tokio::test]
async fn without_a_worker_the_queue_says_why() {
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    let build = app.build("waits", &stages(&[("a", "echo")])).await;
    let queue = wait_for("the queue", async || {
        app.admin().queue_of(build.number).await.ok().filter(|q| !q.is_empty())
    })
    .await;
    assert_eq!(queue[0].build, Some(build.number));
    assert!(!queue[0].reason.is_empty());
    let said = app.cli(&["why", "1"]).await.expect(0).stdout;
    assert!(said.contains(&queue[0].reason), "{said}");
}

#[tokio::test]
async fn how_a_worker_shares_files_is_known_without_a_build() {
    let app = up().await;
    let admin = app.admin();
    wait_for("the worker's news", async || {
        let workers = admin.workers().await.unwrap();
        workers.iter().any(|worker| worker.sharing == "same-paths").then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_process_per_data_folder() {
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    let data = app.data().display().to_string();
    let said = app.cli(&["up", "--data", &data, "--listen", "127.0.0.1:0"]).await.expect(2).stderr;
    assert!(said.contains("in use by process"), "{said}");
}

#[tokio::test]
async fn login_stores_a_token_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    let home = tempfile::tempdir().unwrap();
    let call = |args: &[&str], input: &str| {
        ocelot_testkit::ocelot(std::path::Path::new(OCELOT), home.path(), &[], args, input)
    };
    call(&["login", app.url()], "wrong").expect(2);
    call(&["login", app.url()], app.admin_token()).expect(0);
    call(&["repo", "list"], "").expect(0);
    let mode = std::fs::metadata(home.path().join(".config/ocelot/login.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Who says everything elsewhere needs no file.
    std::fs::write(home.path().join(".config/ocelot/login.json"), "{{{").unwrap();
    call(&["repo", "list"], "").expect(2);
    call(&["repo", "list", "--url", app.url(), "--token", app.admin_token()], "").expect(0);
}

#[tokio::test]
async fn a_retry_that_is_in_error_at_once_ends_as_the_build_did() {
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    let build = app.build("broken", "stages: 1\n").await;
    app.cli(&["retry", &build.number.to_string()]).await.expect(2);
}
