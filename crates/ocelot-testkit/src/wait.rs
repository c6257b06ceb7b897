//! Waiting for a condition. Never for a time.

use std::time::{Duration, Instant};

/// Long enough for a busy machine; nothing waits for it when all is well.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Asks until there is an answer; panics with `what` when there is none in [`DEADLINE`].
pub async fn wait_for<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
