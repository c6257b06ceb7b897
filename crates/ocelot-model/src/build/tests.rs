use super::*;

fn job(text: &str, id: i64) -> JobState {
    // "name<need,need?!" : `?` allows failure, `!` always
    let (name, rest) = text.split_once('<').unwrap_or((text, ""));
    let flags: String = text.chars().filter(|c| matches!(c, '?' | '!')).collect();
    let clean = |s: &str| s.trim_matches(['?', '!']).to_owned();
    JobState {
        id: JobId(id),
        name: clean(name),
        status: Status::Queued,
        reason: None,
        ready: false,
        needs: rest.split(',').map(clean).filter(|s| !s.is_empty()).collect(),
        approval: false,
        always: flags.contains('!'),
        allow_failure: flags.contains('?'),
        attempt: 1,
        retry: Retry { infrastructure: 1, script: 0 },
        retried: Retry { infrastructure: 0, script: 0 },
    }
}

fn build(jobs: &str) -> BuildState {
    let jobs = jobs.split(' ').zip(1..).map(|(text, id)| job(text, id)).collect();
    BuildState { status: Status::Queued, cancel_requested: false, cancel_reason: None, admitted: true, jobs }
}

/// Plays `events` ("a passed, b failed, b lost, cancel") on jobs ("a b<a c<b!") and compares
/// the picture at the end ("running: a passed, b queued").
fn check(jobs: &str, events: &str, want: &str) {
    let mut build = build(jobs);
    advance(&mut build, Happening::Created).unwrap();
    for event in events.split(", ").filter(|e| !e.is_empty()) {
        if event == "cancel" {
            advance(&mut build, Happening::CancelRequested { reason: "asked".into() }).unwrap();
            continue;
        }
        let (name, how) = event.split_once(' ').unwrap();
        let at = build.jobs.iter().position(|j| j.name == name).unwrap();
        let (id, attempt) = (build.jobs[at].id, build.jobs[at].attempt);
        if how == "claimed" {
            assert!(build.jobs[at].ready, "{name} is not in the queue");
            build.jobs[at].status = Status::Running;
            continue;
        }
        if how == "expired" {
            let reason = "nobody took it".to_owned();
            advance(&mut build, Happening::Expired { job: id, attempt, reason }).unwrap();
            continue;
        }
        build.jobs[at].status = Status::Running;
        let what = if how == "lost" {
            Happening::Lost { job: id, attempt, reason: "gone".into() }
        } else {
            let outcome = Outcome { status: how.parse().unwrap(), reason: None, infrastructure: false };
            Happening::Finished { job: id, attempt, outcome }
        };
        advance(&mut build, what).unwrap();
    }
    let jobs: Vec<_> = build
        .jobs
        .iter()
        .map(|j| {
            format!("{} {}{}", j.name, j.status, if j.ready && j.status == Status::Queued { "*" } else { "" })
        })
        .collect();
    assert_eq!(format!("{}: {}", build.status, jobs.join(", ")), want, "{events}");
}

#[test]
fn needs_hold_a_job_back() {
    check("a b<a", "", "queued: a queued*, b queued");
    check("a b<a", "a passed", "running: a passed, b queued*");
    check("a b<a", "a passed, b passed", "passed: a passed, b passed");
}

#[test]
fn a_failure_skips_what_needs_it_all_the_way_down() {
    check("a b<a c<b", "a failed", "failed: a failed, b skipped, c skipped");
}

#[test]
fn allowed_failures_count_as_passed() {
    check("a? b<a", "a failed, b passed", "passed: a failed, b passed");
}

#[test]
fn always_goes_on() {
    check("a b<a!", "a failed", "running: a failed, b queued*");
    check("a b<a!", "a failed, b passed", "failed: a failed, b passed");
}

#[test]
fn the_worst_job_decides() {
    check("a b c", "a failed, b timed_out, c error", "error: a failed, b timed_out, c error");
    check("a b", "a cancelled, b failed", "failed: a cancelled, b failed");
    check("a b", "a skipped, b skipped", "skipped: a skipped, b skipped");
}

