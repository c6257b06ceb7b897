//! What a forge never told is found, and built once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ocelot_model::ForgeKind;
use ocelot_server::Config;
use ocelot_testkit::forge::{Pull, Scene as Told, TOKEN, Told as What, Webhook};
use ocelot_testkit::{Manners, WebHost};
use reqwest::Method;
use serde_json::{Value, json};

use super::scene::{KINDS, REPO, Scene};
use crate::room::{SMALL, commit, git};

pub(super) const PATH: &str = "repos/codes/acme/app";
const WATCH: &str = "watch/codes/acme/app";

const DEADLINE: Duration = Duration::from_mins(1);

/// Looks follow each other quickly.
pub(super) fn often(config: &mut Config) {
    config.reconcile_every = Duration::from_millis(50);
}

/// Only the look after a start comes in time.
fn seldom(config: &mut Config) {
    config.reconcile_every = Duration::from_hours(10);
}

/// A watched repository of a forge, which is cloned from a real one.
pub(super) struct Place {
    pub(super) scene: Scene,
    git: PathBuf,
    _host: WebHost,
}

impl Place {
    async fn new(kind: ForgeKind, change: fn(&mut Config)) -> Place {
        Place::with(kind, change, json!({"token": TOKEN})).await
    }

    /// Ocelot has this access.
    pub(super) async fn with(kind: ForgeKind, change: fn(&mut Config), access: Value) -> Place {
        Place::of(Scene::new(kind, change).await, access).await
    }

    /// The same of a scene that is there.
    pub(super) async fn of(scene: Scene, access: Value) -> Place {
        let repos = scene.world.folder.path().join("repos");
        let git = repository(&repos.join(format!("{REPO}.git")));
        let host = WebHost::start(&repos, Manners::Open);
        scene.fake.clones_from(&host.url(""));
        let mut forge = scene.forge("codes", TOKEN);
        forge["access"] = access;
        scene.must(Method::POST, "forges", &forge).await;
        scene.must(Method::POST, "repos", &json!({"forge": "codes", "full_name": REPO})).await;
        scene.must(Method::POST, WATCH, &Value::Null).await;
        let place = Place { scene, git, _host: host };
        place.until(PATH, |repo| repo["reconciled"]["at"].is_string()).await;
        place
    }

