//! A pass makes one build.

use std::time::Duration;

use ocelot_model::{EventKind, Origin, Status, Trust};
use ocelot_store::{NewBuild, StoreError};

use super::{LONG, count, end, file, follower, make, passes};
use crate::bed::{Bed, cancel, new_build};

both!(
    a_pass_makes_one_build,
    what_a_dead_server_had_comes_again,
    only_what_a_branch_holds_and_passed_is_followed,
    passes_that_wait_become_one_build,
    a_retry_follows_what_the_first_one_followed,
);

async fn a_pass_makes_one_build(bed: Bed) {
    let store = &bed.store;
    let (app, pogo) = (bed.repo("git/app").await, bed.repo("git/pogo").await);
    file(store, &app, &["pogo=pogo main:main dev:other"]).await;
    let on_dev = NewBuild { branch: "dev".into(), commit: "d".repeat(40), ..new_build(&pogo, "a") };
    let upstream = make(store, &on_dev).await;
    assert!(store.take_pass(LONG).await.unwrap().is_none(), "it has not passed yet");
    end(store, upstream, Status::Passed).await;
    let other = bed.second().await;
    let asks = (0..10).map(|n| {
        let store = if n % 2 == 0 { store.clone() } else { other.clone() };
        tokio::spawn(async move { store.take_pass(LONG).await.unwrap() })
    });
    let mut taken = Vec::new();
    for ask in asks.collect::<Vec<_>>() {
        taken.extend(ask.await.unwrap());
    }
    assert_eq!(taken.len(), 1);
    let (pass, turn) = taken.remove(0);
    assert_eq!((pass.repo.id, &*pass.alias, &*pass.branch), (app.id, "pogo", "other"));
    assert_eq!((pass.upstream, pass.tries), (upstream, 0));
    let new = follower(&pass, turn);
    let made = make(store, &new).await;
    assert!(matches!(store.create_build(&new).await, Err(StoreError::Stale)), "no second one");
    assert!(matches!(store.settle_pass(turn, "late", None).await, Err(StoreError::Stale)));
    assert!(matches!(store.join_pass(turn, "other", "x").await, Err(StoreError::Stale)));
    assert!(store.take_pass(LONG).await.unwrap().is_none());
    assert_eq!(count(store, EventKind::Subscription).await, 1);
    let follows = store.upstreams_of(&[made, upstream]).await.unwrap();
    assert_eq!(follows.len(), 1);
    let follows = &follows[&made];
    assert_eq!((follows.build, follows.repo, &*follows.alias), (upstream, pogo.id, "pogo"));
    assert_eq!((&*follows.branch, &*follows.commit), ("dev", &*"d".repeat(40)));
    let after = store.downstream_of(upstream).await.unwrap();
    assert_eq!(after.iter().map(|one| (one.build, one.repo.id)).collect::<Vec<_>>(), [(made, app.id)]);
    let all = store.list_subscriptions().await.unwrap();
    assert_eq!(all[0].outcome, Some(format!("build {made}")));
}

async fn what_a_dead_server_had_comes_again(bed: Bed) {
    let store = &bed.store;
    let (app, pogo) = (bed.repo("git/app").await, bed.repo("git/pogo").await);
    file(store, &app, &["pogo=pogo main:main"]).await;
    passes(store, &pogo).await;
    let (pass, dead) = store.take_pass(Duration::ZERO).await.unwrap().unwrap();
    let (again, turn) = store.take_pass(LONG).await.unwrap().unwrap();
    assert_eq!((again.upstream, again.tries), (pass.upstream, 1));
    assert!(matches!(store.create_build(&follower(&pass, dead)).await, Err(StoreError::Stale)));
    assert!(matches!(store.keep_pass(dead, Duration::ZERO).await, Err(StoreError::Stale)));
    assert!(store.take_pass(LONG).await.unwrap().is_none());
    // Who says that he is at it keeps it.
    store.keep_pass(turn, LONG).await.unwrap();
    assert!(store.take_pass(LONG).await.unwrap().is_none());
    // Not over: it is tried again later. Over: it is not.
    store.settle_pass(turn, "the host is away", Some(Duration::ZERO)).await.unwrap();
    let all = store.list_subscriptions().await.unwrap();
    assert_eq!(all[0].outcome.as_deref(), Some("the host is away"));
    let (_, turn) = store.take_pass(LONG).await.unwrap().unwrap();
    store.settle_pass(turn, "no such branch", None).await.unwrap();
    assert!(store.take_pass(LONG).await.unwrap().is_none());
    assert_eq!(count(store, EventKind::Subscription).await, 0);
}

