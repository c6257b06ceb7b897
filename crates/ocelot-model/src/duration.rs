//! Lengths of time: counted in milliseconds, and as people read them.

use std::time::Duration;

use jiff::Timestamp;

/// Milliseconds from one time to another; none when the other one is earlier.
pub fn between(from: Timestamp, to: Timestamp) -> i64 {
    ms(from.as_microsecond(), to.as_microsecond())
}

/// The same for times in microseconds, as they are stored. Rounded, so that all who ask say the same.
pub fn ms(from: i64, to: i64) -> i64 {
    to.saturating_sub(from).max(0).saturating_add(500) / 1000
}

/// What was measured, rounded: `40 ms`, `1.4 s`, `12 s`, `3 min 5 s`, `1 h 2 min`.
pub fn took(ms: i64) -> String {
    let ms = ms.max(0);
    let rounded = |unit: i64| ms.saturating_add(unit / 2) / unit;
    let (tenths, seconds, minutes) = (rounded(100), rounded(1_000), rounded(60_000));
    match ms {
        0..1_000 => format!("{ms} ms"),
        _ if tenths < 100 => format!("{}.{} s", tenths / 10, tenths % 10),
        _ if seconds < 60 => format!("{seconds} s"),
        _ if seconds < 3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

/// What somebody set, exactly, in the largest unit that it is a whole number of: `30 days`, `36 h`, `90 min`, `61 s`, `250 ms`.
pub fn exact(time: Duration) -> String {
    let ms = time.as_millis();
    match ms {
        0 => "0 s".to_owned(),
        _ if ms.is_multiple_of(86_400_000) && ms > 86_400_000 => format!("{} days", ms / 86_400_000),
        _ if ms.is_multiple_of(3_600_000) => format!("{} h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        _ => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_rounded() {
        let check = |ms, want: &str| assert_eq!(took(ms), want, "{ms} ms");
        check(-5, "0 ms");
        check(0, "0 ms");
        check(999, "999 ms");
        check(1_000, "1.0 s");
        check(1_449, "1.4 s");
        check(1_450, "1.5 s");
        check(9_949, "9.9 s");
        check(9_950, "10 s");
        check(59_499, "59 s");
        check(59_500, "1 min 0 s");
        check(185_000, "3 min 5 s");
        check(3_599_499, "59 min 59 s");
        check(3_599_500, "1 h 0 min");
        check(3_749_999, "1 h 2 min");
        check(3_750_000, "1 h 3 min");
        check(200_000_000, "55 h 33 min");
        assert!(took(i64::MAX).ends_with(" min"));
    }

    #[test]
    fn what_was_set_is_exact() {
        let check = |ms, want: &str| assert_eq!(exact(Duration::from_millis(ms)), want, "{ms} ms");
        check(0, "0 s");
        check(5, "5 ms");
        check(1_250, "1250 ms");
        check(61_000, "61 s");
        check(180_000, "3 min");
        check(5_400_000, "90 min");
        check(86_400_000, "24 h");
        check(36 * 3_600_000, "36 h");
        check(30 * 86_400_000, "30 days");
        assert!(exact(Duration::MAX).ends_with(" ms"));
    }

    #[test]
    fn milliseconds_are_rounded() {
        let check = |from, to, want| assert_eq!(ms(from, to), want, "{from} to {to}");
        check(0, 499, 0);
        check(999, 1_500, 1);
        check(1_700, 3_300, 2);
        check(5_000, 4_000, 0);
        check(i64::MIN, i64::MAX, i64::MAX / 1000);
    }
}
