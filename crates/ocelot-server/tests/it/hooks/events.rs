//! What the events of every forge become.

use ocelot_model::ForgeKind;
use ocelot_testkit::forge::{Scene, Told, Webhook};
use ocelot_testkit::{Receiver, wait_for};
use serde_json::{Value, json};

use super::world::{Database, World, words};
use crate::room::{SMALL, git};

both!(
    a_push_becomes_a_build_whichever_forge_tells_of_it,
    a_push_and_the_pull_request_from_there_make_one_build,
    there_and_back_and_there_again_are_three_builds_and_copies_are_none,
    what_the_rules_leave_out_says_which_rule,
    a_pull_request_from_a_fork_waits_for_a_person,
    a_forks_file_tells_nobody_and_that_of_the_default_branch_does,
    tags_are_built_and_a_branch_that_is_gone_cancels_what_waits,
    a_newer_push_cancels_older_builds_unless_the_file_says_otherwise,
    a_merge_queue_is_answered_with_a_build,
    what_stands_beside_a_build_is_that_of_the_newest_commit,
    a_pull_request_that_is_to_go_elsewhere_is_built_again,
    one_push_of_several_branches_makes_a_build_of_each,
    what_a_forge_leaves_out_or_overdoes_is_taken_as_it_is,
    the_files_of_a_pull_request_are_asked_of_its_forge,
);

/// All of them; with PostgreSQL the two that are most unlike, because it takes long.
fn forges(database: Database) -> Vec<ForgeKind> {
    match database {
        Database::Sqlite => {
            vec![ForgeKind::Github, ForgeKind::Gitlab, ForgeKind::Bitbucket, ForgeKind::Gitea]
        }
        Database::Postgres => vec![ForgeKind::Github, ForgeKind::Bitbucket],
    }
}

async fn a_push_becomes_a_build_whichever_forge_tells_of_it(database: Database) {
    for kind in forges(database) {
        let world = World::of(database, kind, SMALL, |_| {}).await;
        let scene = Scene { name: "main".into(), after: world.head(), ..Scene::default() };
        let delivery = world.tell(Told::BranchPushed, &scene).await;
        assert_eq!(words(&delivery), "built: build 1", "{kind}");
        let build = world.get("/api/v1/builds/1").await;
        assert_eq!(build["event"], "push", "{kind}");
        assert_eq!((&build["branch"], &build["commit"]), (&"main".into(), &scene.after.into()));
        assert_eq!(delivery["parts"][0]["build"], 1);
    }
}

/// The push and the pull request of one commit, in either order, of every forge; Bitbucket says only the beginning of
/// the commit in the latter.
async fn a_push_and_the_pull_request_from_there_make_one_build(database: Database) {
    for kind in forges(database) {
        for order in
            [[Told::BranchCreated, Told::PullRequestOpened], [Told::PullRequestOpened, Told::BranchCreated]]
        {
            let world = World::of(database, kind, SMALL, |_| {}).await;
            let scene = Scene { after: world.commit_on("topic", "x"), ..Scene::default() };
            let first = world.tell(order[0], &scene).await;
            assert_eq!(words(&first), "built: build 1", "{kind} {order:?}");
            let second = world.tell(order[1], &scene).await;
            assert_eq!(words(&second), "built: build 1, which is of the same commit", "{kind} {order:?}");
            assert_eq!(world.get("/api/v1/builds/1").await["pull_request"], 3);
            // Opened again it is built again; Bitbucket cannot do that.
            if kind != ForgeKind::Bitbucket {
                let third = world.tell(Told::PullRequestReopened, &scene).await;
                assert_eq!(words(&third), "built: build 2", "{kind}");
            }
        }
    }
}

async fn there_and_back_and_there_again_are_three_builds_and_copies_are_none(database: Database) {
    let world = World::new(database).await;
    let (a, b) = (world.head(), world.commit_on("topic", "b"));
    let push =
        |before: &str, after: &str| Scene { before: before.into(), after: after.into(), ..Scene::default() };
    for (number, (before, after)) in [(&a, &b), (&b, &a), (&a, &b)].into_iter().enumerate() {
        let scene = push(before, after);
        let delivery = world.tell(Told::BranchPushed, &scene).await;
        assert_eq!(words(&delivery), format!("built: build {}", number + 1));
        let copy = world.tell(Told::BranchPushed, &scene).await;
        assert_eq!(words(&copy), format!("duplicate: duplicate of delivery {}", delivery["id"]));
    }
}