    pub(super) async fn until(&self, path: &str, want: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let (status, body) = self.scene.ask(Method::GET, path, &Value::Null).await;
            if status.is_success() && want(&body) {
                return body;
            }
            assert!(tokio::time::Instant::now() < deadline, "{path} stays at {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A look that began now has ended: two ends of looks later.
    async fn looked(&self) -> String {
        let mut last = self.scene.get(PATH).await["reconciled"]["at"].clone();
        let mut outcome = String::new();
        for _ in 0..2 {
            let repo = self.until(PATH, |repo| repo["reconciled"]["at"] != last).await;
            last = repo["reconciled"]["at"].clone();
            repo["reconciled"]["outcome"].as_str().unwrap().clone_into(&mut outcome);
        }
        outcome
    }

    /// `event state: outcome` of all deliveries, oldest first, once each of them is settled.
    async fn ledger(&self) -> Vec<String> {
        let is_settled =
            |page: &Value| page["items"].as_array().unwrap().iter().all(|row| row["state"] != "waiting");
        let page = self.until("deliveries", is_settled).await;
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let rows = page["items"].as_array().unwrap().iter().rev();
        rows.map(|row| format!("{} {}: {}", text(row, "event"), text(row, "state"), text(row, "outcome")))
            .collect()
    }

    /// Nothing was never told, and there are so many builds.
    async fn has_builds(&self, count: usize, what: &str) {
        assert_eq!(self.looked().await, "nothing is missing", "{what}");
        let builds = self.builds().await;
        assert_eq!(builds.len(), count, "{what}: {builds:?} {:?}", self.ledger().await);
    }

    /// `event branch status` of all builds, oldest first.
    async fn builds(&self) -> Vec<String> {
        let page = self.scene.get("builds").await;
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let rows = page["items"].as_array().unwrap().iter().rev();
        rows.map(|row| format!("{} {} {}", text(row, "event"), text(row, "branch"), text(row, "status")))
            .collect()
    }

    /// A commit of no branch; its id.
    fn commit(&self, message: &str) -> String {
        git(&self.git, &["checkout", "-q", "--detach"]);
        std::fs::write(self.git.join("file"), message).unwrap();
        git(&self.git, &["add", "-A"]);
        git(&self.git, &["commit", "-q", "-m", message]);
        git(&self.git, &["rev-parse", "HEAD"])
    }

    /// A commit upon a branch; its id.
    fn push(&self, branch: &str, message: &str) -> String {
        let id = self.commit(message);
        // In one step: a look sees the branch before it or after it.
        git(&self.git, &["branch", "-q", "-f", branch, "HEAD"]);
        id
    }

    fn open(&self, number: u64, source: Option<u64>, branch: &str, commit: String) {
        self.open_to("main", number, source, branch, commit);
    }

    fn open_to(&self, target: &str, number: u64, source: Option<u64>, branch: &str, commit: String) {
        let (title, target) = ("A change".to_owned(), target.to_owned());
        self.scene.fake.open(REPO, Pull { number, title, source, branch: branch.to_owned(), commit, target });
    }

    /// All builds are over.
    async fn cancel_all(&self) {
        let page = self.scene.get("builds").await;
        for build in page["items"].as_array().unwrap() {
            let path = format!("builds/{}/cancel", build["number"]);
            self.scene.ask(Method::POST, &path, &Value::Null).await;
        }
    }

    /// The webhook of this comes after all.
    async fn tell(&self, what: What, told: &Told) {
        let webhook = Webhook::new(self.scene.fake.kind(), what, told).unwrap();
        for status in self.scene.fake.tell(REPO, &webhook).await {
            assert!((200..300).contains(&status), "{status}");
        }
    }
}

fn repository(path: &Path) -> PathBuf {
    std::fs::create_dir_all(path).unwrap();
    git(path, &["init", "-q", "-b", "main"]);
    commit(path, &[("ocelot.yml", SMALL)]);
    git(path, &["branch", "old"]);
    path.to_owned()
}

#[tokio::test]
async fn a_push_that_was_never_told_is_built_once() {
    for kind in KINDS {
        let place = Place::new(kind, often).await;
        // What was there before anyone watched is of no interest.
        assert_eq!(place.looked().await, "nothing is missing", "{kind}");
        assert_eq!(place.builds().await, [""; 0]);

        let first = place.push("main", "one");
        place.until("builds/1", |build| build["commit"] == first.as_str()).await;
        // A rule is a rule, and is asked once.
        place.push("topic", "two [skip ci]");
        place.looked().await;
        let skipped = "reconcile skipped: the commit's message says not to build it";
        assert_eq!(place.ledger().await, ["reconcile built: build 1", skipped], "{kind}");
        assert_eq!(place.looked().await, "nothing is missing");
        assert_eq!(place.ledger().await.len(), 2);
        assert_eq!(place.builds().await, ["push main queued"], "{kind}");
    }
}

#[tokio::test]
async fn what_the_forge_tells_late_has_its_build_already() {
    let place = Place::new(ForgeKind::Github, often).await;
    let commit = place.push("topic", "one");
    place.looked().await;
    assert_eq!(place.ledger().await, ["reconcile built: build 1"]);
    let told = Told { name: "topic".into(), after: commit.clone(), ..Told::default() };
    // It says that the branch was elsewhere before than what was seen.
    place.tell(What::BranchPushed, &told).await;
    assert_eq!(place.ledger().await[1..], ["push built: build 1, which is of the same commit"]);

    place.open(3, Some(11), "topic", commit);
    place.looked().await;
    place.tell(What::PullRequestOpened, &told).await;
    let same = "built: build 1, which is of the same commit";
    assert_eq!(place.ledger().await[2..], [format!("reconcile {same}"), format!("pull_request {same}")]);
    // Opened again it is built again: that was told of before.
    place.tell(What::PullRequestReopened, &told).await;
    assert_eq!(place.ledger().await[4..], ["pull_request built: build 2"]);
}

#[tokio::test]
async fn a_push_while_no_server_was_there_is_found_after_the_start() {
    let mut place = Place::new(ForgeKind::Gitlab, seldom).await;
    let commit = place.push("main", "one");
    place.scene = place.scene.restart().await;
    place.until("builds", |page| page["items"][0]["commit"] == commit.as_str()).await;
    assert_eq!(place.ledger().await, ["reconcile built: build 1"]);
}

#[tokio::test]
async fn a_pull_request_that_was_never_told_is_built_and_one_of_a_fork_waits() {
    for kind in KINDS {
        let place = Place::new(kind, often).await;
        let (own, fork) = (place.push("topic", "one"), place.push("theirs", "two"));
        place.looked().await;
        place.open(3, Some(11), "topic", own);
        // The commit of a fork is in no branch here; most forges show it to those who know its id.
        place.open(4, Some(99), "theirs", fork);
        place.looked().await;
        assert_eq!(place.ledger().await.len(), 4, "{kind}");
        let mut builds = place.builds().await;
        builds.sort();
        let want = ["pull_request theirs blocked", "push theirs queued", "push topic queued"];
        assert_eq!(builds, want, "{kind}");
        let page = place.scene.get("builds").await;
        let mut requests: Vec<_> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|build| build["pull_request"].as_u64())
            .collect();
        requests.sort_unstable();
        assert_eq!(requests, [3, 4], "{kind}");
        assert_eq!(place.looked().await, "nothing is missing");
    }
}

/// What happens to pull request 3, and the number of builds that there are of it then. Whether its forge tells of it first, late
/// or not at all makes no difference.
#[tokio::test]
async fn what_becomes_of_a_pull_request_is_built_once_told_or_not() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Webhook {
        Early,
        Late,
        Never,
    }
    for webhook in [Webhook::Early, Webhook::Late, Webhook::Never] {
        for kind in KINDS {
            let place = Place::new(kind, often).await;
            let commit = place.commit("theirs");
            // Bitbucket says the beginning of the id, and is asked for the rest.
            place.scene.fake.alias(REPO, "main", &commit);
            let told = |target: &str| Told {
                name: "theirs".into(),
                after: commit.clone(),
                source: Some(99),
                target: target.into(),
                ..Told::default()
            };
            place.open(3, Some(99), "theirs", commit.clone());
            place.until("builds/1", |build| build["pull_request"] == 3).await;
            let moved = async |what: What, target: &str, builds: usize| {
                place.cancel_all().await;
                if webhook == Webhook::Early {
                    place.tell(what, &told(target)).await;
                    place.until(&format!("builds/{builds}"), |build| build["pull_request"] == 3).await;
                }
                place.open_to(target, 3, Some(99), "theirs", commit.clone());
                place.until(&format!("builds/{builds}"), |build| build["pull_request"] == 3).await;
                place.looked().await;
                if webhook == Webhook::Late {
                    place.tell(what, &told(target)).await;
                    place.ledger().await;
                }
                place.has_builds(builds, &format!("{kind} {webhook:?} {what:?}")).await;
            };
            moved(What::PullRequestRetargeted, "develop", 2).await;
            if kind == ForgeKind::Bitbucket {
                // What is declined there stays so.
                continue;
            }
            place.scene.fake.close(REPO, 3);
            place.looked().await;
            moved(What::PullRequestReopened, "develop", 3).await;
        }
    }
}

