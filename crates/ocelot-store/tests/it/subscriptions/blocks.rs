//! What a file says takes its place, in order.

use ocelot_model::{EventKind, Status, pipeline};
use ocelot_store::{Beside, FromFile, NewBuild, Plan, StoreError};

use super::{LONG, count, end, entry, file, follower, listed, make, passes};
use crate::bed::{Bed, jobs, new_build};

both!(
    a_block_is_stored_replaced_and_removed,
    an_older_file_takes_the_place_of_no_newer_one,
    a_build_of_another_forge_is_followed,
    they_go_with_their_repository,
);

async fn a_block_is_stored_replaced_and_removed(bed: Bed) {
    let store = &bed.store;
    let app = bed.repo("git/app").await;
    let build = file(store, &app, &["pogo=pogo main:main dev:main", "lib=git/lib main:main"]).await;
    assert_eq!(
        listed(store).await,
        ["git/app: pogo=git/pogo dev:main main:main", "git/app: lib=git/lib main:main"]
    );
    let first = store.list_subscriptions().await.unwrap();
    assert_eq!((first[0].stored_by, first[0].outcome.as_deref()), (build, None));
    // What stays is the same one; another upstream under the same alias is another one.
    file(store, &app, &["pogo=pogo main:dev", "lib=lab main:main"]).await;
    assert_eq!(listed(store).await, ["git/app: pogo=git/pogo main:dev", "git/app: lib=git/lab main:main"]);
    let second = store.list_subscriptions().await.unwrap();
    assert_eq!(second[0].id, first[0].id);
    assert_ne!(second[1].id, first[1].id);
    // A build that says nothing changes nothing.
    make(store, &new_build(&app, "a")).await;
    assert_eq!(store.list_subscriptions().await.unwrap(), second);
    file(store, &app, &[]).await;
    assert_eq!(listed(store).await, [""; 0]);
}

async fn an_older_file_takes_the_place_of_no_newer_one(bed: Bed) {
    let store = &bed.store;
    let app = bed.repo("git/app").await;
    let new = |seen, entries: &[&str]| {
        let subscriptions: Vec<_> = entries.iter().map(|text| entry(text)).collect();
        let file = (!subscriptions.is_empty()).then_some(FromFile { subscriptions, ..FromFile::default() });
        NewBuild { beside: Some(Beside { seen, file }), ..new_build(&app, "a") }
    };
    let seen = store.beside(app.id).await.unwrap();
    assert!(seen.nothing);
    // Files that say nothing may come at the same time.
    for _ in 0..3 {
        make(store, &new(seen, &[])).await;
    }
    // One of them came since it was looked which commit is the newest.
    let late = store.create_build(&new(seen, &["old=old main:main"])).await;
    assert!(matches!(late, Err(StoreError::Overtaken)), "{late:?}");
    assert_eq!(listed(store).await, [""; 0]);
    assert_eq!(count(store, EventKind::Push).await, 3, "it made no build");
    let seen = store.beside(app.id).await.unwrap();
    make(store, &new(seen, &["new=new main:main"])).await;
    assert!(!store.beside(app.id).await.unwrap().nothing);
    for entries in [&["old=old main:main"][..], &[]] {
        let late = store.create_build(&new(seen, entries)).await;
        assert!(matches!(late, Err(StoreError::Overtaken)), "{entries:?} {late:?}");
    }
    assert_eq!(listed(store).await, ["git/app: new=git/new main:main"]);
}

async fn a_build_of_another_forge_is_followed(bed: Bed) {
    let store = &bed.store;
    let app = bed.repo("git/app").await;
    let forge = |name: &str| ocelot_store::NewForge {
        name: name.to_owned(),
        kind: ocelot_model::ForgeKind::Bitbucket,
        base_url: format!("https://{name}.example.org"),
        insecure_http: false,
        ca: None,
        access: None,
        hook_secret: None,
    };
    let wanted = |n: &str| pipeline::Subscription {
        forge: Some("bitbucket".into()),
        ..entry(&format!("up{n}=acme/pogo main:main"))
    };
    let store_it = async |n: &str| {
        let seen = store.beside(app.id).await.unwrap();
        let file = FromFile { subscriptions: vec![wanted(n)], ..FromFile::default() };
        let plan = Plan::Jobs(jobs("a@tag=file"));
        let new = NewBuild { beside: Some(Beside { seen, file: Some(file) }), plan, ..new_build(&app, "a") };
        make(store, &new).await;
        store.list_subscriptions().await.unwrap()[0].upstream.clone()
    };
    assert_eq!(store_it("1").await, "bitbucket/acme/pogo", "there is none yet");
    store.add_forge(&forge("bb"), "tests").await.unwrap();
    assert_eq!(store_it("2").await, "bb/acme/pogo", "there is one of the kind");
    // A build there is followed here; one of a repository of that name here is not.
    let (there, here) = (bed.repo("bb/acme/pogo").await, bed.repo("git/acme/pogo").await);
    passes(store, &here).await;
    assert!(store.take_pass(LONG).await.unwrap().is_none());
    let upstream = passes(store, &there).await;
    let (pass, turn) = store.take_pass(LONG).await.unwrap().unwrap();
    assert_eq!((pass.repo.id, pass.upstream, &*pass.alias), (app.id, upstream, "up2"));
    store.settle_pass(turn, "seen", None).await.unwrap();
    store.add_forge(&forge("cc"), "tests").await.unwrap();
    assert_eq!(store_it("3").await, "bitbucket/acme/pogo", "nobody knows which of two");
    store.add_forge(&forge("bitbucket"), "tests").await.unwrap();
    assert_eq!(store_it("4").await, "bitbucket/acme/pogo");
}

async fn they_go_with_their_repository(bed: Bed) {
    let store = &bed.store;
    let (app, pogo) = (bed.repo("git/app").await, bed.repo("git/pogo").await);
    let own = file(store, &app, &["pogo=pogo main:main"]).await;
    end(store, own, Status::Passed).await;
    passes(store, &pogo).await;
    let (pass, turn) = store.take_pass(LONG).await.unwrap().unwrap();
    let made = make(store, &follower(&pass, turn)).await;
    end(store, made, Status::Passed).await;
    passes(store, &pogo).await;
    // The upstream goes: what is owed of it is not owed any more, and the build that followed it stays.
    store.remove_repo(pogo.id, "tests").await.unwrap();
    assert!(store.take_pass(LONG).await.unwrap().is_none());
    assert_eq!(store.upstreams_of(&[made]).await.unwrap().len(), 1);
    assert_eq!(listed(store).await, ["git/app: pogo=git/pogo main:main"]);
    let pogo = bed.repo("git/pogo").await;
    passes(store, &pogo).await;
    store.remove_repo(app.id, "tests").await.unwrap();
    assert!(store.take_pass(LONG).await.unwrap().is_none());
    assert_eq!(listed(store).await, [""; 0]);
    assert!(store.upstreams_of(&[made]).await.unwrap().is_empty());
}
