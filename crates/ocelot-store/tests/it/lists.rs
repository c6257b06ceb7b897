//! Which builds a list shows.

use ocelot_model::{EventKind, Status};
use ocelot_store::{BuildFilter, Store};

use crate::bed::{Bed, new_build};

both!(filters, cursor);

async fn check(store: &Store, what: &str, filter: BuildFilter, want: &[i64]) {
    let found = store.list_builds(&filter, 100).await.unwrap();
    let numbers: Vec<i64> = found.iter().map(|build| build.number.0).collect();
    assert_eq!(numbers, want, "{what}");
}

async fn filters(bed: Bed) {
    let store = &bed.store;
    let (app, lib) = (bed.repo("git/app").await, bed.repo("git/lib").await);
    let worker = bed.worker("w", "").await;
    let one = store.create_build(&new_build(&app, "a")).await.unwrap().build;
    bed.claim(worker).await.unwrap();
    let mut second = new_build(&app, "a");
    second.branch = "feature_100%".into();
    second.commit = "fedcba9876543210fedcba9876543210fedcba98".into();
    second.event = EventKind::Tag;
    let two = store.create_build(&second).await.unwrap().build;
    let three = store.create_build(&new_build(&lib, "a")).await.unwrap().build;
    let (n1, n2, n3) = (one.number.0, two.number.0, three.number.0);
    let all = BuildFilter::default;
    check(store, "all", all(), &[n3, n2, n1]).await;
    check(store, "repo", BuildFilter { repo: Some(lib.id), ..all() }, &[n3]).await;
    check(store, "readable", BuildFilter { readable: Some(vec![app.id]), ..all() }, &[n2, n1]).await;
    check(store, "nothing readable", BuildFilter { readable: Some(vec![]), ..all() }, &[]).await;
    check(store, "branch", BuildFilter { branch: Some("main".into()), ..all() }, &[n3, n1]).await;
    check(store, "commit", BuildFilter { commit: Some("FEDCBA9".into()), ..all() }, &[n2]).await;
    check(store, "whole commit", BuildFilter { commit: Some(one.commit.clone()), ..all() }, &[n3, n1]).await;
    check(store, "status", BuildFilter { status: Some(Status::Running), ..all() }, &[n1]).await;
    check(store, "event", BuildFilter { event: Some(EventKind::Tag), ..all() }, &[n2]).await;
    check(store, "worker", BuildFilter { worker: Some("w".into()), ..all() }, &[n1]).await;
    check(store, "no worker", BuildFilter { worker: Some("x".into()), ..all() }, &[]).await;
    check(store, "since", BuildFilter { since: Some(three.queued_at), ..all() }, &[n3]).await;
    check(store, "until", BuildFilter { until: Some(two.queued_at), ..all() }, &[n1]).await;
    check(store, "text", BuildFilter { text: Some("say HELLO".into()), ..all() }, &[n3, n2, n1]).await;
    check(store, "text is no pattern", BuildFilter { text: Some("_100%".into()), ..all() }, &[n2]).await;
    check(store, "percent", BuildFilter { text: Some("%%".into()), ..all() }, &[]).await;
    let several = BuildFilter { repo: Some(app.id), status: Some(Status::Queued), ..all() };
    check(store, "several", several, &[n2]).await;
}

async fn cursor(bed: Bed) {
    for _ in 0..7 {
        bed.build("a").await;
    }
    let mut filter = BuildFilter::default();
    let mut seen = Vec::new();
    loop {
        let page = bed.store.list_builds(&filter, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        filter.before = Some(last.number);
        seen.extend(page.iter().map(|build| build.number));
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by(|one, next| one > next));
}