#[test]
fn a_lost_worker_gives_a_new_attempt_as_long_as_allowed() {
    check("a", "a lost", "running: a queued*");
    check("a", "a lost, a lost", "error: a error");
    check("a", "a lost, a passed", "passed: a passed");
}

#[test]
fn a_job_that_nobody_takes_is_an_error() {
    check("a b<a c", "a expired", "running: a error, b skipped, c queued*");
    check("a", "a lost, a expired", "error: a error");
    check("a? b<a", "a expired, b passed", "passed: a error, b passed");
}

#[test]
fn only_what_may_be_claimed_can_expire() {
    for (ready, status) in [(false, Status::Queued), (true, Status::Running), (true, Status::Passed)] {
        let waits = JobState { status, ready, ..job("a", 1) };
        let mut build = BuildState { status: Status::Queued, jobs: vec![waits], ..build("a") };
        let late = Happening::Expired { job: JobId(1), attempt: 1, reason: String::new() };
        assert_eq!(advance(&mut build, late), Err(Stale), "{ready} {status}");
    }
}

#[test]
fn a_build_that_is_not_admitted_waits_and_can_be_cancelled() {
    let mut waits = BuildState { admitted: false, ..build("a b<a") };
    assert_eq!(advance(&mut waits, Happening::Created), Ok(vec![]));
    let asked = Happening::CancelRequested { reason: "asked".into() };
    let mut cancelled = waits.clone();
    advance(&mut cancelled, asked).unwrap();
    assert_eq!(cancelled.status, Status::Cancelled);
    let changes = advance(&mut waits, Happening::Admitted).unwrap();
    assert_eq!(changes, [Change::Enqueue { job: JobId(1) }]);
}

#[test]
fn a_job_that_waits_for_a_person_holds_only_itself_back() {
    let ended = |build: &mut BuildState, at: usize, status| {
        build.jobs[at].status = Status::Running;
        let (job, attempt) = (build.jobs[at].id, build.jobs[at].attempt);
        let outcome = Outcome { status, reason: None, infrastructure: false };
        advance(build, Happening::Finished { job, attempt, outcome }).unwrap();
    };
    let mut first = build("a b<a c<b");
    (first.jobs[1].status, first.jobs[1].approval) = (Status::Blocked, true);
    advance(&mut first, Happening::Created).unwrap();
    assert_eq!((first.status, first.jobs[0].ready), (Status::Queued, true));
    let mut fails = first.clone();
    ended(&mut fails, 0, Status::Failed);
    assert_eq!((fails.status, fails.jobs[1].status), (Status::Failed, Status::Skipped));
    ended(&mut first, 0, Status::Passed);
    assert_eq!(first.status, Status::Running);
    // Somebody approved of something else.
    advance(&mut first, Happening::Approved).unwrap();
    assert_eq!(first.jobs[1].status, Status::Blocked);
    first.jobs[1].approval = false;
    advance(&mut first, Happening::Approved).unwrap();
    assert_eq!((first.jobs[1].status, first.jobs[1].ready), (Status::Queued, true));
}

#[test]
fn what_nobody_approves_of_ends() {
    let unapproved = || Happening::Unapproved { reason: "too long".into() };
    let mut waits = build("a b<a c<b");
    assert_eq!(advance(&mut waits.clone(), unapproved()), Err(Stale));
    (waits.jobs[1].status, waits.jobs[1].approval) = (Status::Blocked, true);
    advance(&mut waits, Happening::Created).unwrap();
    assert_eq!(advance(&mut waits.clone(), unapproved()), Err(Stale), "a may still be claimed");
    (waits.jobs[0].status, waits.jobs[0].ready) = (Status::Running, false);
    assert_eq!(advance(&mut waits.clone(), unapproved()), Err(Stale), "a runs");
    waits.jobs[0].status = Status::Passed;
    advance(&mut waits, unapproved()).unwrap();
    let [.., b, c] = &waits.jobs[..] else { panic!("three jobs") };
    assert_eq!([waits.status, b.status, c.status], [Status::Cancelled; 3]);
    assert_eq!(b.reason.as_deref(), Some("too long"));
}

