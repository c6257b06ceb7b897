//! Nothing is handed out while it is paused.

use std::time::{Duration, Instant};

use ocelot_store::Wake;

use crate::bed::Bed;

both!(nothing_is_claimed_while_it_is_paused, the_time_of_a_pause_is_no_waiting);

async fn nothing_is_claimed_while_it_is_paused(bed: Bed) {
    let store = &bed.store;
    let worker = bed.worker("w", "").await;
    bed.build("a b").await;
    let first = bed.claim(worker).await.unwrap();
    assert_eq!(store.paused().await.unwrap(), None);
    store.pause("bob", None).await.unwrap();
    let pause = store.pause("ann", Some("upgrade")).await.unwrap();
    assert_eq!(pause.to_string(), "paused by ann: upgrade");
    assert!(bed.claim(worker).await.is_none());
    // What runs keeps its right.
    store.accept(&first.lease).await.unwrap();
    store.check_lease(&first.lease).await.unwrap();
    // Another server, or this one after a restart.
    let other = bed.second().await;
    assert_eq!(other.paused().await.unwrap(), Some(pause));
    assert!(other.claim(worker).await.unwrap().is_none());
    let mut wakes = store.wakes();
    store.unpause("tests").await.unwrap();
    assert_eq!(wakes.recv().await.unwrap(), Wake::Queue);
    assert_eq!(other.paused().await.unwrap(), None);
    assert!(other.claim(worker).await.unwrap().is_some());
    store.unpause("tests").await.unwrap();
}

async fn the_time_of_a_pause_is_no_waiting(bed: Bed) {
    let store = &bed.store;
    bed.build("a").await;
    let begin = Instant::now();
    let pause = store.pause("ann", None).await.unwrap();
    let longest = store.longest_wait().await.unwrap();
    // However long this takes on a busy machine, the pause is the larger part.
    ocelot_testkit::wait_for("a second", async || (begin.elapsed() > Duration::from_secs(1)).then_some(()))
        .await;
    bed.build("b").await;
    assert_eq!(store.longest_wait().await.unwrap(), longest, "time stands still");
    let again = store.pause("ann", Some("still")).await.unwrap();
    assert_eq!(again.since, pause.since);
    let half = begin.elapsed() / 2;
    assert_eq!(store.overdue_jobs(half, 10).await.unwrap().len(), 1);
    store.unpause("tests").await.unwrap();
    assert_eq!(store.overdue_jobs(half, 10).await.unwrap(), []);
    assert_eq!(store.overdue_jobs(Duration::ZERO, 10).await.unwrap().len(), 2);
}
