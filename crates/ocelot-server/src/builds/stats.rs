//! What is asked about the history of builds, and the answer; for programs and pages alike.

use std::collections::HashMap;

use jiff::Timestamp;
use ocelot_api::body::{ByStatus, Counts, Percentiles, Stats, StatsItem};
use ocelot_model::tally::Tally;
use ocelot_model::{Bucket, RepoId, Status};
use ocelot_store::{Apart, Counted, Part, Parts, Periods, Repo, Store, StoreError};

/// Periods of one answer at most.
const PERIODS: i64 = 1000;
const HOUR_US: i64 = 3_600_000_000;

/// What tallies are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Period(Bucket),
    Part(Apart),
}

impl std::str::FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<By, String> {
        match text {
            "repo" => Ok(By::Part(Apart::Repo)),
            "branch" => Ok(By::Part(Apart::Branch)),
            "job" => Ok(By::Part(Apart::Job)),
            "stage" => Ok(By::Part(Apart::Stage)),
            other => other
                .parse()
                .map(By::Period)
                .map_err(|_| format!("`{other}` is none of hour, day, week, repo, branch, job and stage")),
        }
    }
}

impl By {
    const fn as_str(self) -> &'static str {
        match self {
            By::Period(bucket) => bucket.as_str(),
            By::Part(Apart::Repo) => "repo",
            By::Part(Apart::Branch) => "branch",
            By::Part(Apart::Job) => "job",
            By::Part(Apart::Stage) => "stage",
        }
    }
}

