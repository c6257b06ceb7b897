//! Times as people type them.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A time, a day (its beginning, in the time zone of this machine), or how long ago: `90m`, `12h`, `7d`, `4w`.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    parse_at(text, Timestamp::now())
}

fn parse_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let bad =
        || format!("`{text}` is no time; write 2026-01-31, 2026-01-31T12:00:00Z, or 7d for seven days ago");
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(day) = text.parse::<Date>() {
        return Ok(day.to_zoned(TimeZone::system()).map_err(|_| bad())?.timestamp());
    }
    let unit = match text.chars().last() {
        Some('m') => 1,
        Some('h') => 60,
        Some('d') => 24 * 60,
        Some('w') => 7 * 24 * 60,
        _ => return Err(bad()),
    };
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    let minutes =
        count.checked_mul(unit).filter(|minutes| (0..=i64::MAX / 60).contains(minutes)).ok_or_else(bad)?;
    now.checked_sub(SignedDuration::from_mins(minutes)).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_type_them() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().expect("a time");
        for (text, want) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z"),
            ("90m", "2026-11-29T10:30:00Z"),
            ("12h", "2026-11-29T00:00:00Z"),
            ("7d", "2026-11-22T12:00:00Z"),
            ("2w", "2026-11-15T12:00:00Z"),
        ] {
            assert_eq!(parse_at(text, now).map(|at| at.to_string()).as_deref(), Ok(want), "{text}");
        }
        assert!(parse_at("2026-01-31", now).is_ok());
        for text in ["", "d", "7", "-7d", "7y", "yesterday", "9223372036854775807w", "2026-13-01", "7ü"] {
            assert!(parse_at(text, now).is_err(), "{text}");
        }
    }
}
