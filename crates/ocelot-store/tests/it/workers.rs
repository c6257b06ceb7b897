//! Enrolment, workers with an identity of their own, draining, removal.

use std::time::Duration;

use jiff::Timestamp;
use ocelot_model::WorkerId;
use ocelot_store::{Hello, Identity, Standing, StoreError, Wake};

use crate::bed::{Bed, LONG, hello, pairs};

both!(
    an_enrolment_gives_identities,
    asking_again_uses_nothing_up,
    two_at_once_use_up_one_each,
    labels_of_the_enrolment_stand,
    a_removed_worker_stays_out,
    a_drained_worker_claims_nothing,
    a_lease_is_one_workers,
    what_is_old_is_forgotten,
    those_that_hold_nothing_are_noted_together,
    of_two_processes_the_first_has_the_place,
);

const OWN: &str = "ocw_one";

/// An enrolment token with so many uses.
async fn token(bed: &Bed, labels: &str, uses: Option<u32>) -> String {
    bed.store.create_enrolment(&pairs(labels), uses, None, "ann").await.unwrap().1
}

async fn an_enrolment_gives_identities(bed: Bed) {
    let (made, secret) = bed.store.create_enrolment(&pairs("a=b"), Some(2), Some(LONG), "ann").await.unwrap();
    assert_eq!((made.uses, made.used, made.created_by.as_str()), (Some(2), 0, "ann"));
    assert!(secret.starts_with("oce_"), "{secret}");
    assert!(bed.store.may_enrol(&secret).await.unwrap());
    assert_eq!(bed.store.enrol(&secret, "ocw_1", "w").await.unwrap(), "w");
    assert_eq!(bed.store.enrol(&secret, "ocw_2", "w").await.unwrap(), "w-2");
    assert!(matches!(bed.store.enrol(&secret, "ocw_3", "w").await, Err(StoreError::NotFound(_))));
    assert!(!bed.store.may_enrol(&secret).await.unwrap());
    assert_eq!(bed.store.list_enrolments().await.unwrap()[0].used, 2);
    let [one, two] = ["ocw_1", "ocw_2"].map(|own| bed.store.find_worker(own));
    assert_ne!(one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
    // A name that a worker with a plain token has is taken, too.
    bed.worker("plain", "").await;
    let any = token(&bed, "", None).await;
    assert_eq!(bed.store.enrol(&any, "ocw_4", "plain").await.unwrap(), "plain-2");
    let (_, late) = bed.store.create_enrolment(&pairs(""), None, Some(Duration::ZERO), "ann").await.unwrap();
    assert!(matches!(bed.store.enrol(&late, "ocw_5", "w").await, Err(StoreError::NotFound(_))));
    // Who has enrolled stays when the token goes.
    bed.store.revoke_enrolment(made.id, "tests").await.unwrap();
    assert!(matches!(bed.store.revoke_enrolment(made.id, "tests").await, Err(StoreError::NotFound(_))));
    assert!(bed.store.find_worker("ocw_1").await.unwrap().is_some());
}

async fn asking_again_uses_nothing_up(bed: Bed) {
    let once = token(&bed, "", Some(1)).await;
    for _ in 0..3 {
        assert_eq!(bed.store.enrol(&once, OWN, "w").await.unwrap(), "w");
    }
    assert_eq!(bed.store.list_enrolments().await.unwrap()[0].used, 1);
}

async fn two_at_once_use_up_one_each(bed: Bed) {
    let three = token(&bed, "", Some(3)).await;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..6 {
        let (store, token) = (bed.store.clone(), three.clone());
        asking.spawn(async move { store.enrol(&token, &format!("ocw_{n}"), "w").await });
    }
    let mut names: Vec<String> = asking.join_all().await.into_iter().filter_map(Result::ok).collect();
    names.sort_unstable();
    assert_eq!(names, ["w", "w-2", "w-3"]);
}

async fn labels_of_the_enrolment_stand(bed: Bed) {
    let secret = token(&bed, "zone=dmz", None).await;
    bed.store.enrol(&secret, OWN, "w").await.unwrap();
    let id = bed.store.find_worker(OWN).await.unwrap().unwrap();
    let identity = Identity::Own(id);
    let said = |labels: &str| Hello {
        identity,
        labels: pairs(labels),
        ..hello(ocelot_model::TokenId(1), "other", "")
    };
    for labels in ["zone=inside os=linux", "os=linux"] {
        assert_eq!(bed.store.worker_hello(&said(labels)).await.unwrap(), id);
        let Standing::Good { name, labels, drained, .. } =
            bed.store.worker_standing(id, identity).await.unwrap()
        else {
            panic!("it may not work");
        };
        assert_eq!((name.as_str(), labels, drained), ("w", pairs("os=linux zone=dmz"), false));
    }
    let worker = bed.store.list_workers().await.unwrap().remove(0);
    assert!(worker.enrolled && worker.token.is_none() && worker.connected, "{worker:?}");
}

async fn a_removed_worker_stays_out(bed: Bed) {
    let secret = token(&bed, "", None).await;
    bed.store.enrol(&secret, OWN, "w").await.unwrap();
    let id = bed.store.find_worker(OWN).await.unwrap().unwrap();
    let identity = Identity::Own(id);
    let said = Hello { identity, ..hello(ocelot_model::TokenId(1), "w", "") };
    bed.store.worker_hello(&said).await.unwrap();
    bed.build("a").await;
    let claimed = bed.claim(id).await.unwrap();
    bed.store.bar_worker(id, "ann").await.unwrap();
    assert_eq!(bed.store.worker_standing(id, identity).await.unwrap(), Standing::Barred);
    assert!(bed.store.worker_hello(&said).await.is_err());
    let held = bed.store.held_by_worker(id).await.unwrap();
    assert_eq!(held.iter().map(|held| held.attempt_id).collect::<Vec<_>>(), [claimed.lease.attempt_id]);
    assert!(bed.store.withdraw_offer(&held[0]).await.unwrap());
    assert!(!bed.store.withdraw_offer(&held[0]).await.unwrap());
    assert!(bed.claim(id).await.is_none(), "a barred worker gets a job");
    let mut wakes = bed.store.wakes();
    bed.store.delete_worker(id).await.unwrap();
    assert_eq!(wakes.recv().await.unwrap(), Wake::Worker(id));
    assert_eq!(bed.store.worker_standing(id, identity).await.unwrap(), Standing::Removed);
    assert!(bed.store.list_workers().await.unwrap().is_empty());
    match bed.store.enrol(&secret, OWN, "w").await {
        Err(StoreError::Conflict(words)) => assert_eq!(words, "the worker w was removed by ann"),
        other => panic!("{other:?}"),
    }
    // Another one may have the name.
    assert_eq!(bed.store.enrol(&secret, "ocw_two", "w").await.unwrap(), "w");
}

async fn a_drained_worker_claims_nothing(bed: Bed) {
    let worker = bed.worker("w", "").await;
    bed.build("a").await;
    let mut wakes = bed.store.wakes();
    bed.store.drain_worker(worker, true, "ann").await.unwrap();
    assert_eq!(wakes.recv().await.unwrap(), Wake::Worker(worker));
    assert!(bed.claim(worker).await.is_none());
    // It is remembered by the database, not by a server or the worker.
    let token = bed.store.list_tokens().await.unwrap()[0].id;
    assert_eq!(bed.store.worker_hello(&hello(token, "w", "")).await.unwrap(), worker);
    assert!(bed.second().await.claim(worker).await.unwrap().is_none());
    assert_eq!(bed.store.list_workers().await.unwrap()[0].drained_by.as_deref(), Some("ann"));
    bed.store.drain_worker(worker, false, "ann").await.unwrap();
    // Its own word counts as well, until it says hello again.
    bed.store.worker_ends(worker).await.unwrap();
    assert!(bed.claim(worker).await.is_none());
    bed.store.worker_hello(&hello(token, "w", "")).await.unwrap();
    assert!(bed.claim(worker).await.is_some());
    let missing = bed.store.drain_worker(ocelot_model::WorkerId(4711), false, "ann").await;
    assert!(matches!(missing, Err(StoreError::NotFound(_))));
}

async fn a_lease_is_one_workers(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let token = bed.store.list_tokens().await.unwrap()[0].id;
    bed.build("a").await;
    let lease = bed.claim(worker).await.unwrap().lease;
    let other = bed.token("another").await;
    assert!(!bed.store.is_anothers(&lease, Identity::Token(token)).await.unwrap());
    assert!(bed.store.is_anothers(&lease, Identity::Token(other)).await.unwrap());
    assert!(
        bed.store.is_anothers(&lease, Identity::Own(ocelot_model::WorkerId(worker.0 + 1))).await.unwrap()
    );
    bed.store.give_back(&lease, Duration::ZERO).await.unwrap();
    // Nobody's lease is stale, not another's.
    assert!(!bed.store.is_anothers(&lease, Identity::Token(other)).await.unwrap());
}

async fn what_is_old_is_forgotten(bed: Bed) {
    let idle = bed.worker("idle", "").await;
    let busy = bed.worker("busy", "").await;
    bed.build("a").await;
    bed.claim(busy).await.unwrap();
    let (_, _) = bed.store.create_enrolment(&pairs(""), None, Some(Duration::ZERO), "ann").await.unwrap();
    token(&bed, "", None).await;
    let later = Timestamp::now() + Duration::from_hours(1);
    assert_eq!(bed.store.expire_workers(Timestamp::UNIX_EPOCH).await.unwrap(), 0);
    assert_eq!(bed.store.expire_workers(later).await.unwrap(), 1);
    let left: Vec<_> = bed.store.list_workers().await.unwrap().iter().map(|worker| worker.id).collect();
    assert_eq!(left, [busy], "{idle} was idle");
    assert_eq!(bed.store.list_enrolments().await.unwrap().len(), 1);
}

async fn those_that_hold_nothing_are_noted_together(bed: Bed) {
    let one = bed.worker("one", "").await;
    let two = bed.worker("two", "").await;
    let other = bed.worker("other", "").await;
    bed.store.worker_goodbye(two).await.unwrap();
    bed.store.drain_worker(two, true, "ann").await.unwrap();
    let before = bed.store.list_workers().await.unwrap();
    let stored = bed.store.workers_beat(&[one, two, WorkerId(999)]).await.unwrap();
    assert_eq!(stored, [(one, Some(false)), (two, Some(true)), (WorkerId(999), None)]);
    for (before, after) in before.iter().zip(bed.store.list_workers().await.unwrap()) {
        assert_eq!(after.last_seen_at > before.last_seen_at, after.id != other, "{}", after.name);
        assert!(after.connected, "{}", after.name);
    }
    // Neither a token that was revoked nor an identity that was taken away is good.
    let token =
        bed.store.list_tokens().await.unwrap().into_iter().find(|it| it.name == "token of one").unwrap();
    bed.store.revoke_token(token.id, "tests").await.unwrap();
    let any = self::token(&bed, "", None).await;
    bed.store.enrol(&any, OWN, "own").await.unwrap();
    let own = bed.store.find_worker(OWN).await.unwrap().unwrap();
    assert_eq!(bed.store.workers_beat(&[one, own]).await.unwrap(), [(one, None), (own, Some(false))]);
    bed.store.bar_worker(own, "ann").await.unwrap();
    assert_eq!(bed.store.workers_beat(&[own]).await.unwrap(), [(own, None)]);
}

async fn of_two_processes_the_first_has_the_place(bed: Bed) {
    let token = bed.token("t").await;
    let come = async |process: &str| {
        let said = Hello { process: process.into(), ..hello(token, "w", "") };
        bed.store.worker_hello(&said).await
    };
    let id = come("a").await.unwrap();
    let has_place = async |want: &str| {
        let standing = bed.store.worker_standing(id, Identity::Token(token)).await.unwrap();
        assert!(matches!(&standing, Standing::Good { process: Some(it), .. } if it == want), "{standing:?}");
    };
    let twin_at = async || bed.store.list_workers().await.unwrap()[0].twin_at;
    // A restart, as far as anybody can tell.
    come("b").await.unwrap();
    has_place("b").await;
    assert_eq!(twin_at().await, None);
    // But the first one is still there.
    come("a").await.unwrap();
    has_place("a").await;
    let error = come("b").await.unwrap_err().to_string();
    assert!(error.contains("another process is connected as worker w"), "{error}");
    assert!(twin_at().await.is_some());
    has_place("a").await;
    // Once it has gone, the other one may have it.
    bed.store.worker_goodbye(id).await.unwrap();
    come("b").await.unwrap();
    has_place("b").await;
}