/// Webhooks come at once, the list says so many looks later, and each build is over by then.
#[tokio::test]
async fn a_list_that_lags_behind_the_webhooks_makes_no_second_build() {
    for kind in KINDS {
        let place = Place::new(kind, often).await;
        let commits = ["one", "two", "three"].map(|message| place.commit(message));
        for commit in &commits {
            place.scene.fake.alias(REPO, "main", commit);
        }
        let mut builds = 0;
        let mut tell = async |what: What, commit: usize, target: &str| {
            let (name, target) = ("theirs".into(), target.into());
            let after = commits[commit].clone();
            place.tell(what, &Told { name, after, source: Some(99), target, ..Told::default() }).await;
            builds += 1;
            place.until(&format!("builds/{builds}"), |build| build["pull_request"] == 3).await;
            place.cancel_all().await;
            place.looked().await;
            builds
        };
        let says = async |commit: usize, target: &str, builds: usize| {
            place.open_to(target, 3, Some(99), "theirs", commits[commit].clone());
            place.has_builds(builds, &format!("{kind} {commit} {target}")).await;
        };
        tell(What::PullRequestOpened, 0, "main").await;
        tell(What::PullRequestUpdated, 1, "main").await;
        let all = tell(What::PullRequestUpdated, 2, "main").await;
        for commit in 0..3 {
            says(commit, "main", all).await;
        }
        let all = tell(What::PullRequestRetargeted, 2, "develop").await;
        says(2, "develop", all).await;
        if kind == ForgeKind::Bitbucket {
            // What is declined there stays so.
            continue;
        }
        place.scene.fake.close(REPO, 3);
        place.looked().await;
        let all = tell(What::PullRequestReopened, 2, "develop").await;
        says(2, "develop", all).await;
        // Opened again once more, as it was, and without a word.
        place.scene.fake.close(REPO, 3);
        place.looked().await;
        says(2, "develop", all + 1).await;
    }
}

