//! The store on real databases: every case runs on SQLite and on PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test may stop at once when something is not as it must be")]

/// Makes two tests of each case, one per database.
macro_rules! both {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::bed::Bed::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::bed::Bed::postgres().await).await;
            })+
        }
    };
}

mod access;
mod audit;
mod backup;
mod bed;
mod builds;
mod fair;
mod forges;
mod groups;
mod insights;
mod leases;
mod lists;
mod log_store;
mod logs;
mod notices;
mod order;
mod orphans;
mod outbox;
mod pause;
mod races;
mod reconcile;
mod retention;
mod rota;
mod secrets;
#[cfg(not(debug_assertions))]
mod speed;
mod stats;
mod subscriptions;
mod times;
mod trust;
mod workers;
