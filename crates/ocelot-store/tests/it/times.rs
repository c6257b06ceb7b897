//! Polls and schedules: each comes round once, however many servers there are.

use std::time::Duration;

use ocelot_model::cron::Cron;
use ocelot_model::pipeline;
use ocelot_store::{Beside, BuildFilter, Due, FromFile, Heads, NewBuild, NewTimes, Repo, Store, StoreError};
use sqlx::Connection as _;

use crate::bed::{Bed, new_build};

both!(
    a_schedule_comes_round_once,
    what_a_dead_server_had_comes_round_again,
    the_file_says_which_schedules_there_are,
    a_poll_knows_where_branches_are,
    they_go_with_their_repository,
);

const LONG: Duration = Duration::from_mins(10);

/// Everything of this table has come round.
async fn hurry(bed: &Bed, table: &'static str) {
    let sql = sqlx::AssertSqlSafe(format!("UPDATE {table} SET next_at = 1"));
    if bed.is_shared() {
        let mut conn = sqlx::PgConnection::connect(&bed.options.database_url).await.unwrap();
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    } else {
        let mut conn = sqlx::SqliteConnection::connect(&bed.options.database_url).await.unwrap();
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }
}

async fn daily(bed: &Bed, repo: &Repo, branch: Option<&str>) -> i64 {
    let cron = Cron::new("@daily", "").unwrap();
    let new = NewTimes { repo: repo.id, cron: &cron, by: "ann" };
    bed.store.add_schedule(&new, branch).await.unwrap().id
}

async fn builds(store: &Store) -> usize {
    store.list_builds(&BuildFilter::default(), 100).await.unwrap().len()
}

async fn a_schedule_comes_round_once(bed: Bed) {
    let repo = bed.repo("git/app").await;
    let id = daily(&bed, &repo, Some("dev")).await;
    assert!(bed.store.take_schedule(LONG).await.unwrap().is_none(), "it has not come round");
    hurry(&bed, "schedules").await;
    let other = bed.second().await;
    let asks = (0..10).map(|n| {
        let store = if n % 2 == 0 { bed.store.clone() } else { other.clone() };
        tokio::spawn(async move { store.take_schedule(LONG).await.unwrap() })
    });
    let mut taken = Vec::new();
    for ask in asks.collect::<Vec<_>>() {
        taken.extend(ask.await.unwrap());
    }
    assert_eq!(taken.len(), 1);
    let (schedule, turn) = taken.remove(0);
    assert_eq!((schedule.id, schedule.branch.as_deref()), (id, Some("dev")));
    let new = NewBuild { due: Some(Due::Schedule(turn)), ..new_build(&repo, "a") };
    let made = bed.store.create_build(&new).await.unwrap().build.number;
    // A server that was slow comes too late, and makes nothing.
    assert!(matches!(bed.store.create_build(&new).await, Err(StoreError::Stale)));
    assert!(matches!(bed.store.settle_schedule(turn, "late", true).await, Err(StoreError::Stale)));
    assert_eq!(builds(&bed.store).await, 1);
    let after = bed.store.load_schedule(id).await.unwrap();
    assert_eq!(after.outcome, Some(format!("build {made}")));
    assert!(after.last_at.is_some() && after.next_at > after.last_at.unwrap());
    assert!(bed.store.take_schedule(LONG).await.unwrap().is_none());
}

async fn what_a_dead_server_had_comes_round_again(bed: Bed) {
    let repo = bed.repo("git/app").await;
    daily(&bed, &repo, None).await;
    hurry(&bed, "schedules").await;
    let (_, dead) = bed.store.take_schedule(Duration::ZERO).await.unwrap().unwrap();
    let (_, turn) = bed.store.take_schedule(LONG).await.unwrap().unwrap();
    let late = NewBuild { due: Some(Due::Schedule(dead)), ..new_build(&repo, "a") };
    assert!(matches!(bed.store.create_build(&late).await, Err(StoreError::Stale)));
    // Not over: it is tried again when the turn ends.
    bed.store.settle_schedule(turn, "the host is away", false).await.unwrap();
    assert_eq!(bed.store.list_schedules().await.unwrap()[0].outcome.as_deref(), Some("the host is away"));
    bed.store.settle_schedule(turn, "no such branch", true).await.unwrap();
    assert!(bed.store.take_schedule(LONG).await.unwrap().is_none());
    assert_eq!(builds(&bed.store).await, 0);
}

