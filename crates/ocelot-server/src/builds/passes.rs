//! A build of another repository passed: the branch that is mapped to its branch is built.
//!
//! The build and the note that it was made are one transaction, as those of [`times`](super::times).

use std::time::Duration;

use ocelot_model::{EventKind, Trust};
use ocelot_store::{Due, Joined, Pass, PassTurn, StoreError, crash};

use super::arrive::cancel;
use super::clone;
use super::plan::{FILE, Origin};
use super::times::heals;
use super::trigger::{self, TriggerError};
use crate::App;

/// One whose server has died is taken up again after so long.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// How often it is tried when the host does not answer: for about a day.
const TRIES: u32 = 30;
const FIRST_DELAY: Duration = Duration::from_secs(15);
const LONGEST_DELAY: Duration = Duration::from_hours(1);

/// Makes the build that follows; or says why there is none.
pub(crate) async fn follow(app: &App, pass: &Pass, turn: PassTurn) -> Result<(), StoreError> {
    crash::point("pass-taken");
    let done = tokio::select! {
        done = Box::pin(build(app, pass, turn)) => done,
        () = stay(app, turn) => return Ok(()),
    };
    match done {
        Ok(()) => Ok(()),
        // Somebody else was faster.
        Err(TriggerError::Store(StoreError::Stale)) => Err(StoreError::Stale),
        Err(error) => {
            let again = (heals(&error) && pass.tries < TRIES).then(|| delay(pass.tries));
            app.store.settle_pass(turn, &error.to_string(), again).await
        }
    }
}

/// Says from time to time that somebody is at it; never ends.
async fn stay(app: &App, turn: PassTurn) {
    loop {
        tokio::time::sleep(LEASE / 3).await;
        match app.store.keep_pass(turn, LEASE).await {
            // What is done, or another server's, is found out by who does it.
            Ok(()) | Err(StoreError::Stale) => {}
            Err(error) => tracing::warn!(%error, "a build that is to be followed cannot be kept"),
        }
    }
}

fn delay(tries: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << tries.min(10)).min(LONGEST_DELAY)
}

async fn build(app: &App, pass: &Pass, turn: PassTurn) -> Result<(), TriggerError> {
    let Pass { repo, branch, alias, .. } = pass;
    let url = clone::url(app, repo).await?;
    let (commit, snapshot) = app.git.head(&url, branch, FILE).await?;
    let outdated = match app.store.join_pass(turn, branch, &commit).await? {
        Joined::Taken(_) => return Ok(()),
        Joined::Outdated(builds) => builds,
    };
    let origin = Origin {
        upstream: vec![alias.clone()],
        due: Some(Due::Pass(turn)),
        ..Origin::new(EventKind::Subscription, branch, format!("subscription {alias}"), Trust::own())
    };
    let made = trigger::from_snapshot(app, repo, &commit, snapshot, origin).await?;
    crash::point("pass-built");
    cancel(app, &outdated, &format!("superseded by build {}", made.build.number)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_for_about_a_day() {
        assert_eq!(delay(0), FIRST_DELAY);
        assert_eq!(delay(TRIES), LONGEST_DELAY);
        let whole: Duration = (0..TRIES).map(delay).sum();
        assert!((Duration::from_hours(20)..Duration::from_hours(30)).contains(&whole), "{whole:?}");
    }
}
