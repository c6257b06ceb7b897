//! Nothing goes back to an older commit.

use std::time::Duration;

use ocelot_model::{EventKind, Status};
use ocelot_store::{Joined, NewBuild, Plan};

use super::{LONG, count, end, file, follower, make, passes};
use crate::bed::{Bed, jobs, new_build};

both!(a_build_that_waits_follows_the_newest, nothing_goes_back_to_an_older_commit);

async fn a_build_that_waits_follows_the_newest(bed: Bed) {
    let store = &bed.store;
    let (app, pogo) = (bed.repo("git/app").await, bed.repo("git/pogo").await);
    file(store, &app, &["pogo=pogo main:main", "lib=lib main:main"]).await;
    passes(store, &pogo).await;
    let (pass, turn) = store.take_pass(LONG).await.unwrap().unwrap();
    let commit = new_build(&app, "a").commit;
    assert_eq!(store.join_pass(turn, "main", &commit).await.unwrap(), Joined::Outdated(vec![]));
    let waits = NewBuild { plan: Plan::Jobs(jobs("x@tag=nobody")), ..follower(&pass, turn) };
    let waiting = make(store, &waits).await;
    let newest = passes(store, &pogo).await;
    let (_, turn) = store.take_pass(LONG).await.unwrap().unwrap();
    // Of another commit: it is not what is to be built now.
    assert_eq!(store.join_pass(turn, "main", "other").await.unwrap(), Joined::Outdated(vec![waiting]));
    assert_eq!(store.join_pass(turn, "main", &commit).await.unwrap(), Joined::Taken(waiting));
    assert_eq!(store.upstreams_of(&[waiting]).await.unwrap()[&waiting].build, newest);
    assert!(store.take_pass(LONG).await.unwrap().is_none());
    assert_eq!(count(store, EventKind::Subscription).await, 1);
    // One that has begun is what it was.
    let worker = bed.worker("somebody", "tag=nobody").await;
    assert_eq!(bed.claim(worker).await.unwrap().build.number, waiting);
    passes(store, &pogo).await;
    let (_, turn) = store.take_pass(LONG).await.unwrap().unwrap();
    assert_eq!(store.join_pass(turn, "main", &commit).await.unwrap(), Joined::Outdated(vec![]));
    assert_eq!(store.upstreams_of(&[waiting]).await.unwrap()[&waiting].build, newest);
}

/// Builds of a repository pass one after the other, and another one follows it. `builds` has a word for each, as it was
/// made: its commit, and `!` before one that a person asked for, `~` before one done again. `passes` says which of them
/// pass in which order, by their place, and which one is followed then: by a build that waits, and while none was made yet.
async fn check_order(bed: &Bed, builds: &str, passes: &[(usize, usize)]) {
    let store = &bed.store;
    for waits in [true, false] {
        let round = store.list_repos().await.unwrap().len();
        let (app, pogo) =
            (bed.repo(&format!("git/app{round}")).await, bed.repo(&format!("git/pogo{round}")).await);
        file(store, &app, &[&format!("pogo=pogo{round} main:main")]).await;
        let mut numbers = Vec::new();
        for (at, word) in builds.split_whitespace().enumerate() {
            let (event, name) = match (word.strip_prefix('!'), word.strip_prefix('~')) {
                (Some(name), _) => (EventKind::Manual, name),
                (None, Some(name)) => (EventKind::Retry, name),
                (None, None) => (EventKind::Push, word),
            };
            let plan = Plan::Jobs(jobs(&format!("a@tag=n{round}-{at}")));
            let new = NewBuild { event, commit: name.repeat(40), plan, ..new_build(&pogo, "a") };
            numbers.push(make(store, &new).await);
        }
        let mut waiting = None;
        for &(at, want) in passes {
            end(store, numbers[at], Status::Passed).await;
            let (pass, turn) = store.take_pass(Duration::ZERO).await.unwrap().expect("something is owed");
            let follows = match waiting {
                _ if !waits => pass.upstream,
                Some(number) => {
                    let commit = new_build(&app, "a").commit;
                    assert_eq!(store.join_pass(turn, "main", &commit).await.unwrap(), Joined::Taken(number));
                    store.upstreams_of(&[number]).await.unwrap()[&number].build
                }
                None => {
                    let plan = Plan::Jobs(jobs("x@tag=nobody"));
                    let number = make(store, &NewBuild { plan, ..follower(&pass, turn) }).await;
                    waiting = Some(number);
                    store.upstreams_of(&[number]).await.unwrap()[&number].build
                }
            };
            let place = numbers.iter().position(|number| *number == follows).unwrap();
            assert_eq!(place, want, "{builds} in the order {passes:?}, after {at} (one waits: {waits})");
        }
        if let Some((_, turn)) = store.take_pass(LONG).await.unwrap() {
            store.settle_pass(turn, "seen", None).await.unwrap();
        }
    }
}

async fn nothing_goes_back_to_an_older_commit(bed: Bed) {
    // They come in any order.
    check_order(&bed, "a b c", &[(0, 0), (1, 1), (2, 2)]).await;
    check_order(&bed, "a b c", &[(1, 1), (2, 2), (0, 2)]).await;
    check_order(&bed, "a b c", &[(2, 2), (0, 2), (1, 2)]).await;
    // An old commit is done again, or asked for again: it stays old. Of the same one it is the newer build.
    check_order(&bed, "a b ~a", &[(0, 0), (1, 1), (2, 1)]).await;
    check_order(&bed, "a b !a", &[(1, 1), (2, 1)]).await;
    check_order(&bed, "!a !b !a !b", &[(0, 0), (2, 2), (1, 1), (3, 3)]).await;
    check_order(&bed, "a ~a", &[(1, 1), (0, 1)]).await;
    // The branch was set back: where it is now is the newest, and was so when the first build of it passed.
    check_order(&bed, "a b a", &[(0, 0), (1, 0), (2, 2)]).await;
    check_order(&bed, "a b a ~b", &[(2, 2), (1, 2), (3, 2)]).await;
    check_order(&bed, "a b a ~a", &[(2, 2), (3, 3), (1, 3)]).await;
    // Commits of other branches are no commits of this one.
    let store = &bed.store;
    let (app, pogo) = (bed.repo("git/app").await, bed.repo("git/pogo").await);
    file(store, &app, &["pogo=pogo main:main"]).await;
    let of = |name: &str| NewBuild { commit: name.repeat(40), ..new_build(&pogo, "a") };
    let first = make(store, &of("a")).await;
    end(store, first, Status::Passed).await;
    let second = make(store, &of("b")).await;
    end(store, second, Status::Passed).await;
    make(store, &NewBuild { branch: "dev".into(), plan: Plan::Jobs(jobs("x@tag=nobody")), ..of("a") }).await;
    let again = NewBuild { event: EventKind::Retry, retry_of: Some(first), ..of("a") };
    let again = make(store, &again).await;
    end(store, again, Status::Passed).await;
    assert_eq!(store.take_pass(LONG).await.unwrap().unwrap().0.upstream, second);
}
