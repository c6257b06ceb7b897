//! Who goes round is refused, with the path, and a chain of builds has an end.

use ocelot_model::Status;
use ocelot_model::subscription::Refused;
use ocelot_store::{RenamedRepo, Repo, Store};

use super::{LONG, end, file, follower, listed, make, passes};
use crate::bed::{Bed, cancel};

both!(
    circles_are_refused_when_they_are_stored,
    what_was_refused_comes_into_force_by_itself,
    a_new_name_opens_a_circle,
    a_new_name_closes_no_circle,
    two_that_go_round_together_are_not_both_stored,
    a_chain_of_builds_has_an_end,
);

async fn circles_are_refused_when_they_are_stored(bed: Bed) {
    let store = &bed.store;
    let (a, b, c) = (bed.repo("git/a").await, bed.repo("git/b").await, bed.repo("git/c").await);
    file(store, &b, &["a=a main:main"]).await;
    file(store, &c, &["b=b main:main"]).await;
    // Only the one that goes round.
    file(store, &a, &["d=d main:main", "c=c main:main", "a=a main:main"]).await;
    let all = store.list_subscriptions().await.unwrap();
    let path = |names: &[&str]| Some(Refused::Cycle(names.iter().map(|name| (*name).to_owned()).collect()));
    let refused: Vec<_> =
        all.iter().filter(|one| one.repo.id == a.id).map(|one| one.refused.clone()).collect();
    assert_eq!(refused, [None, path(&["git/a", "git/b", "git/c", "git/a"]), path(&["git/a", "git/a"])]);
    // A refused one is not in force, so `d` may follow `c`, and what is refused fires nothing.
    passes(store, &c).await;
    assert!(store.take_pass(LONG).await.unwrap().is_none());
    file(store, &a, &[]).await;
    // Ten may follow one another.
    let mut last = "deep0".to_owned();
    bed.repo("git/deep0").await;
    for n in 1..=11 {
        let name = format!("deep{n}");
        let repo = bed.repo(&format!("git/{name}")).await;
        file(store, &repo, &[&format!("up={last} main:main")]).await;
        last = name;
    }
    let deep: Vec<String> = listed(store).await.into_iter().filter(|line| line.starts_with('!')).collect();
    assert_eq!(deep, ["!git/deep11: up=git/deep10 main:main"]);
}

async fn what_was_refused_comes_into_force_by_itself(bed: Bed) {
    let store = &bed.store;
    let (a, b, c) = (bed.repo("git/a").await, bed.repo("git/b").await, bed.repo("git/c").await);
    let lines = async || listed(store).await;
    file(store, &b, &["a=a main:main"]).await;
    file(store, &c, &["b=b main:main"]).await;
    let refused = file(store, &a, &["b=b main:main", "c=c main:main"]).await;
    assert_eq!(
        lines().await,
        [
            "!git/a: b=git/b main:main",
            "!git/a: c=git/c main:main",
            "git/b: a=git/a main:main",
            "git/c: b=git/b main:main"
        ]
    );
    // Another way round is the reason now; and what a build of the refusing repository says again changes nothing.
    file(store, &c, &["b=b main:main", "a=a main:main"]).await;
    let why = store.list_subscriptions().await.unwrap().into_iter().find(|one| one.alias == "c").unwrap();
    assert_eq!(why.refused, Some(Refused::Cycle(["git/a", "git/c", "git/a"].map(str::to_owned).to_vec())));
    assert_eq!(why.stored_by, refused);
    // Once one way is open, what it barred is in force, without a build of its own; the other one is not.
    file(store, &b, &["x=x main:main"]).await;
    assert_eq!(
        lines().await,
        [
            "git/a: b=git/b main:main",
            "!git/a: c=git/c main:main",
            "git/b: x=git/x main:main",
            "git/c: b=git/b main:main",
            "git/c: a=git/a main:main"
        ]
    );
    let all = store.list_subscriptions().await.unwrap();
    assert_eq!(all[0].outcome.as_deref(), Some("in force now: what stood in its way is gone"));
    passes(store, &b).await;
    let mut followers = Vec::new();
    while let Some((pass, turn)) = store.take_pass(LONG).await.unwrap() {
        followers.push(pass.repo.name.to_string());
        store.settle_pass(turn, "seen", None).await.unwrap();
    }
    followers.sort();
    assert_eq!(followers, ["git/a", "git/c"]);
    // It goes the same way when the block is emptied, and when the repository goes.
    file(store, &c, &[]).await;
    assert_eq!(lines().await[1], "git/a: c=git/c main:main");
    let d = bed.repo("git/d").await;
    for number in [file(store, &d, &["a=a main:main"]).await, file(store, &b, &["d=d main:main"]).await] {
        store.advance(number, cancel()).await.unwrap();
    }
    assert_eq!(lines().await[2], "!git/b: d=git/d main:main");
    store.remove_repo(d.id, "tests").await.unwrap();
    assert_eq!(lines().await[2], "git/b: d=git/d main:main");
}