#[tokio::test]
async fn a_forge_that_is_away_hides_no_push_and_its_pull_requests_are_found_later() {
    let place = Place::new(ForgeKind::Gitea, often).await;
    place.scene.fake.set_down(true);
    let commit = place.push("topic", "one");
    place.open(3, Some(11), "topic", commit);
    place.until("builds/1", |build| build["branch"] == "topic").await;
    let said = place.looked().await;
    assert!(said.starts_with("codes: "), "{said}");
    assert!(place.scene.get("builds/1").await["pull_request"].is_null());
    place.scene.fake.set_down(false);
    place.until("builds/1", |build| build["pull_request"] == 3).await;
    assert_eq!(place.builds().await.len(), 1);
}

#[tokio::test]
async fn a_branch_that_went_without_a_word_takes_its_waiting_builds_along() {
    let place = Place::new(ForgeKind::Github, often).await;
    place.push("topic", "one");
    place.until("builds/1", |build| build["status"] == "queued").await;
    place.looked().await;
    git(&place.git, &["branch", "-q", "-D", "topic"]);
    place.until("builds/1", |build| build["status"] == "cancelled").await;
    let gone = "reconcile ignored: branch topic was deleted; build 1 was cancelled";
    assert_eq!(place.ledger().await[1..], [gone]);
}

#[tokio::test]
async fn what_nobody_watches_is_not_looked_at() {
    let place = Place::new(ForgeKind::Github, often).await;
    place.scene.must(Method::DELETE, WATCH, &Value::Null).await;
    assert!(place.scene.get(PATH).await["reconciled"].is_null());
    // Watched again, what came in between is old.
    place.push("main", "one");
    place.scene.must(Method::POST, WATCH, &Value::Null).await;
    place.until(PATH, |repo| repo["reconciled"]["at"].is_string()).await;
    assert_eq!(place.looked().await, "nothing is missing");
    assert_eq!(place.builds().await, [""; 0]);
}

/// What changed in a pull request is asked of its forge, whoever told of it.
#[tokio::test]
async fn a_stage_that_the_files_of_a_pull_request_do_not_concern_is_skipped() {
    for kind in KINDS {
        let place = Place::new(kind, often).await;
        let yml = |folder: &str| {
            format!(
                "image: busybox\nstages:\n- {{name: test, script: [a], when: 'changed(\"{folder}/**\")'}}\n"
            )
        };
        let fake = &place.scene.fake;
        fake.commit(REPO, "main", "one", &[]);
        fake.branch(REPO, "topic", &fake.commit(REPO, "main", "two", &[]));
        fake.commit(REPO, "topic", "three", &[("docs/a", Some("x"))]);
        let mut statuses = Vec::new();
        for (number, folder) in [(3, "docs"), (4, "src")] {
            std::fs::write(place.git.join("ocelot.yml"), yml(folder)).unwrap();
            // The forge has the files, git the commit; no look must take it for a branch.
            let commit = place.commit(folder);
            fake.alias(REPO, "topic", &commit);
            place.open(number, Some(99), "theirs", commit);
            place.until(&format!("builds/{}", number - 2), |build| build["status"].is_string()).await;
            statuses.push(place.scene.get(&format!("builds/{}", number - 2)).await["status"].clone());
        }
        assert_eq!(statuses, ["blocked", "skipped"], "{kind}");
    }
}

#[tokio::test]
async fn a_new_name_that_a_webhook_tells_is_taken_when_the_forge_says_so_too() {
    let place = Place::new(ForgeKind::Github, seldom).await;
    std::os::unix::fs::symlink(&place.git, place.git.with_file_name("new.git")).unwrap();
    let commit = place.push("topic", "one");
    let told = |name: &str| Told {
        name: "topic".into(),
        after: commit.clone(),
        full_name: name.into(),
        ..Told::default()
    };
    // What only the webhook says is a word.
    place.tell(What::BranchCreated, &told("acme/wrong")).await;
    assert_eq!(place.ledger().await, ["push built: build 1"]);
    assert_eq!(place.scene.get(PATH).await["repo"], "codes/acme/app");
    place.scene.fake.rename(REPO, "acme/new");
    let webhook = Webhook::new(ForgeKind::Github, What::TagCreated, &told("acme/new")).unwrap();
    place.scene.fake.tell("acme/new", &webhook).await;
    assert_eq!(place.ledger().await[1..], ["push built: build 2"]);
    assert_eq!(place.scene.get("builds/2").await["repo"], "codes/acme/new");
    let clone_url = place.scene.get("repos/codes/acme/new").await["clone_url"].clone();
    assert!(clone_url.as_str().unwrap().ends_with("/acme/new.git"), "{clone_url}");
}
