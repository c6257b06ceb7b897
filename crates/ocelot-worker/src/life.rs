//! Tests of a worker's whole life on the host executor, against a far side that speaks the real protocol.

mod machine;

use std::fs;
use std::time::{Duration, Instant};

use ocelot_api::proto::from_server::Message as Down;
use ocelot_api::proto::{Cancel, Drop};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fake::{Fake, Heard, Running, offer};
use crate::{Config, ExecutorKind, WorkerError, work};

/// One worker, one job, one server.
struct Case {
    dir: tempfile::TempDir,
    fake: Fake,
    server: Option<Running>,
    drain: CancellationToken,
    worker: Option<JoinHandle<Result<(), WorkerError>>>,
    min_free: crate::MinFree,
    /// A worker with Docker instead of the host, and where its engine is.
    docker_host: Option<String>,
}

fn git(folder: &std::path::Path, args: &[&str]) -> String {
    let mut git = std::process::Command::new("git");
    git.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).current_dir(folder);
    let output = git.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A stage; `more` replaces fields.
fn stage(name: &str, script: &str, more: Value) -> Value {
    let mut stage = json!({
        "name": name, "image": null, "isolated": false, "workdir": ".", "env": [], "branches": [],
        "run": {"script": {"shell": ["/bin/sh", "-e"], "lines": [script], "block": false}},
        "timeout_ms": null, "allow_failure": "no", "always": false,
    });
    if let Value::Object(more) = more {
        stage.as_object_mut().unwrap().extend(more);
    }
    stage
}

fn job(stages: &[Value]) -> Value {
    json!({
        "name": "default", "image": null, "user": null, "pull": "if-missing", "labels": {}, "priority": 0, "needs": [],
        "always": false, "allow_failure": false, "timeout_ms": 60_000, "retry": {"infrastructure": 2, "script": 0},
        "resources": {"cpu": null, "memory": null}, "env": [["GREETING", "hello"]], "stages": stages,
        "checkout": {"depth": 50, "tags": true},
    })
}

impl Case {
    async fn new(stages: &[Value]) -> Case {
        let mut case = Case::empty(stages).await;
        case.start();
        case
    }

