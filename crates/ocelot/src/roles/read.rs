//! Reads the values of options, wherever they come from. What is refused here is refused before anything is done.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use url::Url;

/// Labels that a worker has by itself.
const OWN_LABELS: [&str; 3] = ["os", "arch", "executor"];
/// Longest name, key and value that a server takes from a worker.
const NAME_MAX: usize = 100;
const KEY_MAX: usize = 63;
/// More than any machine has.
const CORES_MAX: f64 = 10_000.0;

/// `http://host:port` or `https://…`, without a slash at its end.
pub(crate) fn web_address(text: &str) -> Result<String, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or("write an address such as http://127.0.0.1:8080 or https://ci.example.org")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address has no user name or password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("an address ends before `?` and `#`".to_owned());
    }
    Ok(text.trim().trim_end_matches('/').to_owned())
}

/// `127.0.0.1:8080`.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "write an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080".to_owned()
    })
}

/// `10.0.0.0/8`, or an address alone.
pub(crate) fn network(text: &str) -> Result<String, String> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let most = address.parse().map(|address| if matches!(address, IpAddr::V4(_)) { 32 } else { 128 });
    match (most, bits.map(str::parse::<u32>)) {
        (Ok(_), None) => Ok(text.to_owned()),
        (Ok(most), Some(Ok(bits))) if bits <= most => Ok(text.to_owned()),
        _ => Err("write an IP address or a network, such as 10.0.0.0/8 or ::1".to_owned()),
    }
}

/// `sqlite:///path/ocelot.db` or `postgres://…`.
pub(crate) fn database(text: &str) -> Result<String, String> {
    let good = match text.split_once(':') {
        Some(("sqlite", path)) => !path.trim_start_matches('/').is_empty(),
        Some(("postgres" | "postgresql", _)) => Url::parse(text).is_ok(),
        _ => false,
    };
    if good { Ok(text.to_owned()) } else { Err("it must begin with sqlite:// or postgres://".to_owned()) }
}

/// `KEY=VALUE`, of the characters that a job may ask for.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let good = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
        (1..=KEY_MAX).contains(&part.len()) && part.bytes().all(plain)
    };
    match text.split_once('=') {
        Some((key, _)) if OWN_LABELS.contains(&key) => Err(format!("a worker finds `{key}` out by itself")),
        Some((key, value)) if good(key) && good(value) => Ok((key.to_owned(), value.to_owned())),
        Some(_) => Err(format!(
            "a label has letters, digits, `.`, `_`, `-` and `/` on both sides of `=`, at most {KEY_MAX}"
        )),
        None => Err("write KEY=VALUE".to_owned()),
    }
}

/// The name of a worker.
pub(crate) fn worker_name(text: &str) -> Result<String, String> {
    let good = !text.trim().is_empty() && text.len() <= NAME_MAX && !text.chars().any(char::is_control);
    if good { Ok(text.to_owned()) } else { Err(format!("a name has 1 to {NAME_MAX} characters")) }
}

/// `3m`, `90s`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| "it is no time; write for example 90s or 3m".to_owned())?;
    let parsed = Duration::try_from(parsed).ok().filter(|time| !time.is_zero());
    parsed.ok_or_else(|| "it must be more than nothing".to_owned())
}

/// How old something may become; `None` for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) Option<Duration>);

/// `36h`, `90d`, `12w`, `2y` (of 365 days); `0` and `forever` for no end.
pub(crate) fn age(text: &str) -> Result<Age, String> {
    if matches!(text, "0" | "forever") {
        return Ok(Age(None));
    }
    let bad = || "write a whole number with h, d, w or y, such as 90d or 2y; `forever` for no end".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(digits);
    let hours: u64 = match unit {
        "h" => 1,
        "d" => 24,
        "w" => 7 * 24,
        "y" => 365 * 24,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    let hours = number.checked_mul(hours).filter(|hours| (1..=1000 * 365 * 24).contains(hours));
    let hours = hours.ok_or_else(|| "it must be from 1h to 1000y; `forever` for no end".to_owned())?;
    Ok(Age(Some(Duration::from_hours(hours))))
}

/// `512KiB`, `100MiB`, `1GiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("write a number with KiB, MiB or GiB, such as 100MiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write a whole number before the unit".to_owned())?;
    number.checked_mul(1 << shift).filter(|n| *n > 0).ok_or_else(|| "that is out of range".to_owned())
}

