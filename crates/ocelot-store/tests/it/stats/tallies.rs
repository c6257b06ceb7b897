//! Tallies are what one gets by looking at every build.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use ocelot_model::tally::{ENDS, ERROR, Histogram, Tally};
use ocelot_model::{Bucket, RepoId, Status};
use ocelot_store::{Apart, Counted, Parts};

use super::{DAY, count_all};
use crate::bed::{Bed, cancel, finished, of_main_and_namesakes};

both!(
    tallies_are_what_looking_at_every_build_gives,
    two_servers_count_a_build_once,
    a_removed_repository_is_in_no_tally,
    a_build_that_ran_is_counted_with_its_jobs_and_stages,
    of_very_many_branches_the_newest_are_told_apart,
    hours_are_kept_for_a_while,
    large_builds_are_counted_one_by_one,
    what_only_has_the_name_of_a_branch_is_not_counted_as_of_it,
);

/// The same numbers each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A build as it is written into the database, with its jobs and their stages.
struct Fake {
    number: i64,
    repo: i64,
    branch: &'static str,
    status: Status,
    end: i64,
    /// Milliseconds; `None`: it never began.
    took: Option<i64>,
    wait: i64,
    jobs: Vec<(&'static str, Status, Vec<FakeStage>)>,
}

/// Name, status, and how long it took.
type FakeStage = (&'static str, Status, Option<i64>);

fn fake(dice: &mut Dice, number: i64, repos: &[i64], now: i64) -> Fake {
    let status = dice.one(&ENDS);
    let took = (dice.below(5) > 0).then(|| (1i64 << dice.below(22)) + dice.below(1000) as i64);
    let names = ["linux", "mac"].into_iter().take(dice.below(3) as usize);
    let mut jobs: Vec<_> = names
        .map(|name| {
            let stages = ["setup", "test"].map(|stage| {
                (stage, dice.one(&ENDS), (dice.below(4) > 0).then(|| dice.below(90_000) as i64))
            });
            (name, dice.one(&ENDS), stages.to_vec())
        })
        .collect();
    if took.is_none() {
        jobs.clear();
    }
    Fake {
        number,
        repo: dice.one(repos),
        branch: dice.one(&["main", "develop", "it's"]),
        status,
        // Three weeks, hours and all.
        end: now - dice.below(21 * 24 * 60) as i64 * 60_000_000 - 1,
        took,
        wait: dice.below(600_000) as i64,
        jobs,
    }
}

fn insert(fakes: &[Fake], attempts: &mut i64) -> String {
    let mut sql = String::new();
    for f in fakes {
        let start = f.took.map(|took| f.end - took * 1000);
        let queued = start.unwrap_or(f.end) - f.wait * 1000;
        let branch = f.branch.replace('\'', "''");
        let null = |value: Option<i64>| value.map_or_else(|| "NULL".to_owned(), |value| value.to_string());
        writeln!(
            sql,
            "INSERT INTO builds (number, repo_id, status, event, branch, commit_id, message, author, queued_at,
                started_at, finished_at, problems)
             VALUES ({}, {}, '{}', 'push', '{branch}', '0123456', 'm', 'a', {queued}, {}, {}, '[]');",
            f.number,
            f.repo,
            f.status,
            null(start),
            f.end
        )
        .unwrap();
        for (place, (job, status, stages)) in f.jobs.iter().enumerate() {
            *attempts += 1;
            let (id, number, start) = (*attempts, f.number, null(start));
            // An earlier attempt, which is not counted, has the id and the stage of a negative number.
            writeln!(
                sql,
                "INSERT INTO jobs (id, build, place, name, status, spec, needs, always, allow_failure,
                    retry_infrastructure, retry_script, attempt, ready_at)
                 VALUES ({id}, {number}, {place}, '{job}', '{status}', '{{}}', '[]', false, false, 0, 0, 2, {queued});
                 INSERT INTO attempts (id, job_id, build, number, status, finished_at, started_at)
                 VALUES (-{id}, {id}, {number}, 1, 'error', {}, {start}), ({id}, {id}, {number}, 2, '{status}', {}, {start});
                 INSERT INTO stages (attempt_id, build, place, name, status, duration_ms, started_at)
                 VALUES (-{id}, {number}, 0, 'setup', 'error', 5, {start});",
                f.end, f.end
            )
            .unwrap();
            for (place, (stage, status, took)) in stages.iter().enumerate() {
                writeln!(
                    sql,
                    "INSERT INTO stages (attempt_id, build, place, name, status, duration_ms, started_at)
                     VALUES ({id}, {number}, {place}, '{stage}', '{status}', {}, {});",
                    null(*took),
                    if took.is_some() { &start } else { "NULL" }
                )
                .unwrap();
            }
        }
    }
    sql
}

