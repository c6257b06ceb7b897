//! Tallies against what one gets by looking at every build.

mod tallies;
mod waits;

use std::collections::BTreeMap;

use ocelot_model::Bucket;
use ocelot_model::tally::Tally;
use ocelot_store::{Counted, Periods, Store};
use sqlx::Connection as _;

use crate::bed::Bed;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

impl Bed {
    pub(crate) async fn run(&self, sql: String) {
        let sql = sqlx::AssertSqlSafe(sql);
        if self.is_shared() {
            let mut conn = sqlx::PgConnection::connect(&self.options.database_url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        } else {
            let mut conn = sqlx::SqliteConnection::connect(&self.options.database_url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        }
    }

    /// The tally of one thing over all time, and of each of its periods.
    async fn tally(&self, what: &Counted, bucket: Bucket) -> BTreeMap<i64, Tally> {
        let periods = Periods { bucket, from: 0, to: 100_000 * 24 / bucket.hours() };
        self.store.count_by_period(what, periods).await.unwrap()
    }
}

async fn count_all(store: &Store, limit: u32) -> usize {
    let mut all = 0;
    loop {
        match store.count_builds(limit).await.unwrap() {
            0 => return all,
            some => all += some,
        }
    }
}