async fn the_file_says_which_schedules_there_are(bed: Bed) {
    let repo = bed.repo("git/app").await;
    let own = daily(&bed, &repo, None).await;
    let file = async |wanted: &[(&str, Option<&str>)]| {
        let one = |(cron, branch): &(&str, Option<&str>)| pipeline::Schedule {
            cron: (*cron).to_owned(),
            time_zone: String::new(),
            branch: branch.map(str::to_owned),
        };
        let says = FromFile { schedules: wanted.iter().map(one).collect(), ..FromFile::default() };
        let beside = Beside { seen: bed.store.beside(repo.id).await.unwrap(), file: Some(says) };
        NewBuild { beside: Some(beside), ..new_build(&repo, "a") }
    };
    let crons = async || {
        let all = bed.store.list_schedules().await.unwrap();
        all.into_iter().map(|one| (one.id, one.from_file, one.cron)).collect::<Vec<_>>()
    };
    bed.store.create_build(&file(&[("@daily", None), ("0 3 * * *", Some("dev"))]).await).await.unwrap();
    let first = crons().await;
    assert_eq!(first.len(), 3, "{first:?}");
    bed.store.create_build(&file(&[("0 3 * * *", Some("dev")), ("0 4 * * *", None)]).await).await.unwrap();
    let second = crons().await;
    assert!(second.contains(&first[2]) && !second.contains(&first[1]) && second.len() == 3, "{second:?}");
    let in_file = bed.store.remove_schedule(first[2].0, "tests").await;
    assert!(matches!(in_file, Err(StoreError::Conflict(words)) if words.contains("ocelot.yml")));
    // A build that does not say does not change them.
    bed.store.create_build(&new_build(&repo, "a")).await.unwrap();
    assert_eq!(crons().await, second);
    bed.store.create_build(&file(&[]).await).await.unwrap();
    assert_eq!(crons().await, [(own, false, "@daily".to_owned())]);
    bed.store.remove_schedule(own, "tests").await.unwrap();
    assert!(matches!(bed.store.remove_schedule(own, "tests").await, Err(StoreError::NotFound(_))));
}

async fn a_poll_knows_where_branches_are(bed: Bed) {
    let repo = bed.repo("git/app").await;
    let cron = Cron::new("@hourly", "").unwrap();
    let new = NewTimes { repo: repo.id, cron: &cron, by: "ann" };
    bed.store.add_poll(&new, &["main".to_owned()]).await.unwrap();
    assert!(matches!(bed.store.add_poll(&new, &[]).await, Err(StoreError::Conflict(_))));
    // The first look is at once.
    let (poll, turn) = bed.store.take_poll(LONG).await.unwrap().unwrap();
    assert_eq!((poll.heads, poll.branches), (None, vec!["main".to_owned()]));
    assert!(bed.store.take_poll(LONG).await.unwrap().is_none());
    let build = |before: Option<&str>, commit: &str| NewBuild {
        due: Some(Due::Poll { turn, before: before.map(str::to_owned) }),
        commit: commit.repeat(40),
        ..new_build(&repo, "a")
    };
    bed.store.create_build(&build(None, "1")).await.unwrap();
    // Twice the same is once.
    assert!(matches!(bed.store.create_build(&build(None, "1")).await, Err(StoreError::Stale)));
    bed.store.create_build(&build(Some(&"1".repeat(40)), "2")).await.unwrap();
    let heads: Heads = [("main".to_owned(), "2".repeat(40))].into();
    bed.store.finish_poll(turn, Some(&heads), "builds 1, 2").await.unwrap();
    assert!(matches!(
        bed.store.create_build(&build(Some(&"2".repeat(40)), "3")).await,
        Err(StoreError::Stale)
    ));
    assert_eq!(builds(&bed.store).await, 2);
    hurry(&bed, "polls").await;
    let (poll, _) = bed.store.take_poll(LONG).await.unwrap().unwrap();
    assert_eq!((poll.heads, poll.outcome.as_deref()), (Some(heads), Some("builds 1, 2")));
}

async fn they_go_with_their_repository(bed: Bed) {
    let repo = bed.repo("git/app").await;
    daily(&bed, &repo, None).await;
    let cron = Cron::new("@hourly", "").unwrap();
    bed.store.add_poll(&NewTimes { repo: repo.id, cron: &cron, by: "ann" }, &[]).await.unwrap();
    bed.store.remove_repo(repo.id, "tests").await.unwrap();
    assert!(bed.store.list_schedules().await.unwrap().is_empty());
    assert!(bed.store.list_polls().await.unwrap().is_empty());
    assert!(bed.store.take_poll(LONG).await.unwrap().is_none());
}