impl Bed {
    /// So many builds of two repositories within three weeks.
    async fn filled(&self, count: i64, seed: u64) -> (Vec<Fake>, [i64; 2]) {
        let repos = [self.repo("git/app").await.id.0, self.repo("git/lib").await.id.0];
        let now = self.store.now().await.unwrap().as_microsecond();
        let (mut dice, mut attempts) = (Dice(seed), 0);
        let fakes: Vec<Fake> = (1..=count).map(|number| fake(&mut dice, number, &repos, now)).collect();
        self.run(format!("BEGIN; {} COMMIT;", insert(&fakes, &mut attempts))).await;
        (fakes, repos)
    }
}

/// One thing that ended: status, how long it took, how long it waited.
type End = (Status, Option<i64>, Option<i64>);

/// By brute force: what of a build counts for this question.
fn ends(fake: &Fake, what: &Counted) -> Vec<End> {
    let repo = what.repos.as_ref().is_none_or(|repos| repos.contains(&RepoId(fake.repo)));
    if !repo || what.branch.as_ref().is_some_and(|branch| branch != fake.branch) {
        return Vec::new();
    }
    let Some(name) = &what.job else {
        return vec![(fake.status, fake.took, fake.took.map(|_| fake.wait))];
    };
    let jobs = fake.jobs.iter().filter(|(job, ..)| job == name);
    jobs.flat_map(|(_, status, stages)| match &what.stage {
        None => vec![(*status, fake.took, Some(fake.wait))],
        Some(name) => {
            let same = stages.iter().filter(|(stage, ..)| stage == name);
            same.map(|(_, status, took)| (*status, *took, None)).collect()
        }
    })
    .collect()
}

fn check(got: Option<&Tally>, want: &[End], what: &str) {
    let none = Tally::default();
    let got = got.unwrap_or(&none);
    for status in ENDS {
        let count = want.iter().filter(|end| end.0 == status).count() as u64;
        assert_eq!(got.count(status), count, "{status} of {what}");
    }
    let own = |status: Status| !matches!(status, Status::Cancelled | Status::Skipped);
    let took = want.iter().filter(|end| own(end.0)).filter_map(|end| end.1).collect();
    check_times(&got.duration, took, what);
    check_times(&got.wait, want.iter().filter_map(|end| end.2).collect(), what);
    let passed = want.iter().filter(|end| end.0 == Status::Passed).count() as f64;
    let all = want.iter().filter(|end| own(end.0)).count() as f64;
    assert_eq!(got.pass_rate(), (all > 0.0).then(|| passed / all), "{what}");
}

