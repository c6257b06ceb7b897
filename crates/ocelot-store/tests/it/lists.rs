//! Which builds a list shows.

use std::fmt::Write as _;

use jiff::Timestamp;
use ocelot_model::access::Role;
use ocelot_model::{BuildNumber, EventKind, RepoId, Status};
use ocelot_store::{BuildFilter, NewBuild, Store};

use crate::bed::{Bed, new_build, of_main_and_namesakes};

both!(
    filters,
    what_only_has_the_name_of_a_branch_is_not_of_it,
    cursor,
    every_question_is_answered_as_by_looking_at_every_build,
    a_page_looks_at_so_many_only,
    another_state_has_another_word
);

async fn check(store: &Store, what: &str, filter: BuildFilter, want: &[i64]) {
    let found = store.list_builds(&filter, 100).await.unwrap();
    let numbers: Vec<i64> = found.iter().map(|build| build.number.0).collect();
    assert_eq!(numbers, want, "{what}");
}

async fn what_only_has_the_name_of_a_branch_is_not_of_it(bed: Bed) {
    let repo = bed.repo("git/app").await;
    let [own, fork, request, tag] = of_main_and_namesakes(&repo);
    // A pull request of the commit was opened: it is what the branch held all the same.
    let attached = NewBuild { pull_request: Some(8), ..own.clone() };
    let mut numbers = Vec::new();
    for new in [&own, &attached, &fork, &request, &tag] {
        numbers.push(bed.store.create_build(new).await.unwrap().build.number.0);
    }
    let of_branch = || BuildFilter { branch: Some("main".into()), of_branch: true, ..BuildFilter::default() };
    check(&bed.store, "of the branch", of_branch(), &[numbers[1], numbers[0]]).await;
    // A version that did not note it made them; of those with a pull request nobody knows.
    bed.execute("UPDATE builds SET of_branch = false").await;
    check(&bed.store, "of an older version", of_branch(), &numbers[..1]).await;
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

/// A build as it is written into the database.
#[derive(Clone)]
struct Row {
    number: i64,
    repo: i64,
    status: Status,
    event: EventKind,
    branch: String,
    commit: String,
    message: String,
    queued_at: i64,
    worker: &'static str,
}

/// The same numbers each time.
fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |end| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    }
}

const WORDS: [&str; 8] =
    ["Fix", "the", "parser", "100%", "Grüße", "under_score", "back\\slash", "a very long word"];
const EVENTS: [EventKind; 3] = [EventKind::Push, EventKind::Tag, EventKind::Schedule];
const STATUSES: [Status; 3] = [Status::Passed, Status::Failed, Status::Error];

fn rows(repos: &[RepoId], count: i64, now: i64) -> Vec<Row> {
    let mut dice = dice(5);
    let mut of = |end: usize| dice(end as u64) as usize;
    let row = |number: i64| {
        let words: Vec<&str> = (0..3).map(|_| WORDS[of(WORDS.len())]).collect();
        // Some thousand come late, some were taken while the clock was wrong.
        let jump = if of(50) == 0 { -40_000_000_000 } else { 0 };
        Row {
            number,
            repo: repos[of(100).min(repos.len() - 1)].0,
            status: STATUSES[of(40).saturating_sub(37)],
            event: EVENTS[of(60).saturating_sub(57)],
            branch: ["main", "develop", "feature/x"][of(3)].to_owned(),
            commit: format!("{:08x}{:032x}", of(900) * 0x10_0001, 7),
            message: words.join(" "),
            queued_at: now - 100_000_000_000 + number * 10_000_000 + jump,
            worker: ["w1", "w2", "rare"][of(50).saturating_sub(47)],
        }
    };
    (1..=count).map(row).collect()
}