    /// Its worker is still to be started.
    async fn empty(stages: &[Value]) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        fs::create_dir(&repo).unwrap();
        git(&repo, &["init", "--quiet"]);
        fs::write(repo.join("file"), "text").unwrap();
        git(&repo, &["add", "file"]);
        git(&repo, &["commit", "--quiet", "--message", "a message"]);
        let commit = git(&repo, &["rev-parse", "HEAD"]);
        let fake = Fake::new(offer(&repo, &commit, &job(stages)));
        let server = fake.listen("127.0.0.1:0".parse().unwrap()).await;
        let (drain, server) = (CancellationToken::new(), Some(server));
        let min_free = crate::MinFree::NONE;
        Case { dir, fake, server, drain, worker: None, min_free, docker_host: None }
    }

    fn config(&self) -> Config {
        let server = format!("http://{}", self.server.as_ref().unwrap().address);
        let mut config = Config::new(server, "secret".to_owned().into(), self.dir.path().join("data"), "w1");
        config.docker_host.clone_from(&self.docker_host);
        if self.docker_host.is_none() {
            config.executor = ExecutorKind::Host;
        }
        config.slots = 1;
        config.min_free = self.min_free;
        config.look = Duration::from_millis(100);
        config
    }

    fn start(&mut self) {
        self.worker = Some(tokio::spawn(work(self.config(), self.drain.clone())));
    }

    /// As by a kill: nothing of the worker goes on, what it started does.
    async fn kill_worker(&mut self) {
        let worker = self.worker.take().unwrap();
        worker.abort();
        assert!(worker.await.is_err_and(|error| error.is_cancelled()));
    }

    async fn restart_server(&mut self) {
        let address = self.server.take().unwrap().address;
        let deadline = Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        self.server = Some(self.fake.listen(address).await);
    }

    async fn finished(&self) -> Heard {
        self.fake.wait("the result", |heard| heard.result.is_some()).await
    }

    /// Lets the worker end, and looks that nothing is left.
    async fn end(mut self) {
        self.fake.wait("a clean slot", |heard| heard.ready >= 2).await;
        self.drain.cancel();
        self.worker.take().unwrap().await.unwrap().unwrap();
        let left: Vec<_> = fs::read_dir(self.dir.path().join("data/jobs")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_passes_and_its_logs_are_whole() {
    let case = Case::new(&[
        stage("one", "cat file; echo; echo $GREETING $OCELOT_STAGE $OCELOT_ATTEMPT $CI", Value::Null),
        stage(
            "two",
            "test \"$PWD\" = \"$WORKSPACE\"; head -c 3000000 /dev/zero | tr '\\0' x | fold -w 99",
            Value::Null,
        ),
    ])
    .await;
    let heard = case.finished().await;
    assert_eq!(heard.stages(), ["10 passed", "11 passed", "12 passed"]);
    assert_eq!(heard.result.as_ref().unwrap().status, "passed");
    let mut complete = heard.complete.clone();
    complete.sort_unstable();
    assert_eq!(complete, [10, 11, 12]);
    let setup = heard.log(10);
    assert!(setup.contains("Fetching git/example\n") && setup.contains("\"a message\"\n"), "{setup}");
    assert!(heard.log(11).ends_with("text\nhello one 1 true\n"), "{}", heard.log(11));
    assert!(heard.log(12).len() > 3_000_000);
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_containers_runs_nothing_of_others() {
    let mut case = Case::empty(&[stage("one", "true", Value::Null)]).await;
    case.fake.distrust();
    case.start();
    let heard = case.fake.wait("a refusal", |heard| !heard.refused.is_empty()).await;
    assert!(heard.refused[0].contains("no containers"), "{:?}", heard.refused);
    assert_eq!(fs::read_dir(case.dir.path().join("data/jobs")).unwrap().count(), 0);
    case.kill_worker().await;
}

async fn check(stages: &[Value], status: &str, reason: &str, want: &[&str]) {
    let case = Case::new(stages).await;
    let heard = case.finished().await;
    let result = heard.result.as_ref().unwrap();
    assert_eq!((result.status.as_str(), result.reason.as_str()), (status, reason));
    assert_eq!(heard.stages(), want);
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failure_only_what_cleans_up() {
    check(
        &[
            stage("a", "exit 3", Value::Null),
            stage("b", "true", Value::Null),
            stage("c", "exit 4", json!({"always": true})),
        ],
        "failed",
        "a: exit code 3",
        &[
            "10 passed",
            "11 failed exit code 3",
            "12 skipped an earlier stage did not pass",
            "13 failed exit code 4",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_to_fail_and_what_is_not_to_run() {
    check(
        &[
            stage("a", "exit 3", json!({"allow_failure": {"codes": [3]}})),
            stage("b", "true", json!({"branches": ["dev"]})),
            stage("c", "true", Value::Null),
            stage("d", "false", json!({"branches": ["no branch"], "decided": {"skip": "when: it is late"}})),
        ],
        "passed",
        "",
        &[
            "10 passed",
            "11 failed exit code 3",
            "12 skipped runs on dev only, this is main",
            "13 passed",
            "14 skipped when: it is late",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_takes_too_long() {
    check(
        &[stage("a", "sleep 60", json!({"timeout_ms": 1000})), stage("b", "true", Value::Null)],
        "timed_out",
        "a: timed out after 1 s",
        &["10 passed", "11 timed_out timed out after 1 s", "12 skipped an earlier stage did not pass"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_what_runs_and_lets_clean_up() {
    let case = Case::new(&[
        stage("a", "echo begun; trap '' TERM; sleep 60", Value::Null),
        stage("b", "true", Value::Null),
        stage("c", "echo cleaned", json!({"always": true})),
    ])
    .await;
    case.fake.wait("output", |heard| heard.log(11).contains("begun\n")).await;
    case.fake.tell(Down::Cancel(Cancel { attempt_id: 7, force: false }));
    let heard = case.finished().await;
    assert_eq!(heard.stages(), ["10 passed", "11 cancelled", "12 cancelled", "13 passed"]);
    assert_eq!(heard.result.as_ref().unwrap().status, "cancelled");
    assert!(heard.log(13).contains("cleaned\n"));
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_cancel_ends_what_cleans_up_and_says_so() {
    let case = Case::new(&[
        stage("a", "echo begun; sleep 60", Value::Null),
        stage("b", "echo cleaning; sleep 60", json!({"always": true})),
        stage("c", "true", json!({"always": true})),
        stage("d", "true", Value::Null),
    ])
    .await;
    for (stage, word, force) in [(11, "begun\n", false), (12, "cleaning\n", true)] {
        case.fake.wait("output", |heard| heard.log(stage).contains(word)).await;
        case.fake.tell(Down::Cancel(Cancel { attempt_id: 7, force }));
    }
    let heard = case.finished().await;
    let again = "cancelled it was cancelled again";
    let want = ["10 passed", "11 cancelled", &format!("12 {again}"), &format!("13 {again}"), "14 cancelled"];
    assert_eq!(heard.stages(), want);
    case.end().await;
}

/// The process of the one stage, which has written its number.
async fn process(case: &Case) -> String {
    // The line of the script is shown first.
    let number = |log: &str| log.lines().find_map(|line| line.parse::<u32>().ok());
    let heard = case.fake.wait("output", |heard| number(&heard.log(11)).is_some()).await;
    let process = format!("/proc/{}", number(&heard.log(11)).unwrap());
    assert!(std::path::Path::new(&process).exists());
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_ended_before_others_may_begin_with_it() {
    let mut case = Case::new(&[stage("a", "echo $$; exec sleep 1000", Value::Null)]).await;
    let process = process(&case).await;
    // It is heard of, but it says nothing more, and confirms nothing.
    case.fake.limit(1_000);
    case.restart_server().await;
    let heard = case.fake.wait("a clean slot", |heard| heard.ready == 2).await;
    assert_eq!(heard.result, None);
    assert!(!std::path::Path::new(&process).exists(), "the stage goes on");
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_attempt_ends_in_silence() {
    for stale in [false, true] {
        let case = Case::new(&[stage("a", "while true; do echo x; sleep 0.05; done", Value::Null)]).await;
        case.fake.wait("output", |heard| heard.log(11).contains("x\n")).await;
        if stale {
            case.fake.make_stale();
        } else {
            case.fake.tell(Down::Drop(Drop { attempt_id: 7 }));
        }
        let heard = case.fake.wait("a clean slot", |heard| heard.ready == 2).await;
        assert_eq!(heard.result, None);
        case.end().await;
    }
}

/// Writes numbered lines slowly, waits for the file `go`, and writes the rest.
fn counting(mark: &str) -> String {
    format!(
        "echo ran >> {mark}.ran; for i in $(seq 2000); do echo line $i; done; until test -e {mark}.go; do sleep 0.02; \
         done; for i in $(seq 2000); do echo more $i; done"
    )
}

/// How many numbered lines of each kind a log has.
fn lines(log: &str) -> (usize, usize) {
    let count = |word: &str| {
        let number = |line: &&str| line.strip_prefix(word).is_some_and(|n| n.parse::<u32>().is_ok());
        log.lines().filter(number).count()
    };
    (count("line "), count("more "))
}

async fn counting_case() -> (Case, String) {
    let dir = tempfile::Builder::new().prefix("ocelot-life").tempdir().unwrap();
    let mark = dir.keep().join("mark").display().to_string();
    let case =
        Case::new(&[stage("a", &counting(&mark), Value::Null), stage("b", "echo b", Value::Null)]).await;
    case.fake.wait("output", |heard| heard.log(11).contains("line 2000\n")).await;
    (case, mark)
}

async fn ended_once(case: Case, mark: &str) {
    let heard = case.finished().await;
    assert_eq!(heard.stages(), ["10 passed", "11 passed", "12 passed"]);
    assert_eq!(lines(&heard.log(11)), (2000, 2000));
    assert_eq!(fs::read_to_string(format!("{mark}.ran")).unwrap(), "ran\n");
    fs::remove_dir_all(std::path::Path::new(mark).parent().unwrap()).unwrap();
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_gets_every_byte_once() {
    let (mut case, mark) = counting_case().await;
    case.restart_server().await;
    fs::write(format!("{mark}.go"), "").unwrap();
    ended_once(case, &mark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_comes_back_goes_on() {
    let (mut case, mark) = counting_case().await;
    case.kill_worker().await;
    fs::write(format!("{mark}.go"), "").unwrap();
    case.start();
    ended_once(case, &mark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_ends_what_runs() {
    let mut case = Case::new(&[stage("a", "echo $$; exec sleep 1000", Value::Null)]).await;
    let process = process(&case).await;
    case.fake.revoke();
    case.restart_server().await;
    let error = case.worker.take().unwrap().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("no token has this secret"), "{error}");
    assert!(!std::path::Path::new(&process).exists(), "the stage goes on");
    assert_eq!(fs::read_dir(case.dir.path().join("data/jobs")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_ends_the_worker() {
    let mut case = Case::new(&[stage("a", "true", Value::Null)]).await;
    case.kill_worker().await;
    let config = Config { token: "wrong".to_owned().into(), ..case.config() };
    let error = work(config, CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("no token has this secret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_wrong_token_what_was_begun_is_left_as_it_is() {
    let (mut case, mark) = counting_case().await;
    case.kill_worker().await;
    // It may well be another worker's good one: the server would take away what this one has.
    let config = Config { token: "wrong".to_owned().into(), ..case.config() };
    let error = work(config, CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("begun with another token"), "{error}");
    // The stage still runs, and the worker goes on with it once its token is right.
    fs::write(format!("{mark}.go"), "").unwrap();
    case.start();
    ended_once(case, &mark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unary_call_with_a_revoked_token_is_not_made_for_ever() {
    let case = Case::new(&[stage("a", "true", Value::Null)]).await;
    case.finished().await;
    case.fake.revoke();
    let client = crate::connect::client(&case.config(), &case.config().token).unwrap();
    let report = ocelot_api::proto::StageReport::default();
    let told =
        tokio::time::timeout(Duration::from_secs(20), crate::report::confirm(client.clone(), report)).await;
    assert_eq!(told.expect("it is made again and again"), Err(crate::ship::Stale));
    let shipper = crate::ship::Shipper::start(client);
    shipper.push(ocelot_api::proto::LogChunk { data: "x".into(), ..Default::default() }).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), shipper.stale())
        .await
        .expect("logs are sent again and again");
}

/// The worker's folder, and what it comes with.
fn enrolling(case: &Case, token: &str) -> Config {
    Config { token: token.to_owned().into(), ..case.config() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_enrols_once_and_is_known_from_then_on() {
    let mut case = Case::new(&[stage("a", "echo $$", Value::Null)]).await;
    case.kill_worker().await;
    let data = case.dir.path().join("other");
    let config = Config { data: data.clone(), ..enrolling(&case, "oce_bad") };
    let error = work(config.clone(), CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("cannot enrol: the enrolment token is not known"), "{error}");
    let made = fs::read_to_string(data.join("identity")).unwrap();
    // As after a kill between the two: the same secret again.
    for token in ["oce_good", "oce_good", "", "oce_used_up_long_ago"] {
        let drain = CancellationToken::new();
        let config = Config { token: token.to_owned().into(), ..config.clone() };
        let ready = case.fake.wait("the time before", |_| true).await.ready;
        let worker = tokio::spawn(work(config, drain.clone()));
        case.fake.wait("a slot", |heard| heard.ready > ready).await;
        drain.cancel();
        worker.await.unwrap().unwrap();
    }
    assert_eq!(fs::read_to_string(data.join("identity")).unwrap(), made);
    assert_eq!(case.fake.enrolments(), 2, "one with the bad token, one with the good one");
    let config = Config { data: case.dir.path().join("third"), ..config };
    let config = Config { token: String::new().into(), ..config };
    let error = work(config, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, WorkerError::NoToken), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_says_so_and_finishes_its_job() {
    let (case, mark) = counting_case().await;
    case.drain.cancel();
    case.fake.wait("its word", |heard| heard.ending).await;
    // What it does not know is passed over.
    case.fake.tell_news();
    fs::write(format!("{mark}.go"), "").unwrap();
    let heard = case.finished().await;
    assert_eq!(heard.stages(), ["10 passed", "11 passed", "12 passed"]);
    fs::remove_dir_all(std::path::Path::new(&mark).parent().unwrap()).unwrap();
    let Case { worker, .. } = case;
    worker.unwrap().await.unwrap().unwrap();
}
