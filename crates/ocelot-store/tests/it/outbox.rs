//! What is owed to the world outside: the newest state of each thing, until it is sent.

use std::time::Duration;

use ocelot_model::{BuildNumber, ForgeKind, Status};
use ocelot_store::{ForgeAccess, ForgeChange, NewBuild, NewForge, Plan, Post, PostKind, Store};

use crate::bed::{Bed, LONG, finished, jobs, new_build};

both!(
    the_newest_status_is_owed_until_it_is_sent,
    what_is_being_sent_is_not_overtaken,
    a_newer_build_of_a_commit_has_the_word,
    jobs_have_statuses_of_their_own,
    what_is_skipped_says_nothing,
    what_is_refused_is_owed_again_and_given_up_in_the_end,
    nothing_is_owed_to_forges_that_nobody_may_speak_to,
    a_pull_request_has_one_comment,
    what_is_owed_outlives_a_server
);

async fn known(bed: &Bed) {
    let access = ForgeAccess { kind: "token".to_owned(), secret: "canary".into() };
    let forge = NewForge {
        name: "codes".to_owned(),
        kind: ForgeKind::Gitea,
        base_url: "https://git.example".to_owned(),
        insecure_http: false,
        ca: None,
        access: Some(access),
        hook_secret: None,
    };
    bed.store.add_forge(&forge, "tests").await.unwrap();
    bed.repo("codes/acme/app").await;
}

async fn build(bed: &Bed, jobs: &str) -> BuildNumber {
    let repo = bed.store.find_repo(&"codes/acme/app".parse().unwrap()).await.unwrap().unwrap();
    bed.store.create_build(&new_build(&repo, jobs)).await.unwrap().build.number
}

/// All that is due now.
async fn take(store: &Store) -> Vec<Post> {
    let mut posts = Vec::new();
    for (lane, _) in store.outbox_lanes().await.unwrap() {
        posts.extend(store.take_posts(&lane, 100, LONG).await.unwrap());
    }
    posts
}

fn texts(posts: &[Post]) -> Vec<String> {
    let mut texts: Vec<String> =
        posts.iter().map(|post| format!("{} {} #{}", post.context, post.status, post.build)).collect();
    texts.sort();
    texts
}

/// Sends all that is due; says what that was.
async fn send(store: &Store) -> Vec<String> {
    let posts = take(store).await;
    for post in &posts {
        store.post_sent(post).await.unwrap();
    }
    texts(&posts)
}

async fn the_newest_status_is_owed_until_it_is_sent(bed: Bed) {
    known(&bed).await;
    let worker = bed.worker("w1", "").await;
    let mut wakes = bed.store.wakes();
    let first = build(&bed, "a").await;
    let wake = async { while wakes.recv().await.unwrap() != ocelot_store::Wake::Outbox {} };
    tokio::time::timeout(LONG, wake).await.unwrap();
    assert_eq!(send(&bed.store).await, [format!("ocelot queued #{first}")]);
    assert_eq!(send(&bed.store).await, [""; 0]);
    let claimed = bed.claim(worker).await.unwrap();
    bed.store.advance(first, finished(&claimed, Status::Failed)).await.unwrap();
    // That it ran was never said, and is past.
    let posts = take(&bed.store).await;
    assert_eq!(texts(&posts), [format!("ocelot failed #{first}")]);
    assert_eq!(posts[0].repo.name.to_string(), "codes/acme/app");
    assert_eq!(posts[0].subject, "0123456789abcdef0123456789abcdef01234567");
    assert!(posts[0].duration_ms.is_some());
}

async fn what_is_being_sent_is_not_overtaken(bed: Bed) {
    known(&bed).await;
    let worker = bed.worker("w1", "").await;
    let number = build(&bed, "a").await;
    let on_its_way = take(&bed.store).await;
    let claimed = bed.claim(worker).await.unwrap();
    bed.store.advance(number, finished(&claimed, Status::Passed)).await.unwrap();
    assert_eq!(take(&bed.store).await.len(), 0, "the first one is still on its way");
    bed.store.post_sent(&on_its_way[0]).await.unwrap();
    assert_eq!(send(&bed.store).await, [format!("ocelot passed #{number}")]);
    // A server that died over it holds it up for a while only.
    let retry = build(&bed, "a").await;
    let (lane, _) = bed.store.outbox_lanes().await.unwrap().remove(0);
    assert_eq!(bed.store.take_posts(&lane, 1, Duration::ZERO).await.unwrap().len(), 1);
    assert_eq!(send(&bed.store).await, [format!("ocelot queued #{retry}")]);
}

async fn a_newer_build_of_a_commit_has_the_word(bed: Bed) {
    known(&bed).await;
    let worker = bed.worker("w1", "").await;
    let old = build(&bed, "a").await;
    let claimed = bed.claim(worker).await.unwrap();
    let new = build(&bed, "a").await;
    bed.store.advance(old, finished(&claimed, Status::Failed)).await.unwrap();
    assert_eq!(send(&bed.store).await, [format!("ocelot queued #{new}")]);
}

async fn jobs_have_statuses_of_their_own(bed: Bed) {
    known(&bed).await;
    let worker = bed.worker("w1", "").await;
    let number = build(&bed, "a b? c<a").await;
    let all = ["ocelot", "ocelot/a", "ocelot/b", "ocelot/c"].map(|name| format!("{name} queued #{number}"));
    assert_eq!(send(&bed.store).await, all);
    let claimed = bed.claim(worker).await.unwrap();
    let changed = ["ocelot", "ocelot/a"].map(|name| format!("{name} running #{number}"));
    assert_eq!(send(&bed.store).await, changed);
    bed.store.advance(number, finished(&claimed, Status::Passed)).await.unwrap();
    assert_eq!(send(&bed.store).await, [format!("ocelot/a passed #{number}")]);
    let claimed = bed.claim(worker).await.unwrap();
    assert_eq!(claimed.spec.name, "b");
    bed.store.advance(number, finished(&claimed, Status::Failed)).await.unwrap();
    assert_eq!(send(&bed.store).await, [format!("ocelot/b passed #{number}")], "its failure is allowed");
}

