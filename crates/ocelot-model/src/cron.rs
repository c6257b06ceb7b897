//! When something comes round: an expression of cron in a time zone. Reads no clock: who asks says what time it is.

use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Longest expression, in bytes.
const MAX: usize = 200;
/// What is due at the same minute is spread over so much of it.
const SPREAD_SECONDS: i64 = 30;

/// A checked expression in a checked time zone.
#[derive(Debug, Clone)]
pub struct Cron {
    text: String,
    zone: String,
    parsed: croner::Cron,
    tz: TimeZone,
}

/// The text is no time that comes round; says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCron {
    /// The expression.
    #[error("`{text}` is no cron expression: {why}")]
    Expression {
        /// As given.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// It never comes.
    #[error("`{0}` never comes: there is no such day")]
    Never(String),
    /// The time zone.
    #[error("`{0}` is no time zone; write one like Europe/Rome or UTC")]
    Zone(String),
}

impl Cron {
    /// Five fields (minute, hour, day, month, weekday) or a word like `@daily`; `zone` is a name like `Europe/Rome`, and
    /// UTC when empty.
    pub fn new(text: &str, zone: &str) -> Result<Cron, BadCron> {
        let bad = |why: &str| BadCron::Expression { text: shown(text), why: why.to_owned() };
        let text = text.trim();
        if text.len() > MAX {
            return Err(bad("it is too long"));
        }
        if !text.starts_with('@') && text.split_whitespace().count() != 5 {
            return Err(bad("it has five fields, minute hour day month weekday, such as `30 3 * * 1-5`"));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let parsed = parser.parse(text).map_err(|error| match text.starts_with('@') {
            true => bad("the words are @hourly, @daily, @weekly, @monthly and @yearly"),
            false => bad(&words(&error)),
        })?;
        let zone = if zone.is_empty() { "UTC" } else { zone };
        let tz = TimeZone::get(zone).map_err(|_| BadCron::Zone(shown(zone)))?;
        let cron = Cron { text: text.to_owned(), zone: zone.to_owned(), parsed, tz };
        // Any day is as good to find out from: what comes at all comes within four years, or eight around 2100.
        match cron.time_after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(cron),
            None => Err(BadCron::Never(shown(text))),
        }
    }

    /// The expression, as given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The time zone's name.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// In words, in English.
    pub fn describe(&self) -> String {
        self.parsed.describe()
    }

    /// The first time after `now`. `seed` tells apart what has the same expression: each is late by its own few seconds,
    /// always the same, so that not all begin at once.
    pub fn next(&self, now: Timestamp, seed: u64) -> Option<Timestamp> {
        let late = SignedDuration::from_secs((seed.wrapping_mul(7_919) % SPREAD_SECONDS as u64) as i64);
        // A time that has come, but is not due yet, still counts.
        let from = now.checked_sub(late).ok()?;
        self.time_after(from)?.checked_add(late).ok()
    }

    fn time_after(&self, from: Timestamp) -> Option<Timestamp> {
        let from = from.to_zoned(self.tz.clone());
        self.parsed.find_next_occurrence(&from, false).ok().map(|found| found.timestamp())
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Cron) -> bool {
        (&self.text, &self.zone) == (&other.text, &other.zone)
    }
}

fn shown(text: &str) -> String {
    text.chars().take(60).filter(|c| !c.is_control()).collect()
}

fn words(error: &croner::errors::CronError) -> String {
    use croner::errors::CronError;
    match error {
        CronError::InvalidPattern(why)
        | CronError::IllegalCharacters(why)
        | CronError::ComponentError(why) => why.trim_end_matches('.').to_lowercase(),
        CronError::EmptyPattern => "it is empty".to_owned(),
        CronError::InvalidDate | CronError::InvalidTime | CronError::TimeSearchLimitExceeded => {
            "there is no such time".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times after `from`, of which `seed` 0 is not late.
    fn check(text: &str, zone: &str, from: &str, want: &[&str]) {
        let cron = Cron::new(text, zone).unwrap();
        let mut now: Timestamp = from.parse().unwrap();
        for want in want {
            now = cron.next(now, 0).unwrap();
            assert_eq!(now.to_string(), *want, "{text} {zone}");
        }
    }

    #[test]
    fn times_come_round() {
        check("0 3 * * *", "", "2026-11-29T03:00:00Z", &["2026-11-30T03:00:00Z", "2026-12-01T03:00:00Z"]);
        check("*/15 * * * *", "", "2026-11-29T10:07:11Z", &["2026-11-29T10:15:00Z", "2026-11-29T10:30:00Z"]);
        check("@daily", "Europe/Rome", "2026-11-29T12:00:00Z", &["2026-11-29T23:00:00Z"]);
        check("0 9 * * MON", "America/New_York", "2026-11-29T00:00:00Z", &["2026-11-30T14:00:00Z"]);
        check("0 0 L * *", "", "2026-02-01T00:00:00Z", &["2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"]);
    }

    #[test]
    fn the_clock_that_is_put_on_or_back_skips_and_doubles_nothing() {
        // 02:30 does not exist on 2026-03-29 in Rome, and exists twice on 2026-10-25.
        let days = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
        check("30 2 * * *", "Europe/Rome", "2026-03-27T12:00:00Z", &days);
        let days = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        check("30 2 * * *", "Europe/Rome", "2026-10-23T12:00:00Z", &days);
    }

    #[test]
    fn each_is_late_by_its_own_seconds_and_misses_nothing() {
        let cron = Cron::new("* * * * *", "").unwrap();
        let mut seen = std::collections::HashSet::new();
        for seed in 0..200 {
            let mut now: Timestamp = "2026-11-29T10:00:00Z".parse().unwrap();
            let first = cron.next(now, seed).unwrap();
            assert!(first.duration_since(now) <= SignedDuration::from_secs(60 + SPREAD_SECONDS));
            seen.insert(first);
            now = first;
            for _ in 0..3 {
                let next = cron.next(now, seed).unwrap();
                assert_eq!(next.duration_since(now), SignedDuration::from_secs(60));
                now = next;
            }
        }
        assert!(seen.len() > 20, "{}", seen.len());
    }

    #[test]
    fn bad_ones_are_refused_in_words() {
        let check = |text: &str, zone: &str, want: &str| {
            let error = Cron::new(text, zone).unwrap_err().to_string();
            assert!(error.contains(want), "{text:?}: {error}");
        };
        check("", "", "five fields");
        check("* * * *", "", "five fields");
        check("0 * * * * *", "", "five fields");
        check("61 * * * *", "", "`61 * * * *` is no cron expression");
        check("@sometimes", "", "`@sometimes` is no cron expression");
        check("0 0 30 2 *", "", "never comes");
        check("0 3 * * *", "Rome", "no time zone");
        check(&"* ".repeat(200), "", "too long");
    }
}