/// A size that may be given up: 0 stands for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) u64);

/// As [`size`], or `0`.
pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    if text == "0" {
        Ok(Limit(0))
    } else {
        size(text).map(Limit).map_err(|why| format!("{why}; 0 for no limit"))
    }
}

/// `2`, `0.5`.
pub(crate) fn cores(text: &str) -> Result<f64, String> {
    let cores = text.parse().ok().filter(|cores: &f64| (0.01..=CORES_MAX).contains(cores));
    cores.ok_or_else(|| format!("write a number of processor cores up to {CORES_MAX}, such as 2 or 0.5"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: std::fmt::Debug>(read: fn(&str) -> Result<T, String>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(read(text).is_ok(), "{text}: {:?}", read(text));
        }
        for text in bad {
            assert!(read(text).is_err(), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("100MiB"), Ok(100 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        check(size, &[], &["", "MiB", "1", "1MB", "0MiB", "-1MiB", "99999999999999GiB"]);
    }

    #[test]
    fn limits() {
        assert_eq!(["5GiB", "0"].map(limit), [Ok(Limit(5 << 30)), Ok(Limit(0))]);
        check(limit, &[], &["", "5", "0GiB", "none"]);
    }

    #[test]
    fn processor_cores() {
        check(cores, &["2", "0.5"], &["", "0", "-1", "many", "inf", "NaN", "1e300", "2 cores"]);
    }

    #[test]
    fn times() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        check(duration, &["3m", "500ms"], &["", "3", "soon", "-3m", "0s"]);
    }

    #[test]
    fn ages() {
        let hours = |n| Ok(Age(Some(Duration::from_hours(n))));
        assert_eq!(
            ["36h", "90d", "2w", "2y"].map(age),
            [hours(36), hours(90 * 24), hours(14 * 24), hours(730 * 24)]
        );
        assert_eq!(["0", "forever"].map(age), [Ok(Age(None)), Ok(Age(None))]);
        check(
            age,
            &[],
            &["", "d", "90", "90 d", "-1d", "0d", "1.5y", "90m", "1001y", "never", "99999999999999999999d"],
        );
    }

    #[test]
    fn addresses() {
        assert_eq!(web_address("https://ci.example.org/"), Ok("https://ci.example.org".to_owned()));
        let bad =
            ["", "host", "host:80", "ftp://h", "http://", "http://u:p@h", "http://h/?q", "http://h:99999"];
        check(web_address, &["http://[::1]:8080", "https://h/below"], &bad);
        check(
            address,
            &["127.0.0.1:0", "[::]:80"],
            &["", ":80", "localhost:80", "127.0.0.1", "1.2.3.4:70000"],
        );
        check(network, &["10.0.0.0/8", "::/0", "127.0.0.1"], &["", "10.0.0.0/33", "::/129", "h/8", "::1/"]);
        let good = ["sqlite:///a/b", "sqlite://a.db", "postgres://u:p@h/d", "postgresql:///d"];
        check(database, &good, &["", "sqlite://", "sqlite:", "mysql://h/d", "/a/b"]);
    }

    #[test]
    fn labels() {
        assert_eq!(label("disk=ssd"), Ok(("disk".to_owned(), "ssd".to_owned())));
        check(
            label,
            &["a=b", "a/b=1.2"],
            &["", "a", "=b", "a=", "a b=c", "a=b=c", "os=linux", "executor=host"],
        );
    }
}