async fn what_is_skipped_says_nothing(bed: Bed) {
    known(&bed).await;
    let repo = bed.store.find_repo(&"codes/acme/app".parse().unwrap()).await.unwrap().unwrap();
    let with = |text: &str, skipped: &[&str]| {
        let mut all = jobs(text);
        all.iter_mut()
            .filter(|job| skipped.contains(&job.0.name.as_str()))
            .for_each(|job| job.1 = Status::Skipped);
        let mut new = new_build(&repo, "");
        new.plan = Plan::Jobs(all);
        new
    };
    bed.store.create_build(&with("a b", &["a", "b"])).await.unwrap();
    assert_eq!(send(&bed.store).await, [""; 0]);
    let number = bed.store.create_build(&with("a b", &["b"])).await.unwrap().build.number;
    let want = [("ocelot", "running"), ("ocelot/a", "queued"), ("ocelot/b", "skipped")];
    assert_eq!(send(&bed.store).await, want.map(|(name, status)| format!("{name} {status} #{number}")));
    let mut broken = new_build(&repo, "");
    broken.plan = Plan::Broken { reason: "ocelot.yml:1:1: no".to_owned(), problems: Vec::new() };
    let broken = bed.store.create_build(&broken).await.unwrap().build.number;
    let posts = take(&bed.store).await;
    assert_eq!(texts(&posts), [format!("ocelot error #{broken}")]);
    assert_eq!(posts[0].reason.as_deref(), Some("ocelot.yml:1:1: no"));
}

async fn what_is_refused_is_owed_again_and_given_up_in_the_end(bed: Bed) {
    known(&bed).await;
    let number = build(&bed, "a").await;
    let day = Duration::from_hours(24);
    let post = take(&bed.store).await.remove(0);
    assert!(!bed.store.post_failed(&post, "it is away", day, day).await.unwrap());
    let said = bed.store.undelivered(number).await.unwrap().remove(0);
    assert_eq!(
        (said.context.as_str(), said.error.as_str(), said.again_at.is_some()),
        ("ocelot", "it is away", true)
    );
    assert_eq!(take(&bed.store).await.len(), 0);
    let (_, wait) = bed.store.outbox_lanes().await.unwrap().remove(0);
    assert!(wait > Duration::from_hours(23), "{wait:?}");
    // Other credentials: at once.
    let forge = bed.store.find_forge("codes").await.unwrap().unwrap();
    let access = ForgeAccess { kind: "token".to_owned(), secret: "other".into() };
    bed.store
        .change_forge(forge.id, &ForgeChange { access: Some(access), ..Default::default() }, "tests")
        .await
        .unwrap();
    let post = take(&bed.store).await.remove(0);
    assert!(bed.store.post_failed(&post, "it is away", day, Duration::ZERO).await.unwrap());
    assert_eq!(bed.store.undelivered(number).await.unwrap()[0].again_at, None);
    assert_eq!(bed.store.outbox_lanes().await.unwrap(), []);
    // Something newer is owed all the same.
    let newer = build(&bed, "a").await;
    assert_eq!(send(&bed.store).await, [format!("ocelot queued #{newer}")]);
    assert_eq!(bed.store.undelivered(newer).await.unwrap(), []);
}

async fn nothing_is_owed_to_forges_that_nobody_may_speak_to(bed: Bed) {
    bed.build("a b").await;
    assert_eq!(bed.store.outbox_lanes().await.unwrap(), []);
}

async fn a_pull_request_has_one_comment(bed: Bed) {
    known(&bed).await;
    let worker = bed.worker("w1", "").await;
    let repo = bed.store.find_repo(&"codes/acme/app".parse().unwrap()).await.unwrap().unwrap();
    let comments = async || {
        let mut posts = take(&bed.store).await;
        for post in &posts {
            bed.store.post_sent(post).await.unwrap();
        }
        posts.retain(|post| post.kind == PostKind::Comment);
        posts
    };
    let new = NewBuild { pull_request: Some(7), ..new_build(&repo, "a") };
    let mut marks = Vec::new();
    for status in [Status::Failed, Status::Passed] {
        let number = bed.store.create_build(&new).await.unwrap().build.number;
        let claimed = bed.claim(worker).await.unwrap();
        assert!(comments().await.is_empty(), "nothing is said before the end");
        bed.store.advance(number, finished(&claimed, status)).await.unwrap();
        let said = comments().await;
        assert_eq!(said.len(), 1);
        assert_eq!((said[0].subject.as_str(), said[0].status, said[0].build), ("7", status, number));
        marks.push(said[0].mark.clone());
    }
    assert_eq!(marks[0], marks[1], "the second build changes the first one's comment");
}

async fn what_is_owed_outlives_a_server(bed: Bed) {
    known(&bed).await;
    let number = build(&bed, "a").await;
    bed.store.close().await;
    let store = bed.second().await;
    let posts = take(&store).await;
    assert_eq!(texts(&posts), [format!("ocelot queued #{number}")]);
    if bed.is_shared() {
        assert_eq!(take(&bed.second().await).await.len(), 0, "another server sends it already");
    }
}