async fn what_the_rules_leave_out_says_which_rule(database: Database) {
    let world = World::of(database, ForgeKind::Github, &format!("branches: [main]\n{SMALL}"), |_| {}).await;
    let scene = |commit: String| Scene { after: commit, ..Scene::default() };
    let left_out = world.tell(Told::BranchCreated, &scene(world.commit_on("topic", "x"))).await;
    assert_eq!(words(&left_out), "skipped: `branches` in ocelot.yml leaves `topic` out");
    // A pull request is about the branch that it goes to.
    let request = world.tell(Told::PullRequestOpened, &scene(world.head())).await;
    assert_eq!(words(&request), "built: build 1");
    let marked = world.commit_on("topic", "x [skip ci]");
    let skipped = world.tell(Told::PullRequestUpdated, &scene(marked)).await;
    assert_eq!(words(&skipped), "skipped: the commit's message says not to build it");
    let titled = Scene { title: "[CI skip] no".into(), ..scene(world.commit_on("topic", "y")) };
    let skipped = world.tell(Told::PullRequestUpdated, &titled).await;
    assert_eq!(words(&skipped), "skipped: the pull request's title says not to build it");
    git(&world.git, &["rm", "-q", "ocelot.yml"]);
    let without = world.commit_on("topic", "z");
    let skipped = world.tell(Told::PullRequestUpdated, &scene(without.clone())).await;
    assert_eq!(words(&skipped), format!("skipped: there is no ocelot.yml at {}", &without[..12]));
    std::fs::write(world.git.join("ocelot.yml"), "image: [\n").unwrap();
    let broken = world.tell(Told::PullRequestUpdated, &scene(world.commit_on("topic", "z"))).await;
    assert_eq!(words(&broken), "built: build 2");
    assert_eq!(world.get("/api/v1/builds/2").await["status"], "error");
}

async fn a_pull_request_from_a_fork_waits_for_a_person(database: Database) {
    let world = World::new(database).await;
    let scene = Scene { after: world.commit_on("topic", "x"), source: Some(99), ..Scene::default() };
    assert_eq!(words(&world.tell(Told::PullRequestOpened, &scene).await), "built: build 1");
    let build = world.get("/api/v1/builds/1").await;
    assert_eq!((&build["status"], &build["origin"]), (&"blocked".into(), &"fork".into()));
    // The repository's own branch of that name has a build of its own.
    assert_eq!(words(&world.tell(Told::BranchCreated, &scene).await), "built: build 2");
    assert_eq!(world.get("/api/v1/builds/2").await["status"], "queued");
    // Another commit is another build, which waits again.
    let newer = Scene { after: world.commit_on("topic", "y"), ..scene };
    assert_eq!(words(&world.tell(Told::PullRequestUpdated, &newer).await), "built: build 3");
    assert_eq!(world.get("/api/v1/builds/3").await["status"], "blocked");
    let older = world.until("/api/v1/builds/1", |build| build["status"] == "cancelled").await;
    assert_eq!(older["reason"], "superseded by build 3");
    assert_eq!(world.get("/api/v1/builds/2").await["status"], "queued");
}

async fn a_forks_file_tells_nobody_and_that_of_the_default_branch_does(database: Database) {
    let notify = |channel: &str| {
        format!(
            "{SMALL}notify: {{slack: {{identifier: team, channel: '{channel}', on: [blocked, cancelled, error]}}}}\n"
        )
    };
    let world = World::of(database, ForgeKind::Github, &notify("#ours"), |_| {}).await;
    let slack = Receiver::slack().await;
    let credential = json!({"name": "team", "kind": "notify", "value": slack.url()});
    world.must("/api/v1/credentials", &credential).await;
    world.must("/api/v1/builds", &json!({"repo": "github/acme/app"})).await;
    let channels = async |want: &[&str]| {
        let channels = || slack.taken().iter().map(|body| body["channel"].clone()).collect::<Vec<_>>();
        wait_for(&format!("{want:?}"), async || (channels() == want).then_some(())).await;
    };
    std::fs::write(world.git.join("ocelot.yml"), notify("#theirs")).unwrap();
    let scene = Scene { after: world.commit_on("topic", "x"), source: Some(99), ..Scene::default() };
    assert_eq!(words(&world.tell(Told::PullRequestOpened, &scene).await), "built: build 2");
    channels(&["#ours"]).await;
    // The repository's own branch of that name has a word of its own.
    assert_eq!(words(&world.tell(Told::BranchCreated, &scene).await), "built: build 3");
    world.must("/api/v1/builds/3/cancel", &json!({})).await;
    channels(&["#ours", "#theirs"]).await;
    std::fs::write(world.git.join("ocelot.yml"), "image: [\n").unwrap();
    let own = Scene { after: world.commit_on("other", "y"), name: "other".into(), ..Scene::default() };
    assert_eq!(words(&world.tell(Told::BranchCreated, &own).await), "built: build 4");
    channels(&["#ours", "#theirs", "#ours"]).await;
}