/// A question. Whether the caller may read what it is about was looked at before.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// Of this repository.
    pub(crate) repo: Option<Repo>,
    /// Of these; `None`: of all that there are.
    pub(crate) readable: Option<Vec<RepoId>>,
    pub(crate) branch: Option<String>,
    pub(crate) job: Option<String>,
    pub(crate) stage: Option<String>,
    pub(crate) by: By,
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
    /// Parts at most.
    pub(crate) limit: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatsError {
    #[error("{0}")]
    Bad(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The answer.
pub(crate) async fn answer(store: &Store, question: &Question, repos: &[Repo]) -> Result<Stats, StatsError> {
    check(question)?;
    let now = store.now().await?.as_microsecond();
    let bucket = if let By::Period(bucket) = question.by { bucket } else { Bucket::Day };
    let periods = periods(question, bucket, now)?;
    let counted = Counted {
        repos: question.repo.as_ref().map(|repo| vec![repo.id]).or_else(|| question.readable.clone()),
        branch: question.branch.clone(),
        job: question.job.clone(),
        stage: question.stage.clone(),
    };
    let (mut total, mut more) = (Tally::default(), false);
    let items = match question.by {
        By::Period(_) => {
            let tallies = store.count_by_period(&counted, periods).await?;
            tallies.values().for_each(|tally| total.merge(tally));
            let none = Tally::default();
            let item = |period| item(bucket, period, tallies.get(&period).unwrap_or(&none));
            (periods.from..periods.to).map(item).collect::<Result<_, _>>()?
        }
        By::Part(apart) => {
            let Parts { mut parts, more: others } =
                store.count_apart(&counted, apart, periods.from, periods.to).await?;
            more = others || parts.len() > question.limit;
            if matches!(apart, Apart::Repo | Apart::Branch) {
                // Of all of them, however many are told.
                let whole = store.count_by_period(&counted, periods).await?;
                whole.values().for_each(|tally| total.merge(tally));
            } else {
                parts.iter().for_each(|part| total.merge(&part.tally));
            }
            parts.sort_by_key(|part| std::cmp::Reverse(part.tally.total()));
            let names: HashMap<RepoId, String> =
                repos.iter().map(|repo| (repo.id, repo.name.to_string())).collect();
            parts.iter().take(question.limit).map(|part| named(part, apart, &names)).collect()
        }
    };
    Ok(Stats {
        repo: question.repo.as_ref().map(|repo| repo.name.to_string()),
        branch: question.branch.clone(),
        job: question.job.clone(),
        stage: question.stage.clone(),
        by: question.by.as_str().to_owned(),
        from: time(bucket.begin(periods.from))?,
        to: time(bucket.begin(periods.to))?,
        total: counts(&total),
        items,
        more,
    })
}

/// Branches, jobs and stages are those of a repository.
fn check(question: &Question) -> Result<(), StatsError> {
    let bad = |words: &str| Err(StatsError::Bad(words.to_owned()));
    let given = [&question.branch, &question.job, &question.stage];
    if question.repo.is_none()
        && (given.iter().any(|name| name.is_some())
            || matches!(question.by, By::Part(Apart::Branch | Apart::Job | Apart::Stage)))
    {
        return bad("repo: branches, jobs and stages are counted within a repository; name one");
    }
    if question.stage.is_some() && question.job.is_none() {
        return bad("job: name the job of the stage; in a file without `jobs:` it is `default`");
    }
    match question.by {
        By::Part(Apart::Repo) if given.iter().any(|name| name.is_some()) => {
            bad("by: repositories are told apart by whole builds only")
        }
        By::Part(Apart::Branch) if question.branch.is_some() => bad("by: one branch is no branches"),
        By::Part(Apart::Job) if question.job.is_some() => bad("by: one job is no jobs"),
        By::Part(Apart::Stage) if question.stage.is_some() => bad("by: one stage is no stages"),
        By::Part(_) | By::Period(_) => Ok(()),
    }
}

/// The periods in which the time that was asked for lies, as a whole.
fn periods(question: &Question, bucket: Bucket, now: i64) -> Result<Periods, StatsError> {
    let usual = match bucket {
        Bucket::Hour => 48,
        Bucket::Day => 30 * 24,
        Bucket::Week => 52 * 7 * 24,
    } * HOUR_US;
    // What is later than now has not happened, and nothing had before 1970.
    let to = question.to.map_or(now, Timestamp::as_microsecond).clamp(1, now);
    let from = question.from.map_or(to - usual, Timestamp::as_microsecond).max(0);
    if from >= to {
        let words = "from: it lies behind `to`, or in the future";
        return Err(StatsError::Bad(words.to_owned()));
    }
    let kept = Store::HOURS_KEPT.as_micros() as i64;
    if bucket == Bucket::Hour && from < now - kept {
        let words =
            format!("from: hours are kept for {} days; ask for days", Store::HOURS_KEPT.as_secs() / 86_400);
        return Err(StatsError::Bad(words));
    }
    let periods = Periods { bucket, from: bucket.of(from), to: bucket.after(to) };
    if matches!(question.by, By::Period(_)) && periods.to - periods.from > PERIODS {
        let words = format!("bucket: that is more than {PERIODS} periods; take longer ones, or less time");
        return Err(StatsError::Bad(words));
    }
    Ok(periods)
}

fn item(bucket: Bucket, period: i64, tally: &Tally) -> Result<StatsItem, StatsError> {
    Ok(StatsItem {
        from: Some(time(bucket.begin(period))?),
        to: Some(time(bucket.begin(period + 1))?),
        counts: counts(tally),
        ..StatsItem::default()
    })
}

fn named(part: &Part, apart: Apart, names: &HashMap<RepoId, String>) -> StatsItem {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    StatsItem {
        repo: names.get(&part.repo).cloned().filter(|_| apart == Apart::Repo),
        branch: some(&part.branch).filter(|_| apart == Apart::Branch),
        job: some(&part.job).filter(|_| matches!(apart, Apart::Job | Apart::Stage)),
        stage: some(&part.stage).filter(|_| apart == Apart::Stage),
        counts: counts(&part.tally),
        ..StatsItem::default()
    }
}

fn counts(tally: &Tally) -> Counts {
    let percentiles = |times: &ocelot_model::tally::Histogram| Percentiles {
        p50: times.percentile(0.5),
        p95: times.percentile(0.95),
    };
    Counts {
        total: tally.total(),
        counts: ByStatus {
            passed: tally.count(Status::Passed),
            failed: tally.count(Status::Failed),
            error: tally.count(Status::Error),
            timed_out: tally.count(Status::TimedOut),
            cancelled: tally.count(Status::Cancelled),
            skipped: tally.count(Status::Skipped),
        },
        pass_rate: tally.pass_rate(),
        duration_ms: percentiles(&tally.duration),
        queue_ms: percentiles(&tally.wait),
    }
}

fn time(us: i64) -> Result<Timestamp, StatsError> {
    Timestamp::from_microsecond(us).map_err(|error| StatsError::Bad(error.to_string()))
}
