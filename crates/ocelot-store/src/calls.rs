//! What every call of the store has in common: it ends, and it is counted.
//!
//! A database that neither answers nor refuses (a stopped process, a cut cable) must not hold callers for ever. A call
//! that was given up may still have happened; callers say things again, which is harmless everywhere.

use std::time::{Duration, Instant};

use crate::StoreError;

/// Longest time for a call that reads or writes a few rows.
pub(crate) const SHORT: Duration = Duration::from_secs(20);
/// Longest time for one that does its work in many transactions.
pub(crate) const LONG: Duration = Duration::from_mins(30);

/// Makes a call that ends in `limit`, and counts its time under the name of its method, of which there are only so many.
pub(crate) async fn timed<T, E: From<StoreError>>(
    query: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let begin = Instant::now();
    let result = tokio::time::timeout(limit, call).await;
    metrics::histogram!("ocelot_db_query_duration_seconds", "query" => query)
        .record(begin.elapsed().as_secs_f64());
    result.unwrap_or_else(|_| {
        let words = format!("no answer within {} s ({query})", limit.as_secs());
        Err(StoreError::Unavailable(words).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_hangs_is_given_up() {
        let hangs = std::future::pending::<Result<(), StoreError>>();
        let error = timed("hang", Duration::from_millis(1), hangs).await;
        assert!(matches!(error, Err(StoreError::Unavailable(words)) if words.contains("hang")));
        let answers = async { Ok::<_, StoreError>(7) };
        assert!(matches!(timed("seven", SHORT, answers).await, Ok(7)));
    }
}