async fn tags_are_built_and_a_branch_that_is_gone_cancels_what_waits(database: Database) {
    for kind in forges(database) {
        let world = World::of(database, kind, SMALL, |_| {}).await;
        let scene = Scene { after: world.head(), ..Scene::default() };
        // Of the same name as the branch.
        let tag = scene.clone();
        assert_eq!(words(&world.tell(Told::TagCreated, &tag).await), "built: build 1", "{kind}");
        let build = world.get("/api/v1/builds/1").await;
        assert_eq!((&build["event"], &build["tag"]), (&"tag".into(), &"topic".into()), "{kind}");
        world.tell(Told::BranchCreated, &scene).await;
        let gone = world.tell(Told::BranchDeleted, &scene).await;
        assert_eq!(words(&gone), "ignored: branch topic was deleted; build 2 was cancelled", "{kind}");
        assert_eq!(world.get("/api/v1/builds/2").await["status"], "cancelled");
        assert_eq!(world.get("/api/v1/builds/1").await["status"], "queued");
    }
}

async fn a_newer_push_cancels_older_builds_unless_the_file_says_otherwise(database: Database) {
    for (line, status) in [("", "cancelled"), ("cancel_superseded: false\n", "queued")] {
        let world = World::of(database, ForgeKind::Github, &format!("{line}{SMALL}"), |_| {}).await;
        let first = Scene { after: world.commit_on("topic", "a"), ..Scene::default() };
        world.tell(Told::BranchCreated, &first).await;
        let before = first.after.clone();
        let second = Scene { before, after: world.commit_on("topic", "b"), ..Scene::default() };
        world.tell(Told::BranchPushed, &second).await;
        world.until("/api/v1/builds/1", |build| build["status"] == status).await;
        assert_eq!(world.get("/api/v1/builds/2").await["status"], "queued");
    }
}

async fn a_merge_queue_is_answered_with_a_build(database: Database) {
    let world = World::new(database).await;
    let scene = Scene { after: world.head(), ..Scene::default() };
    assert_eq!(words(&world.tell(Told::MergeGroupWanted, &scene).await), "built: build 1");
    let gone = words(&world.tell(Told::MergeGroupGone, &scene).await);
    assert!(gone.ends_with("build 1 was cancelled"), "{gone}");
}

/// A delivery that is worked on late, or again, brings back nothing that a newer commit has taken away; and what comes from
/// elsewhere says nothing at all.
async fn what_stands_beside_a_build_is_that_of_the_newest_commit(database: Database) {
    let block = "subscriptions: [{acctRepo: acme/pogo, alias: pogo, branches: [main:main]}]\n";
    let world = World::of(database, ForgeKind::Github, &format!("{block}{SMALL}"), |_| {}).await;
    let listed = async || world.get("/api/v1/subscriptions").await["items"].as_array().unwrap().clone();
    let old = world.head();
    std::fs::write(world.git.join("ocelot.yml"), SMALL).unwrap();
    let new = world.commit_on("main", "without");
    let push = |before: &str, after: &str| Scene {
        name: "main".into(),
        before: before.into(),
        after: after.into(),
        ..Scene::default()
    };
    assert_eq!(words(&world.tell(Told::BranchPushed, &push(&old, &new)).await), "built: build 1");
    // The push before it comes now.
    assert_eq!(words(&world.tell(Told::BranchPushed, &push(&"0".repeat(40), &old)).await), "built: build 2");
    assert_eq!(world.get("/api/v1/builds/2").await["commit"], old);
    assert!(listed().await.is_empty());
    // A pull request, from a fork or not, is no branch of the repository.
    std::fs::write(world.git.join("ocelot.yml"), format!("{block}{SMALL}")).unwrap();
    let topic = world.commit_on("topic", "with");
    for source in [11, 99] {
        let scene = Scene { after: topic.clone(), source: Some(source), ..Scene::default() };
        world.tell(Told::PullRequestOpened, &scene).await;
        assert!(listed().await.is_empty(), "{source}");
    }
    git(&world.git, &["branch", "-f", "main", &topic]);
    world.tell(Told::BranchPushed, &push(&new, &topic)).await;
    let held = listed().await;
    assert_eq!(held.len(), 1);
    // Its own forge is meant.
    assert_eq!(
        (&held[0]["repo"], &held[0]["upstream"]),
        (&"github/acme/app".into(), &"github/acme/pogo".into())
    );
}

