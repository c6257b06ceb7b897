//! The one way in which the state of a build changes after it was made.

use std::sync::atomic::Ordering;

use ocelot_model::BuildNumber;
use ocelot_model::build::{self, Change, Happening};

use super::state::{self, Writer};
use super::{Core, Tx};
use crate::raw::clean;
use crate::{StoreError, Wake};

impl Core {
    pub(crate) async fn advance(
        &self,
        number: BuildNumber,
        what: Happening,
    ) -> Result<Vec<Change>, StoreError> {
        let mut tx = self.begin().await?;
        let changes = advance_in(&mut tx, number, what).await?;
        if self.jobs_per_repo.load(Ordering::Relaxed) > 0 {
            // What ended may have been what kept others of its repository waiting.
            tx.wake(Wake::Queue);
        }
        self.commit(tx).await?;
        self.wake_later(&changes);
        Ok(changes)
    }

    /// Attempts that must wait a while need someone to look again when the while is over.
    pub(super) fn wake_later(&self, changes: &[Change]) {
        for change in changes {
            if let Change::NewAttempt { delay_ms, .. } = change {
                self.wakes.send_later(Wake::Queue, std::time::Duration::from_millis(*delay_ms));
            }
        }
    }
}

/// Locks the build, applies the rules, writes what follows. The caller commits.
pub(super) async fn advance_in(
    tx: &mut Tx,
    number: BuildNumber,
    what: Happening,
) -> Result<Vec<Change>, StoreError> {
    let cancel = matches!(what, Happening::CancelRequested { .. });
    let mut locked = state::lock(tx.conn(), number).await?;
    let before = locked.state.clone();
    let changes = build::advance(&mut locked.state, what).map_err(|build::Stale| StoreError::Stale)?;
    if cancel && !before.status.is_terminal() {
        let now = tx.now;
        sqlx::query(
            "UPDATE builds SET cancel_requested_at = coalesce(cancel_requested_at, $1), reason = $3 WHERE number = $2",
        )
        .bind(now)
        .bind(number.0)
        .bind(locked.state.cancel_reason.as_deref().map(clean))
        .execute(tx.conn())
        .await?;
        tx.wake(Wake::Cancel(number));
    }
    Writer::new(tx, &locked, &before).write(&before, &changes).await?;
    Ok(changes)
}