#[test]
fn cancel() {
    check("a b<a", "cancel", "cancelled: a cancelled, b cancelled");
    check("a b<a", "a claimed, cancel", "running: a running, b cancelled");
    check("a b<a", "a claimed, cancel, a cancelled", "cancelled: a cancelled, b cancelled");
    check("a", "a claimed, cancel, a lost", "cancelled: a cancelled");
    check("a", "a passed, cancel", "passed: a passed");
}

/// Plays `ends` ("a failed t: exit code 1, b passed") on jobs; the reason of the build at its end.
fn check_reason(jobs: &str, ends: &str, want: Option<&str>) {
    let mut build = build(jobs);
    let mut last = None;
    for end in ends.split(", ") {
        if end == "cancel" {
            build.jobs.iter_mut().for_each(|job| job.status = Status::Running);
            advance(&mut build, Happening::CancelRequested { reason: "asked".into() }).unwrap();
            continue;
        }
        let mut words = end.splitn(3, ' ');
        let (name, status) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
        let reason = words.next().map(str::to_owned);
        let job = build.jobs.iter_mut().find(|job| job.name == name).unwrap();
        job.status = Status::Running;
        let (job, attempt) = (job.id, job.attempt);
        let outcome = Outcome { status, reason, infrastructure: false };
        let what = Happening::Finished { job, attempt, outcome };
        for change in advance(&mut build, what).unwrap() {
            if let Change::Build { reason, .. } = change {
                last = reason;
            }
        }
    }
    assert_eq!(last.as_deref(), want, "{ends}");
}

#[test]
fn what_its_worker_lost_is_tried_again_at_once() {
    let pauses = |what: fn(JobId, u32) -> Happening| {
        let mut build = build("a");
        build.jobs[0].retry.infrastructure = 2;
        let mut pauses = vec![];
        for attempt in 1..=2 {
            build.jobs[0].status = Status::Running;
            for change in advance(&mut build, what(JobId(1), attempt)).unwrap() {
                if let Change::NewAttempt { delay_ms, .. } = change {
                    pauses.push(delay_ms);
                }
            }
        }
        pauses
    };
    let lost = |job, attempt| Happening::Lost { job, attempt, reason: "gone".into() };
    let failed = |job, attempt| {
        let outcome = Outcome { status: Status::Error, reason: None, infrastructure: true };
        Happening::Finished { job, attempt, outcome }
    };
    assert_eq!(pauses(lost), [0, 0]);
    assert_eq!(pauses(failed), [5_000, 10_000]);
}

#[test]
fn a_build_says_which_job_decided() {
    check_reason("a", "a failed t: exit code 1", Some("t: exit code 1"));
    check_reason("a b", "a failed t: exit code 1, b passed", Some("job a: t: exit code 1"));
    check_reason("a b", "b failed t: 2, a failed t: 1", Some("job a: t: 1 (and 1 more job)"));
    check_reason("a b c", "a failed t: 1, b error no image, c passed", Some("job b: no image"));
    check_reason("a b", "a failed, b passed", Some("job a ended as failed"));
    check_reason("a? b", "a failed t: 1, b passed", None);
    check_reason("a b<a", "a timed_out t: too long", Some("job a: t: too long"));
    check_reason("a b", "cancel, a cancelled, b cancelled", Some("asked"));
}

#[test]
fn a_stale_attempt_changes_nothing() {
    let mut build = BuildState { status: Status::Running, ..build("a") };
    build.jobs[0].status = Status::Running;
    build.jobs[0].attempt = 2;
    let before = build.clone();
    let outcome = Outcome { status: Status::Passed, reason: None, infrastructure: false };
    let late = Happening::Finished { job: JobId(1), attempt: 1, outcome };
    assert_eq!(advance(&mut build, late), Err(Stale));
    assert_eq!(build, before);
}
