//! Hours, days and weeks (from Monday), in UTC, as numbers since 1970.

use serde::{Deserialize, Serialize};

const HOUR_US: i64 = 3_600_000_000;
/// 1970 began on a Thursday.
const MONDAY: i64 = 3 * 24;

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// One hour.
    Hour,
    /// 24 hours from midnight.
    Day,
    /// Seven days from Monday.
    Week,
}

impl Bucket {
    /// All, the shortest first.
    pub const ALL: [Bucket; 3] = [Bucket::Hour, Bucket::Day, Bucket::Week];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Bucket::Hour => "hour",
            Bucket::Day => "day",
            Bucket::Week => "week",
        }
    }

    /// How many hours it has.
    pub const fn hours(self) -> i64 {
        match self {
            Bucket::Hour => 1,
            Bucket::Day => 24,
            Bucket::Week => 168,
        }
    }

    const fn offset(self) -> i64 {
        match self {
            Bucket::Hour | Bucket::Day => 0,
            Bucket::Week => MONDAY,
        }
    }

    /// The period in which a time lies, in microseconds since 1970.
    pub const fn of(self, us: i64) -> i64 {
        (us.div_euclid(HOUR_US) + self.offset()).div_euclid(self.hours())
    }

    /// When a period begins.
    pub const fn begin(self, period: i64) -> i64 {
        (period * self.hours() - self.offset()) * HOUR_US
    }

    /// The first period that does not begin before a time.
    pub const fn after(self, us: i64) -> i64 {
        let period = self.of(us);
        if self.begin(period) == us { period } else { period + 1 }
    }
}

impl std::str::FromStr for Bucket {
    type Err = String;

    fn from_str(text: &str) -> Result<Bucket, String> {
        let known = Bucket::ALL.into_iter().find(|bucket| bucket.as_str() == text);
        known.ok_or_else(|| format!("`{text}` is none of hour, day and week"))
    }
}

/// Whole days as few periods as possible: weeks, and days at both ends. Each part is a bucket with its first period and the
/// one behind its last.
pub fn cover(from_day: i64, to_day: i64) -> Vec<(Bucket, i64, i64)> {
    let day = Bucket::Day;
    let first = Bucket::Week.after(day.begin(from_day));
    let last = Bucket::Week.of(day.begin(to_day));
    if first >= last {
        return vec![(day, from_day, to_day)];
    }
    let (begin, end) = (day.of(Bucket::Week.begin(first)), day.of(Bucket::Week.begin(last)));
    let mut parts = vec![(day, from_day, begin), (Bucket::Week, first, last), (day, end, to_day)];
    parts.retain(|(_, from, to)| from < to);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().expect("a time").as_microsecond()
    }

    #[test]
    fn periods_begin_where_people_expect_it() {
        for (bucket, at, begin) in [
            (Bucket::Hour, "2026-11-29T18:30:00Z", "2026-11-29T18:00:00Z"),
            (Bucket::Day, "2026-11-29T18:30:00Z", "2026-11-29T00:00:00Z"),
            (Bucket::Week, "2026-11-29T18:30:00Z", "2026-11-23T00:00:00Z"),
            (Bucket::Week, "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Bucket::Week, "1970-01-01T00:00:00Z", "1969-12-29T00:00:00Z"),
            (Bucket::Day, "1969-12-31T23:59:59Z", "1969-12-31T00:00:00Z"),
        ] {
            assert_eq!(bucket.begin(bucket.of(us(at))), us(begin), "{bucket:?} {at}");
            let after = if at == begin { bucket.of(us(at)) } else { bucket.of(us(at)) + 1 };
            assert_eq!(bucket.after(us(at)), after, "{bucket:?} {at}");
        }
    }

    #[test]
    fn days_are_covered_once() {
        for from in 20_000..20_020 {
            for to in from..from + 40 {
                let mut days = Vec::new();
                for (bucket, first, last) in cover(from, to) {
                    for period in first..last {
                        let begin = Bucket::Day.of(bucket.begin(period));
                        days.extend(begin..begin + bucket.hours() / 24);
                    }
                }
                days.sort_unstable();
                assert_eq!(days, (from..to).collect::<Vec<_>>(), "{from} to {to}");
            }
        }
        assert!(cover(20_000, 20_365).iter().map(|(_, from, to)| to - from).sum::<i64>() < 65);
    }
}
