//! What is known to be at forges, and what was told of.

use std::time::Duration;

use jiff::Timestamp;
use ocelot_model::DeliveryState;
use ocelot_model::delivery::{Part, PartKind};
use ocelot_store::{
    DeliveryFilter, Heads, Known, NewDelivery, PartId, Pull, RECONCILE, Repo, StoreError, Subject, Turn,
};

use crate::bed::{Bed, new_build};

both!(
    one_server_looks,
    what_was_built_or_told_is_known,
    it_begins_with_a_webhook_and_ends_with_it,
    a_look_that_is_over_tells_nothing
);

const LONG: Duration = Duration::from_mins(10);

/// A repository whose forge has a webhook.
async fn watched(bed: &Bed) -> Repo {
    let repo = bed.repo("git/app").await;
    let hook = bed.store.make_hook(repo.id).await.unwrap();
    assert!(bed.store.take_look(LONG).await.unwrap().is_none(), "it is not at the forge yet");
    bed.store.name_hook(&hook.id, "7", "tests").await.unwrap();
    repo
}

async fn one_server_looks(bed: Bed) {
    let repo = watched(&bed).await;
    let other = bed.second().await;
    let asks = (0..10).map(|n| {
        let store = if n % 2 == 0 { bed.store.clone() } else { other.clone() };
        tokio::spawn(async move { store.take_look(LONG).await.unwrap() })
    });
    let mut taken = Vec::new();
    for ask in asks.collect::<Vec<_>>() {
        taken.extend(ask.await.unwrap());
    }
    assert_eq!(taken.len(), 1);
    let (found, known, turn) = taken.remove(0);
    assert_eq!((found.id, known), (repo.id, Known::default()));
    let heads: Heads = [("main".to_owned(), "a".repeat(40))].into();
    let pull = |target: Option<&str>| Pull { commit: "b".repeat(12), target: target.map(str::to_owned) };
    let pulls = [(3, pull(Some("main"))), (4, pull(None))].into();
    let at = bed.store.now().await.unwrap();
    let now = Known {
        heads: Some(heads),
        pulls: Some(pulls),
        pulls_at: Some(at),
        pulls_since: [(3, at), (9, at)].into(),
    };
    bed.store.finish_look(turn, &now, "nothing is missing", LONG).await.unwrap();
    assert!(other.take_look(LONG).await.unwrap().is_none(), "the next one is in ten minutes");
    // A server that starts looks at once, and what it could not see stays known.
    other.look_at_all().await.unwrap();
    let (_, known, again) = other.take_look(LONG).await.unwrap().unwrap();
    assert_eq!(known, now);
    other.finish_look(again, &Known::default(), "no answer", LONG).await.unwrap();
    let late = bed.store.finish_look(turn, &now, "", LONG).await;
    assert!(matches!(late, Err(StoreError::Stale)), "{late:?}");
    bed.store.look_at_all().await.unwrap();
    assert_eq!(bed.store.take_look(LONG).await.unwrap().unwrap().1, now);
    let last = bed.store.find_reconciled(repo.id).await.unwrap().unwrap();
    assert_eq!(last.outcome.as_deref(), Some("no answer"));
}

fn request(number: u64, target: &'static str, since: Option<Timestamp>) -> Subject<'static> {
    Subject::PullRequest { number, target, since }
}

async fn what_was_built_or_told_is_known(bed: Bed) {
    let repo = bed.repo("git/app").await;
    let built = bed.store.create_build(&new_build(&repo, "a")).await.unwrap().build;
    let told = |of: Subject<'static>, commit: &str| {
        let (store, commit) = (bed.store.clone(), commit.to_owned());
        async move { store.told_at(repo.id, of, &commit).await.unwrap().is_some() }
    };
    assert!(told(Subject::Branch("main"), &built.commit).await);
    assert!(!told(Subject::Branch("other"), &built.commit).await);
    assert!(!told(request(3, "main", None), &built.commit).await);

    let commit = "b".repeat(40);
    let part = |subject: &str, after: &str, target: Option<&str>| Part {
        kind: PartKind::PullRequest,
        subject: subject.to_owned(),
        before: None,
        after: Some(after.to_owned()),
        target: target.map(str::to_owned),
        also: String::new(),
    };
    let parts = Ok(vec![part("refs/heads/main", &commit, None), part("pull/3", &commit[..12], Some("main"))]);
    let new = NewDelivery {
        forge: repo.forge_id,
        repo: Some(repo.id),
        hook: Some("some"),
        remote_id: "one",
        event: "push",
        body: b"{}",
        told: &parts,
    };
    let (delivery, _) = bed.store.take_in(&new).await.unwrap();
    let (before, after) = (delivery.received_at, delivery.received_at + jiff::SignedDuration::from_micros(1));
    // Whatever becomes of it.
    for place in 0..2 {
        assert!(told(Subject::Branch("main"), &commit).await);
        assert!(told(request(3, "main", None), &commit).await, "of which the beginning was told");
        assert!(told(request(3, "main", Some(before)), &commit[..7]).await);
        assert!(!told(request(3, "main", Some(after)), &commit).await, "of what it was before");
        assert!(!told(request(3, "other", None), &commit).await, "it went elsewhere");
        assert!(!told(request(4, "main", None), &commit).await);
        let part = PartId { delivery: delivery.id, place };
        bed.store.settle_part(part, DeliveryState::Skipped, "a rule").await.unwrap();
    }
}

async fn it_begins_with_a_webhook_and_ends_with_it(bed: Bed) {
    let repo = watched(&bed).await;
    bed.store.remove_hook(repo.id, "tests").await.unwrap();
    assert!(bed.store.take_look(LONG).await.unwrap().is_none());
    // The forge sends for all of its repositories.
    let parts = Ok(Vec::new());
    let new = NewDelivery {
        forge: repo.forge_id,
        repo: Some(repo.id),
        hook: None,
        remote_id: "one",
        event: "push",
        body: b"{}",
        told: &parts,
    };
    bed.store.take_in(&new).await.unwrap();
    assert_eq!(bed.store.take_look(LONG).await.unwrap().unwrap().0.id, repo.id);
    bed.store.remove_repo(repo.id, "tests").await.unwrap();
    bed.store.look_at_all().await.unwrap();
    assert!(bed.store.take_look(LONG).await.unwrap().is_none());
}

async fn a_look_that_is_over_tells_nothing(bed: Bed) {
    let repo = watched(&bed).await;
    let tell = async |turn: Turn, remote_id: &'static str| {
        let new = NewDelivery {
            forge: repo.forge_id,
            repo: Some(repo.id),
            hook: Some(RECONCILE),
            remote_id,
            event: RECONCILE,
            body: b"{}",
            told: &Ok(Vec::new()),
        };
        bed.store.take_in_found(&new, turn).await
    };
    let (_, _, late) = bed.store.take_look(Duration::ZERO).await.unwrap().unwrap();
    let (_, _, turn) = bed.store.take_look(LONG).await.unwrap().unwrap();
    assert!(matches!(tell(late, "one").await, Err(StoreError::Stale)), "another server looks now");
    tell(turn, "two").await.unwrap();
    bed.store.remove_hook(repo.id, "tests").await.unwrap();
    assert!(matches!(tell(turn, "three").await, Err(StoreError::Stale)), "nobody watches it any more");
    let all = bed.store.list_deliveries(&DeliveryFilter::default(), 10).await.unwrap();
    assert_eq!(all.iter().map(|row| &row.remote_id[..]).collect::<Vec<_>>(), ["two"]);
}
