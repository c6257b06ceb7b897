//! Old logs and builds go, in small parts.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ocelot_model::{BuildNumber, DeliveryState, Status};
use ocelot_store::{BuildFilter, Claimed, DeliveryFilter, NewBuild, NewDelivery};
use sqlx::Connection as _;

use crate::bed::{Bed, finished, new_build};

both!(
    old_webhooks_are_forgotten,
    old_logs_become_notes,
    the_last_builds_of_a_branch_stay,
    one_server_at_a_time
);

/// `days` ago.
fn ago(days: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(24 * days)
}

impl Bed {
    /// Makes a build end at another time than it did.
    async fn ended(&self, number: BuildNumber, at: Timestamp) {
        let update = "UPDATE builds SET finished_at = $1 WHERE number = $2";
        if self.is_shared() {
            let mut conn = sqlx::PgConnection::connect(&self.options.database_url).await.unwrap();
            sqlx::query(update).bind(at.as_microsecond()).bind(number.0).execute(&mut conn).await.unwrap();
        } else {
            let mut conn = sqlx::SqliteConnection::connect(&self.options.database_url).await.unwrap();
            sqlx::query(update).bind(at.as_microsecond()).bind(number.0).execute(&mut conn).await.unwrap();
        }
    }

    /// All builds, oldest first.
    async fn numbers(&self) -> Vec<i64> {
        let all = self.store.list_builds(&BuildFilter::default(), 100).await.unwrap();
        all.into_iter().rev().map(|build| build.number.0).collect()
    }

    async fn log_of(&self, job: &Claimed) -> String {
        let data = self.store.read_log(job.stages[0].0, 0, 100).await.unwrap().data;
        String::from_utf8(data).unwrap()
    }
}

async fn old_logs_become_notes(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let mut jobs = Vec::new();
    for days in [100, 95, 10] {
        let number = bed.build("a").await.build.number;
        let job = bed.claim(worker).await.unwrap();
        for at in 0..70 {
            bed.store.append_log(job.stages[0].0, at * 5, b"hello", &[]).await.unwrap();
        }
        bed.store.advance(number, finished(&job, Status::Passed)).await.unwrap();
        bed.ended(number, ago(days)).await;
        jobs.push(job);
    }
    // One that began long ago and still runs has no end that could be old.
    bed.build("a").await;
    let running = bed.claim(worker).await.unwrap();
    bed.store.append_log(running.stages[0].0, 0, b"runs", &[]).await.unwrap();
    let mut counts = Vec::new();
    for _ in 0..3 {
        counts.push(bed.store.expire_logs(ago(90), "[log removed after 90 days]", 1).await.unwrap());
    }
    assert_eq!(counts, [1, 1, 0]);
    for job in &jobs[..2] {
        assert_eq!(bed.log_of(job).await, "[log removed after 90 days]\n");
        assert_eq!(bed.log_rows(job.stages[0].0).await, 1);
        // A stage that wrote nothing has no note.
        assert_eq!(bed.store.log_state(job.stages[1].0).await.unwrap().bytes, 0);
    }
    assert!(bed.log_of(&jobs[2]).await.starts_with("hellohello"));
    assert_eq!(bed.log_of(&running).await, "runs");
    assert_eq!(bed.numbers().await.len(), 4);
}

