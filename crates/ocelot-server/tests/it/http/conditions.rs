//! What does not run is skipped when the build is made, and says why.

use ocelot_model::Status;
use ocelot_model::build::{Happening, Outcome};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::room::{Room, commit, git};

/// `name status reason` of each stage of each job.
fn stages(build: &Value) -> Vec<String> {
    let jobs = build["jobs"].as_array().unwrap().iter();
    let stages = jobs.flat_map(|job| job["stages"].as_array().unwrap());
    stages
        .map(|stage| {
            let word = |key: &str| stage[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", word("name"), word("status"), word("reason"))
        })
        .collect()
}

async fn build(room: &Room, body: Value) -> Value {
    let (status, build) = room.post("/api/v1/builds", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{build}");
    build
}

const DEPLOY: &str = "image: a\nstages:\n- {name: test, script: x}\n- {name: deploy, script: x, when: 'branch == \"main\"'}\n\
                      - {name: old, script: x, trigger: {branches: [main, 'rc-.*']}}\n";

#[tokio::test]
async fn a_stage_that_does_not_run_is_skipped_at_once() {
    let room = Room::new().await;
    let path = room.known("example", DEPLOY).await;
    git(&path, &["checkout", "-q", "-b", "dev"]);
    let found = build(&room, json!({"repo": "git/example", "branch": "dev"})).await;
    let skipped = [
        "setup queued -",
        "test queued -",
        "deploy skipped when: branch is dev, not main",
        "old skipped trigger: branch is dev, none of main, rc-.*",
    ];
    assert_eq!(
        (found["status"].as_str(), stages(&found)),
        (Some("queued"), skipped.map(str::to_owned).to_vec())
    );
    // A further attempt knows it from the beginning, and so does a retry.
    let job = room.claim(room.worker().await).await;
    let outcome = Outcome { status: Status::Error, reason: None, infrastructure: true };
    let end = Happening::Finished { job: job.job_id, attempt: 1, outcome };
    room.app.store.advance(job.build.number, end).await.unwrap();
    let path = format!("/api/v1/builds/{}", found["number"]);
    let (_, again) = room.get(&path).await;
    assert_eq!(
        (again["jobs"][0]["attempt"].as_i64(), stages(&again)),
        (Some(2), skipped.map(str::to_owned).to_vec())
    );
    room.post(&format!("{path}/cancel"), &json!({})).await;
    let (_, retried) = room.post(&format!("{path}/retry"), &json!({})).await;
    assert_eq!(stages(&retried), skipped);
    let main = build(&room, json!({"repo": "git/example"})).await;
    assert!(stages(&main).iter().all(|stage| stage.ends_with(" queued -")), "{main}");
}

#[tokio::test]
async fn what_has_nothing_to_run_is_skipped_at_once() {
    let room = Room::new().await;
    let when = "when: 'branch == \"main\"'";
    let yml = format!(
        "image: a\njobs:\n  test: {{stages: [{{name: a, script: x}}]}}\n  deploy:\n    needs: test\n    \
         stages: [{{name: b, script: x, {when}}}, {{name: c, script: x, always: true, {when}}}]\n  \
         after: {{needs: deploy, stages: [{{name: d, script: x}}]}}\n"
    );
    let path = room.known("example", &yml).await;
    git(&path, &["checkout", "-q", "-b", "dev"]);
    let found = build(&room, json!({"repo": "git/example", "branch": "dev"})).await;
    let why = "when: branch is dev, not main";
    let deploy = &found["jobs"][1];
    assert_eq!((&deploy["status"], &deploy["reason"]), (&json!("skipped"), &json!(why)), "{found}");
    let want = ["queued", "skipped", "queued"];
    let statuses: Vec<&Value> = found["jobs"].as_array().unwrap().iter().map(|job| &job["status"]).collect();
    assert_eq!(statuses, want);
    let all = [("setup", "-"), ("b", why), ("c", why)].map(|(name, why)| format!("{name} skipped {why}"));
    assert_eq!(stages(&found)[2..5], all);
    commit(&path, &[("ocelot.yml", &format!("image: a\nstages:\n- {{name: b, script: x, {when}}}\n"))]);
    let found = build(&room, json!({"repo": "git/example", "branch": "dev"})).await;
    assert_eq!((&found["status"], &found["reason"]), (&json!("skipped"), &json!(why)), "{found}");
    assert!(found["finished_at"].is_string(), "{found}");
    // Skipped again, whatever is asked for.
    for body in [json!({}), json!({"failed": true})] {
        let (status, again) = room.post(&format!("/api/v1/builds/{}/retry", found["number"]), &body).await;
        assert_eq!((status, &again["status"]), (StatusCode::CREATED, &json!("skipped")), "{again}");
    }
}

#[tokio::test]
async fn changed_files_are_those_since_the_last_passed_build() {
    let room = Room::new().await;
    let yml = "image: a\nstages:\n- {name: web, script: x, when: 'changed(\"web/**\")'}\n\
               - {name: docs, script: x, triggers: ['\\filepath docs/']}\n- {name: said, script: x, triggers: ['\\text \"a change\"']}\n";
    let path = room.known("example", yml).await;
    let worker = room.worker().await;
    let ask = || build(&room, json!({"repo": "git/example"}));
    let pass = async || {
        let job = room.claim(worker).await;
        for (id, _) in &job.stages {
            room.stage(&job, *id, Status::Running).await;
            room.stage(&job, *id, Status::Passed).await;
        }
        let outcome = Outcome { status: Status::Passed, reason: None, infrastructure: false };
        let end = Happening::Finished { job: job.job_id, attempt: 1, outcome };
        room.app.store.advance(job.build.number, end).await.unwrap();
    };
    let first = ask().await;
    let why = "which files have changed is not known (no build of this branch has passed yet), so it runs";
    let unknown =
        |status: &str| [format!("web {status} when: {why}"), format!("docs {status} triggers: {why}")];
    assert_eq!(stages(&first)[1..3], unknown("queued"), "{first}");
    pass().await;
    // The note stays when the stage has run.
    let (_, first) = room.get(&format!("/api/v1/builds/{}", first["number"])).await;
    assert_eq!(stages(&first)[1..3], unknown("passed"), "{first}");
    // Nothing has changed, and yet somebody wants it built.
    let same = ask().await;
    assert!(stages(&same)[1].contains("this commit has passed before, in build 1"), "{same}");
    room.post(&format!("/api/v1/builds/{}/cancel", same["number"]), &json!({})).await;
    std::fs::create_dir(path.join("docs")).unwrap();
    commit(&path, &[("docs/a.md", "1")]);
    commit(&path, &[("b", "2")]);
    let second = ask().await;
    let want =
        ["web skipped when: no file that matches web/** has changed", "docs queued -", "said queued -"];
    assert_eq!(stages(&second)[1..], want, "{second}");
    pass().await;
    commit(&path, &[("c", "3")]);
    let third = ask().await;
    assert!(stages(&third)[2].starts_with("docs skipped"), "{third}");
}
