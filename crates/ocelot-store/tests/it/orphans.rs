//! Rows that do not fit together are found and mended.

use ocelot_model::Status;
use sqlx::Connection as _;

use crate::bed::{Bed, LONG, finished};

both!(
    whole_builds_are_left_alone,
    a_job_that_nobody_holds_is_lost_and_tried_again,
    a_job_ends_as_its_attempt_has,
    a_job_that_waits_nowhere_waits_again,
    a_build_whose_jobs_are_over_ends,
    a_job_whose_needs_are_met_goes_on,
);

impl Bed {
    /// Writes to the database as nobody should.
    pub(crate) async fn spoil(&self, sql: &'static str) {
        if self.is_shared() {
            let mut conn = sqlx::PgConnection::connect(&self.options.database_url).await.unwrap();
            sqlx::query(sql).execute(&mut conn).await.unwrap();
        } else {
            let mut conn = sqlx::SqliteConnection::connect(&self.options.database_url).await.unwrap();
            sqlx::query(sql).execute(&mut conn).await.unwrap();
        }
    }

    /// Mends the one build that is found; what was done, and how it stands then.
    async fn mended(&self) -> (String, String) {
        let found = self.store.orphans(10).await.unwrap();
        let [number] = found[..] else { panic!("{found:?}") };
        let mended = self.store.mend(number).await.unwrap();
        assert_eq!(self.store.orphans(10).await.unwrap(), []);
        (mended.what.join("; "), self.picture(number).await)
    }

    async fn check(&self, what: &str, picture: &str) {
        assert_eq!(self.mended().await, (what.to_owned(), picture.to_owned()));
    }
}

async fn whole_builds_are_left_alone(bed: Bed) {
    let worker = bed.worker("w", "").await;
    bed.build("a b<a").await;
    let running = bed.build("a b<a").await.build.number;
    bed.build("a").await;
    bed.claim(worker).await.unwrap();
    bed.claim(worker).await.unwrap();
    assert_eq!(bed.store.orphans(10).await.unwrap(), []);
    let mended = bed.store.mend(running).await.unwrap();
    assert_eq!((mended.what.len(), mended.changes.len()), (0, 0));
}

async fn a_job_that_nobody_holds_is_lost_and_tried_again(bed: Bed) {
    let worker = bed.worker("w", "").await;
    bed.build("a").await;
    let claimed = bed.claim(worker).await.unwrap();
    bed.spoil("UPDATE attempts SET lease_until = NULL, lease_token = NULL").await;
    bed.check("job a ran and nobody held it: it is lost", "running: a queued#2").await;
    assert_eq!(bed.store.renew(worker, &[claimed.lease], LONG).await.unwrap().len(), 1);
    assert_eq!(bed.store.queue_depth().await.unwrap(), 1);
}

async fn a_job_ends_as_its_attempt_has(bed: Bed) {
    let worker = bed.worker("w", "").await;
    bed.build("a b<a").await;
    bed.claim(worker).await.unwrap();
    bed.spoil("UPDATE attempts SET lease_until = NULL, lease_token = NULL, status = 'passed' WHERE worker IS NOT NULL")
        .await;
    bed.check("job a ran and nobody held it: it ends as passed", "running: a passed, b queued").await;
    assert!(bed.claim(worker).await.is_some());
}

async fn a_job_that_waits_nowhere_waits_again(bed: Bed) {
    let worker = bed.worker("w", "").await;
    bed.build("a b<a").await;
    bed.spoil("DELETE FROM queue").await;
    let words = "job a was in no queue: it is again; job b was in no queue: it is again";
    bed.check(words, "queued: a queued, b queued").await;
    assert!(bed.claim(worker).await.is_some());
    assert!(bed.claim(worker).await.is_none());
}

async fn a_build_whose_jobs_are_over_ends(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let number = bed.build("a").await.build.number;
    let claimed = bed.claim(worker).await.unwrap();
    bed.store.advance(number, finished(&claimed, Status::Passed)).await.unwrap();
    bed.spoil("UPDATE builds SET status = 'running', finished_at = NULL").await;
    bed.check("its jobs stood so that more had to follow: it has", "passed: a passed").await;
}

async fn a_job_whose_needs_are_met_goes_on(bed: Bed) {
    let worker = bed.worker("w", "").await;
    bed.build("a b<a").await;
    bed.claim(worker).await.unwrap();
    bed.spoil("UPDATE jobs SET status = 'passed' WHERE status = 'running'").await;
    bed.check("its jobs stood so that more had to follow: it has", "running: a passed, b queued").await;
    assert!(bed.claim(worker).await.is_some());
}