fn check_times(got: &Histogram, mut want: Vec<i64>, what: &str) {
    want.sort_unstable();
    assert_eq!(got.len(), want.len() as u64, "{what}");
    for share in [0.5, 0.95] {
        let rank = (want.len() as f64 * share).ceil() as usize;
        let exact = rank.checked_sub(1).map(|at| want[at]);
        match (got.percentile(share), exact) {
            (None, None) => {}
            (Some(got), Some(exact)) => {
                let off = (got - exact).abs() as f64;
                assert!(off <= exact as f64 * ERROR + 0.51, "{what}: {got} for {exact}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

fn questions(repos: [i64; 2]) -> Vec<Counted> {
    let text = |text: &str| Some(text.to_owned());
    let of = |repos: &[i64]| Some(repos.iter().map(|id| RepoId(*id)).collect());
    let one = Counted { repos: of(&repos[..1]), ..Counted::default() };
    vec![
        Counted::default(),
        one.clone(),
        Counted { repos: of(&repos), ..Counted::default() },
        Counted { repos: of(&[]), ..Counted::default() },
        Counted { branch: text("it's"), ..one.clone() },
        Counted { branch: text("none"), ..one.clone() },
        Counted { job: text("linux"), ..one.clone() },
        Counted { job: text("mac"), branch: text("main"), ..one.clone() },
        Counted { job: text("linux"), stage: text("test"), ..one.clone() },
        Counted { job: text("mac"), stage: text("setup"), branch: text("develop"), ..one },
    ]
}

async fn check_all(bed: &Bed, fakes: &[Fake], repos: [i64; 2]) {
    for what in questions(repos) {
        for bucket in Bucket::ALL {
            let got = bed.tally(&what, bucket).await;
            let periods: BTreeSet<i64> =
                fakes.iter().map(|fake| bucket.of(fake.end)).chain(got.keys().copied()).collect();
            for period in periods {
                let same = fakes.iter().filter(|fake| bucket.of(fake.end) == period);
                let want: Vec<End> = same.flat_map(|fake| ends(fake, &what)).collect();
                check(got.get(&period), &want, &format!("{what:?} in {bucket:?} {period}"));
            }
        }
    }
}

async fn tallies_are_what_looking_at_every_build_gives(bed: Bed) {
    let (fakes, repos) = bed.filled(400, 7).await;
    // In parts, with another server in between.
    assert_eq!(bed.store.count_builds(150).await.unwrap(), 150);
    assert_eq!(bed.second().await.count_builds(37).await.unwrap(), 37);
    assert_eq!(count_all(&bed.store, 100).await, 400 - 187);
    check_all(&bed, &fakes, repos).await;
    // What goes by its age stays counted.
    let now = bed.store.now().await.unwrap();
    assert_eq!(bed.store.expire_builds(now, 0, None, 1000).await.unwrap(), None);
    assert!(bed.store.list_builds(&ocelot_store::BuildFilter::default(), 10).await.unwrap().is_empty());
    check_all(&bed, &fakes, repos).await;
    check_apart(&bed, &fakes, repos[0]).await;
}

async fn check_apart(bed: &Bed, fakes: &[Fake], repo: i64) {
    let first = fakes.iter().map(|fake| fake.end).min().unwrap();
    let (from, to) = (Bucket::Day.of(first) + 2, Bucket::Day.of(first) + 19);
    let within = |fake: &&Fake| (from..to).contains(&Bucket::Day.of(fake.end));
    let one = Counted { repos: Some(vec![RepoId(repo)]), ..Counted::default() };
    for apart in [Apart::Repo, Apart::Branch, Apart::Job, Apart::Stage] {
        let what = if apart == Apart::Repo { Counted::default() } else { one.clone() };
        let Parts { parts, more } = bed.store.count_apart(&what, apart, from, to).await.unwrap();
        assert!(!more);
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let names: BTreeSet<_> = parts.iter().map(|p| (p.repo, &p.branch, &p.job, &p.stage)).collect();
        let want = match apart {
            Apart::Repo | Apart::Job => 2,
            Apart::Branch => 3,
            Apart::Stage => 4,
        };
        assert_eq!((names.len(), parts.len()), (want, want), "{apart:?}");
        for part in &parts {
            let what = Counted {
                repos: Some(vec![part.repo]),
                branch: some(&part.branch),
                job: some(&part.job),
                stage: some(&part.stage),
            };
            let want: Vec<End> = fakes.iter().filter(within).flat_map(|fake| ends(fake, &what)).collect();
            check(Some(&part.tally), &want, &format!("{apart:?} {what:?}"));
        }
    }
}

async fn two_servers_count_a_build_once(bed: Bed) {
    let (fakes, repos) = bed.filled(300, 11).await;
    let other = bed.second().await;
    let (one, two) = tokio::join!(count_all(&bed.store, 7), count_all(&other, 11));
    assert_eq!(one + two, 300);
    check_all(&bed, &fakes, repos).await;
}

async fn a_removed_repository_is_in_no_tally(bed: Bed) {
    let (mut fakes, repos) = bed.filled(200, 13).await;
    count_all(&bed.store, 1000).await;
    bed.store.remove_repo(RepoId(repos[1]), "tests").await.unwrap();
    fakes.retain(|fake| fake.repo == repos[0]);
    check_all(&bed, &fakes, repos).await;
    assert!(
        bed.tally(&Counted { repos: Some(vec![RepoId(repos[1])]), ..Counted::default() }, Bucket::Day)
            .await
            .is_empty()
    );
    let left = bed.store.count_apart(&Counted::default(), Apart::Repo, 0, 100_000).await.unwrap();
    assert_eq!(left.parts.len(), 1);
}

async fn a_build_that_ran_is_counted_with_its_jobs_and_stages(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let number = bed.build("a b").await.build.number;
    for status in [Status::Failed, Status::Passed] {
        let job = bed.claim(worker).await.unwrap();
        bed.store.accept(&job.lease).await.unwrap();
        // What is not over is not counted.
        assert_eq!(bed.store.count_builds(10).await.unwrap(), 0);
        bed.store.advance(number, finished(&job, status)).await.unwrap();
    }
    let waits = bed.build("a").await.build.number;
    bed.store.advance(waits, cancel()).await.unwrap();
    assert_eq!(count_all(&bed.store, 10).await, 2);
    assert_eq!(count_all(&bed.store, 10).await, 0);
    let all = |what: Counted| {
        let bed = &bed;
        async move {
            let mut sum = Tally::default();
            bed.tally(&what, Bucket::Day).await.values().for_each(|tally| sum.merge(tally));
            let counts = ENDS.map(|status| sum.count(status));
            (counts, sum.duration.len(), sum.wait.len())
        }
    };
    let repos = Some(vec![bed.store.find_repo(&"git/app".parse().unwrap()).await.unwrap().unwrap().id]);
    let job = |name: &str| Counted { repos: repos.clone(), job: Some(name.into()), ..Counted::default() };
    assert_eq!(all(Counted::default()).await, ([0, 1, 0, 0, 1, 0], 1, 1));
    assert_eq!(all(job("a")).await, ([0, 1, 0, 0, 1, 0], 1, 1));
    assert_eq!(all(job("b")).await, ([1, 0, 0, 0, 0, 0], 1, 1));
    // No worker said anything about it.
    let stage = Counted { stage: Some("test".into()), ..job("b") };
    assert_eq!(all(stage).await, ([0, 0, 0, 0, 0, 1], 0, 0));
}

/// So many branches that nobody reads of them all: those that were built last.
async fn of_very_many_branches_the_newest_are_told_apart(bed: Bed) {
    let repo = bed.build("a").await.build.repo.id;
    bed.run(format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
         INSERT INTO series (repo_id, branch, job, stage) SELECT {}, 'b' || i, '', '' FROM n;",
        repo.0
    ))
    .await;
    // Each was built on a day of its own, the first one again on the last day of all.
    let mut tally = Tally::default();
    tally.add(Status::Passed, Some(1), Some(1));
    let mut bytes = String::new();
    tally.to_bytes().iter().for_each(|byte| write!(bytes, "{byte:02x}").unwrap());
    let bytes = if bed.is_shared() { format!("'\\x{bytes}'::bytea") } else { format!("x'{bytes}'") };
    bed.run(format!(
        "INSERT INTO tallies (series_id, hours, period, tally)
         SELECT id, 24, 1000 + CAST(substr(branch, 2) AS BIGINT), {bytes} FROM series WHERE branch LIKE 'b%';
         INSERT INTO tallies (series_id, hours, period, tally) SELECT id, 24, 2600, {bytes} FROM series WHERE branch = 'b1';"
    ))
    .await;
    let one = Counted { repos: Some(vec![repo]), ..Counted::default() };
    let told = async |from, to| bed.store.count_apart(&one, Apart::Branch, from, to).await.unwrap();
    let all = told(0, 3000).await;
    let has = |name: &str| all.parts.iter().find(|part| part.branch == name).map(|part| part.tally.total());
    assert_eq!((all.more, has("b1"), has("b2"), has("b1500")), (true, Some(2), None, Some(1)));
    // Of less time there are less.
    let some = told(1000, 1100).await;
    assert_eq!((some.more, some.parts.len()), (false, 99));
}

async fn hours_are_kept_for_a_while(bed: Bed) {
    bed.filled(50, 17).await;
    // One third of a build lies far back.
    let old = Timestamp::now().as_microsecond() - 50 * DAY;
    bed.run(format!("UPDATE builds SET finished_at = {old} WHERE number % 3 = 0")).await;
    count_all(&bed.store, 50).await;
    let sum = |tallies: BTreeMap<i64, Tally>| tallies.values().map(Tally::total).sum::<u64>();
    let all = Counted::default();
    assert_eq!(sum(bed.tally(&all, Bucket::Day).await), 50);
    assert_eq!(sum(bed.tally(&all, Bucket::Hour).await), 50 - 16);
    // Those that were counted grow old, too.
    bed.run("UPDATE tallies SET period = period - 24 * 40 WHERE hours = 1".to_owned()).await;
    let mut gone = 0;
    loop {
        match bed.store.drop_hours(20).await.unwrap() {
            0 => break,
            some => gone += some,
        }
    }
    assert!(gone > 20, "{gone}");
    assert!(bed.tally(&all, Bucket::Hour).await.is_empty());
    assert_eq!(sum(bed.tally(&all, Bucket::Week).await), 50);
}

async fn large_builds_are_counted_one_by_one(bed: Bed) {
    let worker = bed.worker("w", "").await;
    for _ in 0..3 {
        let number = bed.build("a").await.build.number;
        let job = bed.claim(worker).await.unwrap();
        bed.store.advance(number, finished(&job, Status::Passed)).await.unwrap();
    }
    let digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5)";
    // 7776 more stages of each, all of one name.
    let more = format!(
        "INSERT INTO stages (attempt_id, build, place, name, status)
         SELECT a.id, a.build, 10 + v.d + 6 * w.d + 36 * x.d + 216 * y.d + 1296 * z.d, 's', 'skipped'
         FROM attempts a CROSS JOIN {digits} v CROSS JOIN {digits} w CROSS JOIN {digits} x CROSS JOIN {digits} y
         CROSS JOIN {digits} z"
    );
    bed.run(more).await;
    for want in [1, 1, 1, 0] {
        assert_eq!(bed.store.count_builds(100).await.unwrap(), want);
    }
    let repo = bed.store.find_repo(&"git/app".parse().unwrap()).await.unwrap().unwrap().id;
    let what = Counted {
        repos: Some(vec![repo]),
        job: Some("a".into()),
        stage: Some("s".into()),
        ..Counted::default()
    };
    let all = bed.tally(&what, Bucket::Week).await;
    assert_eq!(all.values().map(Tally::total).sum::<u64>(), 3 * 7776);
}

async fn what_only_has_the_name_of_a_branch_is_not_counted_as_of_it(bed: Bed) {
    let repo = bed.repo("git/app").await;
    let [own, fork, request, tag] = of_main_and_namesakes(&repo);
    let mut numbers = Vec::new();
    for new in [&own, &fork, &request, &tag, &own] {
        let number = bed.store.create_build(new).await.unwrap().build.number;
        bed.store.advance(number, cancel()).await.unwrap();
        numbers.push(number);
    }
    // A version that did not note whose branch it is made the last one; a pull request was opened for the first one's commit.
    bed.run(format!(
        "UPDATE builds SET of_branch = false WHERE number = {}; UPDATE builds SET pull_request = 8 WHERE number = {};",
        numbers[4], numbers[0]
    ))
    .await;
    assert_eq!(count_all(&bed.store, 10).await, 5);
    let all = Counted { repos: Some(vec![repo.id]), ..Counted::default() };
    for (branch, job, want) in
        [(None, None, 5), (None, Some("a"), 5), (Some("main"), None, 2), (Some("main"), Some("a"), 2)]
    {
        let (branch, job) = (branch.map(str::to_owned), job.map(str::to_owned));
        let tallies = bed.tally(&Counted { branch, job, ..all.clone() }, Bucket::Day).await;
        let cancelled: u64 = tallies.values().map(|tally| tally.count(Status::Cancelled)).sum();
        assert_eq!(cancelled, want, "{tallies:?}");
    }
}