async fn rename(store: &Store, repo: &Repo, name: &str) {
    let (name, clone_url) = (name.parse().unwrap(), repo.clone_url.clone());
    let to = RenamedRepo { name, clone_url, default_branch: "main".into() };
    store.rename_repo(repo.id, &to).await.unwrap();
}

async fn a_new_name_opens_a_circle(bed: Bed) {
    let store = &bed.store;
    let (a, b) = (bed.repo("git/a").await, bed.repo("git/b").await);
    for number in [file(store, &a, &["b=b main:main"]).await, file(store, &b, &["a=a main:main"]).await] {
        store.advance(number, cancel()).await.unwrap();
    }
    assert_eq!(listed(store).await, ["git/a: b=git/b main:main", "!git/b: a=git/a main:main"]);
    // What `a` follows is no repository any more, so nothing goes round.
    rename(store, &b, "git/new").await;
    assert_eq!(listed(store).await, ["git/a: b=git/b main:main", "git/new: a=git/a main:main"]);
    let upstream = passes(store, &a).await;
    let (pass, turn) = store.take_pass(LONG).await.unwrap().expect("what is in force fires");
    assert_eq!((pass.repo.id, pass.upstream), (b.id, upstream));
    store.settle_pass(turn, "seen", None).await.unwrap();
}

async fn a_new_name_closes_no_circle(bed: Bed) {
    let store = &bed.store;
    let (a, b) = (bed.repo("git/a").await, bed.repo("git/b").await);
    // `a` waits for one that is not here yet; `b`, which follows `a`, gets its name.
    let files = [
        file(store, &a, &["late=late main:main"]).await,
        file(store, &b, &["a=a main:main", "x=x main:main"]).await,
    ];
    for number in files {
        store.advance(number, cancel()).await.unwrap();
    }
    passes(store, &a).await;
    rename(store, &b, "git/late").await;
    assert_eq!(
        listed(store).await,
        ["git/a: late=git/late main:main", "!git/late: a=git/a main:main", "git/late: x=git/x main:main"]
    );
    let refused = store.list_subscriptions().await.unwrap().remove(1).refused;
    assert_eq!(refused, Some(Refused::Cycle(["git/late", "git/a", "git/late"].map(str::to_owned).to_vec())));
    // What was owed is not owed any more; what is in force goes on.
    assert!(store.take_pass(LONG).await.unwrap().is_none());
    passes(store, &b).await;
    let (pass, turn) = store.take_pass(LONG).await.unwrap().expect("`a` follows it");
    assert_eq!(pass.repo.id, a.id);
    store.settle_pass(turn, "seen", None).await.unwrap();
    // With its old name all is as it was.
    rename(store, &b, "git/b").await;
    assert!(listed(store).await.iter().all(|line| !line.starts_with('!')));
}

async fn two_that_go_round_together_are_not_both_stored(bed: Bed) {
    let (a, b) = (bed.repo("git/a").await, bed.repo("git/b").await);
    let other = bed.second().await;
    for _ in 0..5 {
        let (one, two) =
            tokio::join!(file(&bed.store, &a, &["b=b main:main"]), file(&other, &b, &["a=a main:main"]));
        assert_ne!(one, two);
        let lines = listed(&bed.store).await;
        assert_eq!(lines.iter().filter(|line| line.starts_with('!')).count(), 1, "{lines:?}");
        file(&bed.store, &a, &[]).await;
        file(&bed.store, &b, &[]).await;
    }
}

async fn a_chain_of_builds_has_an_end(bed: Bed) {
    let store = &bed.store;
    let (a, b) = (bed.repo("git/a").await, bed.repo("git/b").await);
    file(store, &b, &["a=a main:main"]).await;
    // What is refused when it is stored, and when a repository is renamed.
    file(store, &a, &["b=c main:main"]).await;
    bed.execute(
        "UPDATE active_subscriptions SET subscribed_to_acct_repo = 'b' WHERE subscribed_to_acct_repo = 'c'",
    )
    .await;
    passes(store, &a).await;
    let mut builds = 0;
    while let Some((pass, turn)) = store.take_pass(LONG).await.unwrap() {
        let made = make(store, &follower(&pass, turn)).await;
        end(store, made, Status::Passed).await;
        builds += 1;
        assert!(builds <= 10, "it goes on for ever");
    }
    assert_eq!(builds, 10);
    let all = store.list_subscriptions().await.unwrap();
    let said = all.iter().filter(|one| one.outcome.as_deref().is_some_and(|words| words.contains("chain")));
    assert_eq!(said.count(), 1);
}
