//! Who is built after whom: what a file says takes its place in order, and a pass makes one build.

use std::time::Duration;

use ocelot_model::access::Role;
use ocelot_model::subscription::Refused;
use ocelot_model::{BuildNumber, EventKind, Origin, Status, Trust, pipeline};
use ocelot_store::{
    Beside, BuildFilter, Due, FromFile, Hello, Joined, NewBuild, Pass, PassTurn, Plan, RenamedRepo, Repo,
    Store, StoreError,
};

use crate::bed::{Bed, cancel, finished, hello, jobs, new_build};

both!(
    a_block_is_stored_replaced_and_removed,
    an_older_file_takes_the_place_of_no_newer_one,
    circles_are_refused_when_they_are_stored,
    what_was_refused_comes_into_force_by_itself,
    a_new_name_opens_a_circle,
    a_new_name_closes_no_circle,
    two_that_go_round_together_are_not_both_stored,
    a_pass_makes_one_build,
    what_a_dead_server_had_comes_again,
    only_what_a_branch_holds_and_passed_is_followed,
    passes_that_wait_become_one_build,
    a_build_that_waits_follows_the_newest,
    nothing_goes_back_to_an_older_commit,
    a_retry_follows_what_the_first_one_followed,
    a_chain_of_builds_has_an_end,
    a_build_of_another_forge_is_followed,
    they_go_with_their_repository,
);

const LONG: Duration = Duration::from_mins(10);

/// `alias=upstream there:here …` as the file has it.
fn entry(text: &str) -> pipeline::Subscription {
    let mut words = text.split_whitespace();
    let (alias, acct_repo) = words.next().unwrap().split_once('=').unwrap();
    let pair = |pair: &str| {
        let (there, here) = pair.split_once(':').unwrap();
        (there.to_owned(), here.to_owned())
    };
    let (alias, acct_repo) = (alias.to_owned(), acct_repo.to_owned());
    pipeline::Subscription { acct_repo, forge: None, alias, branches: words.map(pair).collect() }
}

/// A build of the default branch whose file says so, as the newest one.
async fn file(store: &Store, repo: &Repo, entries: &[&str]) -> BuildNumber {
    let seen = store.beside(repo.id).await.unwrap();
    let subscriptions = entries.iter().map(|text| entry(text)).collect();
    let file = Some(FromFile { subscriptions, ..FromFile::default() });
    // Nobody runs it unless a test wants it.
    let plan = Plan::Jobs(jobs("a@tag=file"));
    let new = NewBuild { beside: Some(Beside { seen, file }), plan, ..new_build(repo, "a") };
    store.create_build(&new).await.unwrap().build.number
}

/// `repo: alias=upstream there:here`, with `!` before what is not in force.
async fn listed(store: &Store) -> Vec<String> {
    let all = store.list_subscriptions().await.unwrap();
    let line = |one: ocelot_store::Subscription| {
        let branches: Vec<String> =
            one.branches.iter().map(|(there, here)| format!("{there}:{here}")).collect();
        let mark = if one.refused.is_some() { "!" } else { "" };
        format!("{mark}{}: {}={} {}", one.repo.name, one.alias, one.upstream, branches.join(" "))
    };
    all.into_iter().map(line).collect()
}

/// The one build that waits for a worker with these labels ends so.
async fn end(store: &Store, number: BuildNumber, status: Status) {
    let detail = store.find_build_detail(number).await.unwrap().unwrap();
    let name = format!("w{number}");
    let token = store.create_token(&name, Role::Worker, &[], None, "tests").await.unwrap().0.id;
    let mut labels = detail.jobs[0].spec.labels.clone();
    labels.insert("executor".into(), "docker".into());
    let worker = store.worker_hello(&Hello { labels, ..hello(token, &name, "") }).await.unwrap();
    let claimed = store.claim(worker).await.unwrap().expect("it waits");
    assert_eq!(claimed.build.number, number);
    store.advance(number, finished(&claimed, status)).await.unwrap();
}

async fn make(store: &Store, new: &NewBuild) -> BuildNumber {
    store.create_build(new).await.unwrap().build.number
}

async fn passes(store: &Store, repo: &Repo) -> BuildNumber {
    let number = make(store, &new_build(repo, "a")).await;
    end(store, number, Status::Passed).await;
    number
}

/// The build that follows.
fn follower(pass: &Pass, turn: PassTurn) -> NewBuild {
    NewBuild {
        event: EventKind::Subscription,
        branch: pass.branch.clone(),
        due: Some(Due::Pass(turn)),
        ..new_build(&pass.repo, "a")
    }
}

async fn count(store: &Store, event: EventKind) -> usize {
    let filter = BuildFilter { event: Some(event), ..BuildFilter::default() };
    store.list_builds(&filter, 100).await.unwrap().len()
}

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
