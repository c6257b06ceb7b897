//! Readers of events never see a number and later a smaller one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ocelot_store::Store;

use crate::bed::{Bed, cancel, new_build};

both!(events_become_visible_in_order);

async fn events_become_visible_in_order(bed: Bed) {
    let repo = bed.repo("git/app").await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(follow(bed.store.clone(), Arc::clone(&done)));
    let writers = (0..6).map(|_| {
        let (store, new) = (bed.store.clone(), new_build(&repo, "a b"));
        tokio::spawn(async move {
            for _ in 0..12 {
                let number = store.create_build(&new).await.unwrap().build.number;
                store.advance(number, cancel()).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let followed = reader.await.unwrap();
    let all = bed.store.events_after(0, None, 10_000).await.unwrap();
    let all: Vec<i64> = all.into_iter().map(|event| event.seq).collect();
    assert_eq!(followed, all);
    assert_eq!(all.last().copied(), Some(bed.store.last_event().await.unwrap()));
    let one = bed.store.events_after(0, Some(ocelot_model::BuildNumber(1)), 10_000).await.unwrap();
    assert!(one.len() > 3 && one.iter().all(|event| event.build.0 == 1));
}

/// Reads on from the last number, as every reader does.
async fn follow(store: Store, done: Arc<AtomicBool>) -> Vec<i64> {
    let mut seen = Vec::new();
    loop {
        let last = done.load(Ordering::SeqCst);
        let after = seen.last().copied().unwrap_or(0);
        let events = store.events_after(after, None, 50).await.unwrap();
        if events.is_empty() && last {
            return seen;
        }
        seen.extend(events.into_iter().map(|event| event.seq));
    }
}