async fn a_pull_request_that_is_to_go_elsewhere_is_built_again(database: Database) {
    for kind in forges(database) {
        let world = World::of(database, kind, SMALL, |_| {}).await;
        let scene = Scene { after: world.commit_on("topic", "x"), ..Scene::default() };
        assert_eq!(words(&world.tell(Told::PullRequestOpened, &scene).await), "built: build 1", "{kind}");
        let moved = Scene { target: "stable".into(), ..scene };
        assert_eq!(words(&world.tell(Told::PullRequestRetargeted, &moved).await), "built: build 2", "{kind}");
    }
}

async fn one_push_of_several_branches_makes_a_build_of_each(database: Database) {
    let world = World::of(database, ForgeKind::Bitbucket, SMALL, |_| {}).await;
    let scene = |name: &str, after: String| Scene { name: name.into(), after, ..Scene::default() };
    let one = world.webhook(Told::BranchCreated, &scene("one", world.commit_on("one", "1")));
    let two = world.webhook(Told::BranchCreated, &scene("two", world.commit_on("two", "2 [skip ci]")));
    let tag = world.webhook(Told::TagCreated, &scene("v1", world.head()));
    let mut body: Value = serde_json::from_slice(&one.body).unwrap();
    for other in [&two, &tag] {
        let other: Value = serde_json::from_slice(&other.body).unwrap();
        body["push"]["changes"].as_array_mut().unwrap().push(other["push"]["changes"][0].clone());
    }
    let all = Webhook { body: body.to_string().into_bytes(), ..one };
    let (_, received) = world.send(&all).await;
    let said = world.settled(&received).await;
    let parts: Vec<String> = said["parts"].as_array().unwrap().iter().map(words).collect();
    let skipped = "skipped: the commit's message says not to build it";
    assert_eq!(parts, ["built: build 1", skipped, skipped]);
    assert_eq!(said["state"], "built");
    // Replayed, only what came to nothing is tried, and comes to nothing again.
    world.post(&format!("/api/v1/deliveries/{}/replay", said["id"])).await;
    assert_eq!(words(&world.settled(&received).await), words(&said));
    assert_eq!(world.builds().await.len(), 1);
}

/// A pull request of a repository that is gone is taken for a fork's; odd times and long texts harm nobody.
async fn what_a_forge_leaves_out_or_overdoes_is_taken_as_it_is(database: Database) {
    let world = World::new(database).await;
    for (number, time) in [(3, "1970-01-01T00:00:00Z"), (4, "2100-01-01T00:00:00Z")] {
        let after = world.commit_on("topic", &format!("change {number}"));
        let scene = Scene { after, number, source: None, ..Scene::default() };
        let webhook = world.webhook(Told::PullRequestOpened, &scene);
        let mut body: Value = serde_json::from_slice(&webhook.body).unwrap();
        assert!(body["pull_request"]["head"]["repo"].is_null());
        body["pull_request"]["updated_at"] = time.into();
        body["pull_request"]["title"] = format!("a\0b{}", "x".repeat(5 << 20)).into();
        let webhook = Webhook { body: body.to_string().into_bytes(), ..webhook };
        let (status, received) = world.send(&webhook).await;
        assert_eq!(status, reqwest::StatusCode::ACCEPTED, "{received}");
        let said = world.settled(&received).await;
        let build = world.get(&format!("/api/v1/builds/{}", said["parts"][0]["build"])).await;
        assert_eq!((&build["status"], &build["origin"]), (&"blocked".into(), &"fork".into()), "{said}");
    }
    let scene = Scene {
        name: "topic".into(),
        after: world.head(),
        message: format!("a\0b{}", "x".repeat(5 << 20)),
        ..Scene::default()
    };
    let said = world.tell(Told::BranchPushed, &scene).await;
    assert_eq!(said["state"], "built", "{said}");
}

/// Nobody can be asked here, so the stage runs.
async fn the_files_of_a_pull_request_are_asked_of_its_forge(database: Database) {
    let yml = "image: busybox\nstages:\n- {name: test, script: [a], when: 'changed(\"docs/**\")'}\n";
    let world = World::of(database, ForgeKind::Github, yml, |_| {}).await;
    let scene = Scene { after: world.commit_on("topic", "x"), ..Scene::default() };
    assert_eq!(words(&world.tell(Told::PullRequestOpened, &scene).await), "built: build 1");
    assert_eq!(world.get("/api/v1/builds/1").await["status"], "queued");
}
