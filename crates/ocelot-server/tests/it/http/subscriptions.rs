//! A repository is built after another one passed: from the file to the build, and who sees what of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use ocelot_model::access::Role;
use ocelot_model::{BuildNumber, Status, WorkerId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::room::{Room, SMALL, answer, commit, git};

const STAGES: &str = "image: busybox\nstages:\n- {name: always, script: x}\n\
                      - {name: old, script: x, triggers: ['\\upstream pogo']}\n\
                      - {name: new, script: x, when: 'upstream(\"pogo\")'}\n\
                      - {name: other, script: x, triggers: ['\\upstream lib']}\n";

/// A file that says so beside its stages.
fn after(block: &str) -> String {
    format!("{STAGES}subscriptions: {block}\n")
}

struct World {
    room: Room,
    worker: WorkerId,
}

impl World {
    async fn new() -> World {
        let room = Room::new().await;
        tokio::spawn(ocelot_server::loops::times(room.app.clone()));
        let worker = room.worker().await;
        World { room, worker }
    }

    /// The repository, and a build of it that ends so.
    async fn known(&self, name: &str, yml: &str, status: Status) -> PathBuf {
        let path = self.room.known(name, yml).await;
        self.built(name, status).await;
        path
    }

    /// One more build, which ends so.
    async fn built(&self, name: &str, status: Status) -> BuildNumber {
        let number = self.room.build(name).await;
        self.ends(number, status).await;
        number
    }

    /// The one build that waits ends so.
    async fn ends(&self, number: BuildNumber, status: Status) {
        let job = self.room.claim(self.worker).await;
        assert_eq!(job.build.number, number);
        self.room.finish(&job, status).await;
    }

    async fn build(&self, number: impl std::fmt::Display) -> Value {
        self.room.get(&format!("/api/v1/builds/{number}")).await.1
    }

    /// Waits until there are so many builds.
    async fn builds(&self, count: usize) -> Vec<Value> {
        self.until("/api/v1/builds", |page| page["items"].as_array().unwrap().len() >= count).await["items"]
            .as_array()
            .unwrap()
            .clone()
    }

    async fn until(&self, path: &str, want: impl Fn(&Value) -> bool) -> Value {
        let waiting = async {
            loop {
                let (_, body) = self.room.get(path).await;
                if want(&body) {
                    return body;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), waiting).await.expect("it does not come to that")
    }

    /// `repo upstream branches` of all.
    async fn listed(&self) -> Vec<String> {
        let (status, page) = self.room.get("/api/v1/subscriptions").await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let line =
            |one: &Value| format!("{} {} {}", one["repo"], one["upstream"], one["branches"]).replace('"', "");
        page["items"].as_array().unwrap().iter().map(line).collect()
    }

    /// What came of the one subscription.
    async fn outcome(&self, want: impl Fn(&str) -> bool) -> String {
        let page = self
            .until("/api/v1/subscriptions", |page| page["items"][0]["outcome"].as_str().is_some_and(&want))
            .await;
        page["items"][0]["outcome"].as_str().unwrap().to_owned()
    }
}

fn stages(build: &Value) -> String {
    let stage =
        |stage: &Value| format!("{} {}", stage["name"].as_str().unwrap(), stage["status"].as_str().unwrap());
    build["jobs"][0]["stages"].as_array().unwrap().iter().skip(1).map(stage).collect::<Vec<_>>().join(", ")
}

fn branch(path: &Path, name: &str) -> String {
    git(path, &["branch", "-f", name]);
    git(path, &["rev-parse", name])
}

#[tokio::test]
async fn a_passed_build_starts_one_of_the_mapped_branch() {
    let world = World::new().await;
    let block = "[{acctRepo: pogo, alias: pogo, branchQueueMap: ['main:main', 'dev:next']}]";
    let app = world.room.known("task-service", &after(block)).await;
    let next = branch(&app, "next");
    let first = world.room.build("task-service").await;
    // The other one need not be known yet, and that is said.
    let build = world.build(first).await;
    let fault = build["subscriptions"][0]["fault"].as_str().unwrap();
    assert_eq!(fault, "there is no repository git/pogo here, or you may not see it");
    assert_eq!(build["notes"], json!([format!("subscription pogo: {fault}")]));
    assert_eq!(stages(&build), "always queued, old skipped, new skipped, other skipped");
    world.ends(first, Status::Passed).await;
    assert_eq!(world.listed().await, ["git/task-service git/pogo {dev:next,main:main}"]);

    let pogo = world.known("pogo", SMALL, Status::Failed).await;
    let dev = commit(&pogo, &[("x", "1")]);
    git(&pogo, &["branch", "dev"]);
    let (_, upstream) =
        world.room.post("/api/v1/builds", &json!({"repo": "git/pogo", "branch": "dev"})).await;
    let upstream = upstream["number"].as_i64().unwrap();
    world.ends(BuildNumber(upstream), Status::Passed).await;
    let made = world.builds(4).await.remove(0);
    assert_eq!(
        (&made["event"], &made["repo"], &made["branch"], &made["commit"], &made["triggered_by"]),
        (
            &json!("subscription"),
            &json!("git/task-service"),
            &json!("next"),
            &json!(next),
            &json!("subscription pogo")
        )
    );
    let follows = json!({"build": upstream, "removed": false, "repo": "git/pogo", "branch": "dev", "commit": dev, "alias": "pogo"});
    assert_eq!((&made["upstream"], &made["upstream_build"]), (&json!(upstream), &follows));
    let detail = world.build(&made["number"]).await;
    assert_eq!(stages(&detail), "always queued, old queued, new queued, other skipped");
    assert_eq!(detail["upstream_build"], follows);
    let below = &world.build(upstream).await["downstream"];
    assert_eq!(below[0]["build"], made["number"]);
    assert_eq!((&below[0]["repo"], &below[0]["status"]), (&json!("git/task-service"), &json!("queued")));
    assert_eq!(world.outcome(|_| true).await, format!("build {}", made["number"]));
    // Both are on the pages of the other.
    let page = async |number: &Value| world.room.get(&format!("/builds/{number}")).await.1.to_string();
    assert!(page(&made["number"]).await.contains(&format!("git/pogo #{upstream}")));
    assert!(page(&json!(upstream)).await.contains(&format!("git/task-service #{}", made["number"])));
    let (_, graph) = world.room.get("/api/v1/subscriptions/graph").await;
    let edge = |from: &str, to: &str| json!({"from": {"repo": "git/pogo", "branch": from}, "to": {"repo": "git/task-service", "branch": to}, "alias": "pogo"});
    assert_eq!(graph["edges"], json!([edge("dev", "next"), edge("main", "main")]));
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 4);
    // A retry follows the same build.
    world.ends(BuildNumber(made["number"].as_i64().unwrap()), Status::Failed).await;
    // What ended says so in the export, but not to who may not see the other one.
    let token = world.room.token(Role::Read, &["git/task-service"]).await;
    for (token, want) in
        [(&world.room.admin, (json!(upstream), json!("git/pogo"))), (&token, (Value::Null, Value::Null))]
    {
        let (_, text) = answer(world.room.plain(Method::GET, "/api/v1/export").bearer_auth(token)).await;
        let rows = text.as_str().unwrap().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let row = rows.into_iter().find(|row| row["number"] == made["number"]).unwrap();
        assert_eq!((row["upstream"].clone(), row["upstream_repo"].clone()), want, "{row}");
    }
    let (_, again) = world.room.post(&format!("/api/v1/builds/{}/retry", made["number"]), &json!({})).await;
    assert_eq!((&again["event"], &again["upstream_build"]), (&json!("retry"), &follows));
    assert_eq!(stages(&again), "always queued, old queued, new queued, other skipped");
    // Who may not see the upstream reads that there is one, and not which.
    let path = format!("/api/v1/builds/{}", again["number"]);
    let (_, seen) = answer(world.room.plain(Method::GET, &path).bearer_auth(&token)).await;
    assert_eq!((&seen["upstream"], &seen["upstream_build"]), (&Value::Null, &Value::Null));
    let note = "It was made after a build of another repository, which you may not see or which is not there any more.";
    assert_eq!(seen["notes"][0], json!(note), "{seen}");
    assert!(!world.build(&again["number"]).await["notes"].to_string().contains(note));
    // No link leads to one that went for its age.
    let link = format!("/builds/{upstream}");
    // A page is a text of JSON here, with its quotes escaped.
    let earlier = format!("/builds/{}\\\"", made["number"]);
    assert!(page(&again["number"]).await.contains(&link));
    assert!(page(&again["number"]).await.contains(&earlier));
    assert_eq!(world.build(&again["number"]).await.get("retry_removed"), None);
    let store = &world.room.app.store;
    let later = store.now().await.unwrap() + SignedDuration::from_hours(1);
    store.count_builds(50).await.unwrap();
    store.expire_builds(later, 0, None, 100).await.unwrap();
    let of = &world.build(&again["number"]).await["upstream_build"];
    assert_eq!((&of["build"], &of["removed"]), (&json!(upstream), &json!(true)));
    let seen = page(&again["number"]).await;
    assert!(seen.contains(&format!("git/pogo #{upstream} (removed)")), "{seen}");
    assert!(!seen.contains(&link) && !seen.contains(&earlier), "{seen}");
    assert!(seen.contains(&format!("<dt>Again</dt><dd>#{} (removed)</dd>", made["number"])), "{seen}");
    assert_eq!(world.build(&again["number"]).await["retry_removed"], json!(true));
}

#[tokio::test]
async fn only_the_newest_file_of_the_default_branch_says_so() {
    let world = World::new().await;
    let one = "[{acctRepo: pogo, alias: pogo, branches: {main: main}}]";
    let path = world.room.known("app", &after(one)).await;
    let old = git(&path, &["rev-parse", "HEAD"]);
    let first = world.room.build("app").await;
    let holds = ["git/app git/pogo {main:main}"];
    assert_eq!(world.listed().await, holds);
    // Another branch says nothing.
    git(&path, &["checkout", "-q", "-b", "dev"]);
    commit(&path, &[("ocelot.yml", &after("[{acctRepo: lib, alias: lib, branches: {main: main}}]"))]);
    world.room.post("/api/v1/builds", &json!({"repo": "git/app", "branch": "dev"})).await;
    assert_eq!(world.listed().await, holds);
    // Neither does a broken file.
    git(&path, &["checkout", "-q", "main"]);
    commit(&path, &[("ocelot.yml", "image: [")]);
    world.room.build("app").await;
    assert_eq!(world.listed().await, holds);
    // A newer one takes its place.
    let other = "[{acctRepo: pogo, alias: pogo, branches: {main: main, dev: dev}}]";
    commit(&path, &[("ocelot.yml", &after(other))]);
    world.room.build("app").await;
    let holds = ["git/app git/pogo {dev:dev,main:main}"];
    assert_eq!(world.listed().await, holds);
    // Neither the old commit nor its build, made again, brings the old one back.
    let (status, _) = world.room.post("/api/v1/builds", &json!({"repo": "git/app", "commit": old})).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(world.listed().await, holds);
    world.room.post(&format!("/api/v1/builds/{first}/cancel"), &json!({})).await;
    let (status, _) = world.room.post(&format!("/api/v1/builds/{first}/retry"), &json!({})).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(world.listed().await, holds);
    commit(&path, &[("ocelot.yml", SMALL)]);
    // Somebody asks for the newest commit by its id.
    let head = git(&path, &["rev-parse", "HEAD"]);
    world.room.post("/api/v1/builds", &json!({"repo": "git/app", "commit": head})).await;
    assert_eq!(world.listed().await, [""; 0]);
}

#[tokio::test]
async fn passes_while_it_waits_become_one_build_of_the_newest() {
    let world = World::new().await;
    let block = "[{acctRepo: pogo, alias: pogo, branches: {main: main}}]";
    let path = world.room.known("app", &format!("labels: {{tag: nobody}}\n{}", after(block))).await;
    world.room.build("app").await;
    world.known("pogo", SMALL, Status::Passed).await;
    let first = world.builds(3).await.remove(0);
    assert_eq!((&first["event"], &first["upstream"]), (&json!("subscription"), &json!(2)));
    let newest = world.built("pogo", Status::Passed).await;
    let words = format!("build {}, which had not begun yet", first["number"]);
    world.outcome(|said| said == words).await;
    assert_eq!(world.build(&first["number"]).await["upstream"], newest.0);
    assert_eq!(world.builds(4).await.len(), 4);
    // Once the branch is elsewhere, there is a build of where it is now, and none of where it was.
    let head = commit(&path, &[("x", "1")]);
    let newest = world.built("pogo", Status::Passed).await;
    let second = world.builds(6).await.remove(0);
    assert_eq!((&second["commit"], &second["upstream"]), (&json!(head), &json!(newest.0)));
    let path = format!("/api/v1/builds/{}", first["number"]);
    let ended = world.until(&path, |build| build["status"] == "cancelled").await;
    assert_eq!(ended["reason"], format!("superseded by build {}", second["number"]));
    let (_, numbers) = world.room.get("/metrics").await;
    assert!(numbers.as_str().unwrap().contains("\nocelot_subscription_builds_total "));
}

#[tokio::test]
async fn what_cannot_be_built_is_said() {
    let world = World::new().await;
    let block = "[{acctRepo: pogo, alias: pogo, branches: {main: gone}}]";
    let path =
        world.known("app", &format!("branches: [main, no-file]\n{}", after(block)), Status::Passed).await;
    world.known("pogo", SMALL, Status::Passed).await;
    let words = world.outcome(|_| true).await;
    assert!(words.contains("gone"), "{words}");
    branch(&path, "gone");
    world.built("pogo", Status::Passed).await;
    let words = world.outcome(|words| words.contains("leaves")).await;
    assert_eq!(
        words,
        "`branches` in ocelot.yml leaves `gone` out; use `--force` (\"force\": true) to build it all the same"
    );
    assert_eq!(world.builds(3).await.len(), 3);
}

#[tokio::test]
async fn what_one_may_not_see_is_as_if_it_were_not_there() {
    let world = World::new().await;
    let on = |name: &str| after(&format!("[{{acctRepo: {name}, alias: up, branches: {{main: main}}}}]"));
    world.known("app", &on("secret"), Status::Passed).await;
    world.known("lib", &on("missing"), Status::Passed).await;
    world.known("secret", SMALL, Status::Passed).await;
    let made = world.builds(4).await.remove(0);
    let reader = world.room.token(Role::Read, &["git/app", "git/lib"]).await;
    let ask = async |path: &str| answer(world.room.plain(Method::GET, path).bearer_auth(&reader)).await.1;
    let build = ask(&format!("/api/v1/builds/{}", made["number"])).await;
    assert_eq!((&build["event"], &build["upstream"]), (&json!("subscription"), &Value::Null));
    assert!(build.get("upstream_build").is_none(), "{build}");
    assert!(ask("/api/v1/builds").await["items"][0]["upstream"].is_null());
    let page = ask(&format!("/builds/{}", made["number"])).await.to_string();
    // Its name stands in the file; that there is a build does not.
    assert!(!page.contains("git/secret #"), "{page}");
    // What is hidden and what is missing look the same.
    let list = ask("/api/v1/subscriptions").await;
    let fault = |at: usize, name: &str| list["items"][at]["fault"].as_str().unwrap().replace(name, "X");
    assert_eq!(fault(0, "git/secret"), fault(1, "git/missing"));
    assert_eq!((&list["items"][0]["known"], &list["items"][1]["known"]), (&json!(false), &json!(false)));
    // The other way round: who sees the upstream alone.
    let other = world.room.token(Role::Read, &["git/secret"]).await;
    let path = format!("/api/v1/builds/{}", made["upstream"]);
    let build = answer(world.room.plain(Method::GET, &path).bearer_auth(&other)).await.1;
    assert!(build["repo"] == "git/secret" && build.get("downstream").is_none(), "{build}");
    let list = answer(world.room.plain(Method::GET, "/api/v1/subscriptions").bearer_auth(&other)).await.1;
    assert_eq!(list["items"], json!([]));
    for path in ["/api/v1/subscriptions", "/api/v1/subscriptions/graph"] {
        assert_eq!(answer(world.room.plain(Method::GET, path)).await.0, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_circle_is_said_with_its_path() {
    let world = World::new().await;
    let on = |name: &str| after(&format!("[{{acctRepo: {name}, alias: up, branches: {{main: main}}}}]"));
    let b = world.known("b", &on("a"), Status::Passed).await;
    world.known("c", &on("b"), Status::Passed).await;
    let number = {
        world.room.known("a", &on("c")).await;
        world.room.build("a").await
    };
    let build = world.build(number).await;
    let one = &build["subscriptions"][0];
    let fault = one["fault"].as_str().unwrap();
    assert!(fault.contains("git/a → git/b → git/c → git/a"), "{fault}");
    assert_eq!((&one["active"], &one["known"]), (&json!(false), &json!(true)));
    assert_eq!(build["notes"], json!([format!("subscription up: {fault}")]));
    let page = world.room.get(&format!("/builds/{number}")).await.1.to_string();
    assert!(page.contains("git/a → git/b → git/c → git/a"), "{page}");
    assert_eq!(world.room.get("/api/v1/subscriptions/graph").await.1["edges"].as_array().unwrap().len(), 2);
    // Those on the way are for those who see them.
    let reader = world.room.token(Role::Read, &["git/a"]).await;
    let list = answer(world.room.plain(Method::GET, "/api/v1/subscriptions").bearer_auth(&reader)).await.1;
    let fault = list["items"][0]["fault"].as_str().unwrap();
    assert!(fault.contains("git/a → another repository → git/c → git/a"), "{fault}");
    // Once it is gone, nothing is said of it any more, and the build stays what it was.
    commit(&b, &[("ocelot.yml", SMALL)]);
    world.room.build("b").await;
    let build = world.build(number).await;
    assert!(build.get("notes").is_none(), "{build}");
    let one = &build["subscriptions"][0];
    assert_eq!((&one["active"], &one["fault"]), (&json!(true), &Value::Null));
    assert_eq!(one["outcome"], "in force now: what stood in its way is gone");
}
