//! A person lets a build start that waits for that.

use ocelot_model::build::{Change, Happening};
use ocelot_model::{BuildNumber, Status};

use super::advance::advance_in;
use super::{Conn, Core, detail, state};
use crate::raw::clean;
use crate::{StoreError, Wake};

impl Core {
    pub(crate) async fn approve(&self, number: BuildNumber, by: &str) -> Result<Vec<Change>, StoreError> {
        let mut tx = self.begin().await?;
        // Before anything is locked: whoever only asks again must not stand in a claim's way.
        if !waits(tx.conn(), number).await? {
            return Ok(Vec::new());
        }
        state::lock(tx.conn(), number).await?;
        let now = tx.now;
        let approved = sqlx::query(
            "UPDATE builds SET approved_by = $1, approved_at = $2
             WHERE number = $3 AND approved_by IS NULL AND status = 'blocked'",
        )
        .bind(clean(by))
        .bind(now)
        .bind(number.0)
        .execute(tx.conn())
        .await?;
        let changes = if approved.rows_affected() > 0 {
            advance_in(&mut tx, number, Happening::Approved).await?
        } else {
            // Somebody was faster, and a claim may have passed over the rows that were locked here.
            tx.wake(Wake::Queue);
            Vec::new()
        };
        self.commit(tx).await?;
        Ok(changes)
    }
}

/// Whether it waits; when it neither does nor did, the words why.
async fn waits(conn: &mut Conn, number: BuildNumber) -> Result<bool, StoreError> {
    let build = detail::load_build(conn, number).await?;
    if !build.trust.needs_approval {
        return Err(StoreError::Conflict(format!("build {number} waits for no approval")));
    }
    if build.trust.may_start() {
        return Ok(false);
    }
    match build.status {
        Status::Blocked => Ok(true),
        status => Err(StoreError::Conflict(format!(
            "build {number} waits for no approval any more: it is {status}"
        ))),
    }
}