async fn only_what_a_branch_holds_and_passed_is_followed(bed: Bed) {
    let store = &bed.store;
    let (app, pogo) = (bed.repo("git/app").await, bed.repo("git/pogo").await);
    file(store, &app, &["pogo=pogo main:main"]).await;
    let check = async |what: &str, new: NewBuild, status: Status, fires: bool| {
        let number = make(store, &new).await;
        if status == Status::Cancelled {
            store.advance(number, cancel()).await.unwrap();
        } else {
            end(store, number, status).await;
        }
        let owed = store.take_pass(LONG).await.unwrap();
        assert_eq!(owed.as_ref().map(|(pass, _)| pass.upstream), fires.then_some(number), "{what}");
        if let Some((_, turn)) = owed {
            store.settle_pass(turn, "seen", None).await.unwrap();
        }
        number
    };
    let plain = || new_build(&pogo, "a");
    check("a push", plain(), Status::Passed, true).await;
    for status in [Status::Failed, Status::Error, Status::TimedOut, Status::Cancelled] {
        check("one that did not pass", plain(), status, false).await;
    }
    let event = |event| NewBuild { event, ..plain() };
    for kind in [EventKind::Manual, EventKind::Schedule, EventKind::Poll, EventKind::Subscription] {
        check("whatever made it", event(kind), Status::Passed, true).await;
    }
    check("another branch", NewBuild { branch: "dev".into(), ..plain() }, Status::Passed, false).await;
    let trust = |origin| Trust { origin, ..Trust::own() };
    let request = NewBuild {
        pull_request: Some(3),
        trust: trust(Origin::PullRequest),
        ..event(EventKind::PullRequest)
    };
    let one = check("a pull request", request.clone(), Status::Passed, false).await;
    let again = NewBuild { retry_of: Some(one), pull_request: Some(3), ..event(EventKind::Retry) };
    check("a retry of one", again, Status::Passed, false).await;
    let fork = NewBuild { trust: trust(Origin::Fork), ..request };
    check("a fork", fork, Status::Passed, false).await;
    let queue = NewBuild { trust: Trust::own(), ..event(EventKind::PullRequest) };
    check("a merge queue", queue, Status::Passed, false).await;
    let foreign = NewBuild { trust: trust(Origin::Unreached), ..event(EventKind::Manual) };
    check("a commit that no branch reaches", foreign, Status::Passed, false).await;
    let tag = NewBuild { tag: Some("main".into()), ..event(EventKind::Tag) };
    check("a tag of that name", tag, Status::Passed, false).await;
    let pushed = NewBuild { pull_request: Some(3), ..plain() };
    check("a push of which there is a pull request", pushed, Status::Passed, true).await;
    let failed = check("a push that failed", plain(), Status::Failed, false).await;
    let again = NewBuild { retry_of: Some(failed), ..event(EventKind::Retry) };
    check("its retry", again, Status::Passed, true).await;
    let other = bed.repo("git/other").await;
    check("another repository", new_build(&other, "a"), Status::Passed, false).await;
}

async fn passes_that_wait_become_one_build(bed: Bed) {
    let store = &bed.store;
    let (app, pogo) = (bed.repo("git/app").await, bed.repo("git/pogo").await);
    file(store, &app, &["pogo=pogo main:main dev:main"]).await;
    let slow = make(store, &new_build(&pogo, "a@tag=slow")).await;
    passes(store, &pogo).await;
    let (first, turn) = store.take_pass(LONG).await.unwrap().unwrap();
    // While a server is at it, a newer one passes, and then an older one.
    let newest = passes(store, &pogo).await;
    end(store, slow, Status::Passed).await;
    assert!(slow < first.upstream && first.upstream < newest);
    assert!(store.take_pass(LONG).await.unwrap().is_none());
    let made = make(store, &follower(&first, turn)).await;
    assert_eq!(store.upstreams_of(&[made]).await.unwrap()[&made].build, newest);
    end(store, made, Status::Passed).await;
    // Another branch is another pass.
    for branch in ["dev", "main", "dev", "main", "none"] {
        let new = NewBuild { branch: branch.into(), ..new_build(&pogo, "a") };
        let number = make(store, &new).await;
        end(store, number, Status::Passed).await;
    }
    let mut taken = Vec::new();
    while let Some((pass, turn)) = store.take_pass(LONG).await.unwrap() {
        taken.push(pass.upstream);
        store.settle_pass(turn, "seen", None).await.unwrap();
    }
    assert_eq!(taken.len(), 2, "{taken:?}");
}

async fn a_retry_follows_what_the_first_one_followed(bed: Bed) {
    let store = &bed.store;
    let (app, pogo) = (bed.repo("git/app").await, bed.repo("git/pogo").await);
    file(store, &app, &["pogo=pogo main:main"]).await;
    let upstream = passes(store, &pogo).await;
    let (pass, turn) = store.take_pass(LONG).await.unwrap().unwrap();
    let made = make(store, &follower(&pass, turn)).await;
    end(store, made, Status::Failed).await;
    let again = NewBuild { event: EventKind::Retry, retry_of: Some(made), ..new_build(&app, "a") };
    let again = make(store, &again).await;
    let follows = store.upstreams_of(&[made, again]).await.unwrap();
    assert_eq!(follows[&again], follows[&made]);
    assert_eq!(store.downstream_of(upstream).await.unwrap().len(), 2);
}