async fn fill(bed: &Bed, rows: &[Row]) {
    let mut sql = "BEGIN;".to_owned();
    for row in rows {
        let Row { number, repo, status, event, branch, commit, message, queued_at, worker } = row;
        writeln!(
            sql,
            "INSERT INTO builds (number, repo_id, status, event, branch, commit_id, message, author, queued_at, problems)
             VALUES ({number}, {repo}, '{status}', '{event}', '{branch}', '{commit}', '{message}', 'Ann', {queued_at}, '[]');
             INSERT INTO jobs (id, build, place, name, status, spec, needs, always, allow_failure, retry_infrastructure,
                retry_script)
             VALUES ({number}, {number}, 0, 'a', '{status}', '{{}}', '[]', false, false, 0, 0);
             INSERT INTO attempts (job_id, build, number, status, worker)
             VALUES ({number}, {number}, 1, 'error', '{worker}'), ({number}, {number}, 2, '{status}', '{worker}');"
        )
        .unwrap();
    }
    bed.run(sql + "COMMIT;").await;
    if bed.is_shared() {
        let next =
            |table, column| format!("SELECT setval(pg_get_serial_sequence('{table}', '{column}'), 1000000);");
        bed.run(next("builds", "number") + &next("jobs", "id")).await;
    }
}

fn fits(row: &Row, filter: &BuildFilter) -> bool {
    let is = |asked: &Option<String>, value: &str| asked.as_ref().is_none_or(|asked| asked == value);
    let text = filter.text.as_ref().is_none_or(|text| {
        let text = text.to_lowercase();
        let own = [&row.message, &row.branch, "Ann"];
        own.iter().any(|own| own.to_lowercase().contains(&text)) || row.commit.starts_with(&text)
    });
    text && is(&filter.branch, &row.branch)
        && is(&filter.worker, row.worker)
        && filter.repo.is_none_or(|repo| repo.0 == row.repo)
        && filter.readable.as_ref().is_none_or(|readable| readable.contains(&RepoId(row.repo)))
        && filter.status.is_none_or(|status| status == row.status)
        && filter.event.is_none_or(|event| event == row.event)
        && filter.commit.as_ref().is_none_or(|commit| row.commit.starts_with(commit))
        && filter.since.is_none_or(|since| row.queued_at >= since.as_microsecond())
        && filter.until.is_none_or(|until| row.queued_at < until.as_microsecond())
}

/// All pages, one after the other; how many they were.
async fn walk(store: &Store, filter: &BuildFilter, limit: u32) -> (Vec<i64>, usize) {
    let (mut filter, mut all) = (filter.clone(), Vec::new());
    for pages in 1.. {
        let page = store.page_builds(&filter, limit).await.unwrap();
        assert!(page.builds.len() <= limit as usize);
        all.extend(page.builds.iter().map(|build| build.number.0));
        match page.next {
            None => return (all, pages),
            Some(next) => {
                assert!(filter.before.is_none_or(|before| next < before), "it does not go on");
                filter.before = Some(next);
            }
        }
    }
    unreachable!()
}

/// Any of the filters, each given or not.
fn question(of: &mut impl FnMut(usize) -> usize, repos: &[RepoId], rows: &[Row]) -> BuildFilter {
    let some = rows[of(rows.len())].clone();
    let near = |us: i64| Timestamp::from_microsecond(us).unwrap();
    let text = [
        "fix",
        "%",
        "\\s",
        "the parser",
        "r_s",
        "long w",
        "ann",
        "nowhere",
        "uß",
        &some.commit[..7],
        &some.commit[3..12],
    ];
    let mut given = |one_in: usize| of(one_in) == 0;
    let mut filter = BuildFilter {
        repo: given(4).then_some(RepoId(some.repo)),
        branch: given(5).then(|| some.branch.clone()),
        commit: given(8).then(|| some.commit[..7].to_owned()),
        status: given(5).then_some(some.status),
        event: given(6).then_some(some.event),
        worker: given(8).then(|| some.worker.to_owned()),
        since: given(6).then(|| near(some.queued_at)),
        until: given(6).then(|| near(some.queued_at + 30_000_000_000)),
        ..BuildFilter::default()
    };
    if given(4) {
        filter.text = Some(text[of(text.len())].to_owned());
    }
    filter.readable = match of(4) {
        0 => Some(repos[..2].to_vec()),
        1 => Some(repos[1..].to_vec()),
        2 => Some(Vec::new()).filter(|_| of(5) == 0),
        _ => None,
    };
    filter
}