async fn the_last_builds_of_a_branch_stay(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let repo = bed.repo("git/app").await;
    let other = bed.repo("git/other").await;
    let on = |repo, branch: &str| NewBuild { branch: branch.into(), ..new_build(repo, "a") };
    let builds =
        [&on(&repo, "main"), &on(&repo, "main"), &on(&repo, "old"), &on(&other, "main"), &on(&repo, "main")];
    for build in builds {
        bed.store.create_build(build).await.unwrap();
        let job = bed.claim(worker).await.unwrap();
        bed.store.append_log(job.stages[0].0, 0, b"hello", &[]).await.unwrap();
        bed.store.advance(job.build.number, finished(&job, Status::Failed)).await.unwrap();
        bed.ended(job.build.number, ago(800)).await;
    }
    bed.store.create_build(builds[0]).await.unwrap();
    let running = bed.claim(worker).await.unwrap();
    // What is not in the tallies yet stays until it is.
    assert_eq!(bed.store.expire_builds(ago(730), 0, None, 50).await.unwrap(), None);
    assert_eq!(bed.numbers().await.len(), 6);
    assert_eq!(bed.store.count_builds(50).await.unwrap(), 5);
    let before = bed.store.find_build_detail(BuildNumber(1)).await.unwrap().unwrap();
    let stage = before.jobs[0].attempts[0].stages[0].id;
    // Part by part: 2 of 5 are looked at each time.
    let mut after = None;
    let mut looks = 0;
    loop {
        after = bed.store.expire_builds(ago(730), 2, after, 2).await.unwrap();
        looks += 1;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((bed.numbers().await, looks), (vec![3, 4, 5, 6], 3));
    assert_eq!(bed.store.events_after(0, Some(BuildNumber(1)), 10).await.unwrap(), []);
    assert_eq!((bed.log_rows(stage).await, bed.store.log_state(stage).await.unwrap().bytes), (0, 0));
    assert!(!bed.store.events_after(0, Some(BuildNumber(5)), 10).await.unwrap().is_empty());
    // None is kept for its place alone; what runs and what is younger stays.
    assert_eq!(bed.store.expire_builds(ago(900), 0, None, 50).await.unwrap(), None);
    assert_eq!(bed.numbers().await.len(), 4);
    assert_eq!(bed.store.expire_builds(ago(730), 0, None, 50).await.unwrap(), None);
    assert_eq!(bed.numbers().await, [6]);
    assert_eq!(running.build.number, BuildNumber(6));
    // Numbers go on.
    assert_eq!(bed.build("a").await.build.number, BuildNumber(7));
}

async fn one_server_at_a_time(bed: Bed) {
    let other = bed.second().await;
    let long = Duration::from_mins(5);
    assert!(bed.store.begin_alone("x", long).await.unwrap());
    assert!(!other.begin_alone("x", long).await.unwrap());
    assert!(other.begin_alone("y", Duration::ZERO).await.unwrap());
    bed.store.end_alone("x").await.unwrap();
    assert!(other.begin_alone("x", long).await.unwrap());
    // One that died holds it no longer than it said.
    assert!(bed.store.begin_alone("y", long).await.unwrap());
}

#[tokio::test]
async fn the_space_of_old_logs_is_used_again() {
    let bed = Bed::sqlite().await;
    let worker = bed.worker("w", "").await;
    let mut sizes = Vec::new();
    for round in 0_u8..3 {
        let number = bed.build("a").await.build.number;
        let job = bed.claim(worker).await.unwrap();
        for at in 0..8_u64 {
            // Bytes that hardly compress.
            let mut state = u64::from(round) + at + 1;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            };
            let data: Vec<u8> = (0..100_000).map(|_| next()).collect();
            bed.store.append_log(job.stages[0].0, at * 100_000, &data, &[]).await.unwrap();
        }
        bed.store.advance(number, finished(&job, Status::Passed)).await.unwrap();
        bed.ended(number, ago(100)).await;
        assert_eq!(bed.store.expire_logs(ago(90), "gone", 10).await.unwrap(), 1);
        let url = format!("sqlite://{}/logs.db", bed.options.data.display());
        let mut conn = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut conn).await.unwrap();
        sizes.push(pages);
    }
    assert!(sizes[0] > 40 && sizes[2] <= sizes[0] + 2, "{sizes:?}");
}

async fn old_webhooks_are_forgotten(bed: Bed) {
    let repo = bed.repo("git/app").await;
    let take = async |name: &str, state: DeliveryState| {
        let told = Err((state, "a rule".to_owned()));
        let new = NewDelivery {
            forge: repo.forge_id,
            repo: Some(repo.id),
            hook: Some("some"),
            remote_id: name,
            event: "push",
            body: b"{}",
            told: &told,
        };
        bed.store.take_in(&new).await.unwrap().0.id
    };
    let mut old = Vec::new();
    for number in 0..5 {
        old.push(take(&format!("old {number}"), DeliveryState::Ignored).await);
    }
    let waits = take("waits", DeliveryState::Waiting).await;
    bed.execute("UPDATE deliveries SET received_at = 1").await;
    let young = take("young", DeliveryState::Ignored).await;
    // A few at once, and never one that nobody has worked on.
    let counts = [3, 2, 0];
    for count in counts {
        assert_eq!(bed.store.expire_deliveries(ago(30), 3).await.unwrap(), count);
    }
    let left = bed.store.list_deliveries(&DeliveryFilter::default(), 100).await.unwrap();
    assert_eq!(left.iter().map(|row| row.id).collect::<Vec<_>>(), [young, waits]);
}
