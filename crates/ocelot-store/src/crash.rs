//! Named places at which a test lets this process die, as the end of electricity would.
//!
//! Only with the feature `crash-points`, which the tests of the executable turn on; otherwise nothing of this is
//! compiled, and the calls are empty.

/// Ends the process at once when `OCELOT_CRASH_AT` says `name`, or `name:N` and it is the N-th time that somebody comes
/// by here.
#[cfg(feature = "crash-points")]
pub fn point(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static WANTED: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let wanted = std::env::var("OCELOT_CRASH_AT").ok()?;
        let (name, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some((name.to_owned(), AtomicU32::new(times.parse().ok()?)))
    });
    let Some((wanted, left)) = &*WANTED else { return };
    if wanted == name && left.fetch_sub(1, Ordering::SeqCst) == 1 {
        eprintln!("dying at {name}, as OCELOT_CRASH_AT wants it");
        std::process::abort();
    }
}

/// Nothing, in all but tests.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_name: &str) {}