async fn every_question_is_answered_as_by_looking_at_every_build(bed: Bed) {
    let mut repos = Vec::new();
    for at in 0..60 {
        repos.push(bed.repo(&format!("git/r{at}")).await.id);
    }
    let rows = rows(&repos, 2000, bed.store.now().await.unwrap().as_microsecond());
    fill(&bed, &rows).await;
    let mut dice = dice(77);
    let mut of = |end: usize| dice(end as u64) as usize;
    // First nothing is known about blocks, then about some of them, then about all that are whole.
    for sealed in [0, 3, 100] {
        let mut left = sealed;
        while left > 0 && bed.store.seal_blocks(left.min(2)).await.unwrap() > 0 {
            left -= left.min(2);
        }
        for _ in 0..50 {
            let filter = question(&mut of, &repos, &rows);
            let want: Vec<i64> =
                rows.iter().rev().filter(|row| fits(row, &filter)).map(|row| row.number).collect();
            let (got, _) = walk(&bed.store, &filter, 20 + of(200) as u32).await;
            assert_eq!(got, want, "{filter:?}");
            let some: Vec<i64> = bed
                .store
                .list_builds(&filter, 10)
                .await
                .unwrap()
                .iter()
                .map(|build| build.number.0)
                .collect();
            assert_eq!(some, want[..want.len().min(10)], "{filter:?}");
        }
    }
    // What is new since then is found, too.
    let new =
        bed.store.create_build(&new_build(&bed.store.load_repo(repos[0]).await.unwrap(), "a")).await.unwrap();
    let filter = BuildFilter { text: Some("SAY hello".into()), ..BuildFilter::default() };
    assert_eq!(walk(&bed.store, &filter, 5).await.0, [new.build.number.0]);
}

async fn a_page_looks_at_so_many_only(bed: Bed) {
    let repos = [bed.repo("git/app").await.id];
    let mut rows = rows(&repos, 8900, bed.store.now().await.unwrap().as_microsecond());
    for (at, row) in rows.iter_mut().enumerate() {
        let main = at % 2 == 0;
        row.event = if main { EventKind::Push } else { EventKind::Schedule };
        row.branch = if main { "main" } else { "nightly" }.into();
    }
    rows[0].event = EventKind::Tag;
    rows[0].message = "a needle".into();
    rows[2].event = EventKind::Schedule;
    fill(&bed, &rows).await;
    let own =
        |event| BuildFilter { event: Some(event), branch: Some("main".into()), ..BuildFilter::default() };
    // What is rare is found at once, beside what is not.
    assert_eq!(walk(&bed.store, &own(EventKind::Tag), 50).await, (vec![1], 1));
    // Two that are both frequent, and hardly ever meet.
    assert_eq!(walk(&bed.store, &own(EventKind::Schedule), 50).await, (vec![3], 2));
    let page = bed.store.page_builds(&own(EventKind::Schedule), 50).await.unwrap();
    assert!(page.builds.is_empty() && page.next.is_some_and(|next| next < BuildNumber(2910)), "{page:?}");
    assert_eq!(bed.store.list_builds(&own(EventKind::Schedule), 1).await.unwrap().len(), 1);
    // Whole blocks are left out when it is known what is in them.
    while bed.store.seal_blocks(16).await.unwrap() > 0 {}
    let text = BuildFilter { text: Some("needle".into()), ..BuildFilter::default() };
    assert_eq!(walk(&bed.store, &text, 50).await, (vec![1], 1));
    let last = Timestamp::from_microsecond(rows[100].queued_at).unwrap();
    let old = BuildFilter { until: Some(last), event: Some(EventKind::Tag), ..BuildFilter::default() };
    assert_eq!(walk(&bed.store, &old, 50).await, (vec![1], 1));
}

async fn another_state_has_another_word(bed: Bed) {
    let repo = bed.repo("git/app").await;
    let state = || async {
        // For a moment after a change it cannot be said.
        loop {
            if let Some(state) = bed.store.state().await.unwrap() {
                return state;
            }
            tokio::task::yield_now().await;
        }
    };
    let before = state().await;
    bed.store.create_build(&new_build(&repo, "a")).await.unwrap();
    assert_ne!(bed.store.state().await.unwrap(), Some(before), "as soon as it is committed");
    let before = state().await;
    bed.store.create_token("ann", Role::Read, &[], None, "ann").await.unwrap();
    assert_ne!(bed.store.state().await.unwrap(), Some(before), "whatever is changed");
}
