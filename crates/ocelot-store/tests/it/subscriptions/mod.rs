//! Who is built after whom: what a file says takes its place in order, and a pass makes one build.

mod blocks;
mod circles;
mod order;
mod passes;

use std::time::Duration;

use ocelot_model::access::Role;
use ocelot_model::{BuildNumber, EventKind, Status, pipeline};
use ocelot_store::{Beside, BuildFilter, Due, FromFile, Hello, NewBuild, Pass, PassTurn, Plan, Repo, Store};

use crate::bed::{finished, hello, jobs, new_build};

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
