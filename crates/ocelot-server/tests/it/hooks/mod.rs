//! Webhooks, from the signed request to the build.

/// Makes two tests of each case, one per database.
macro_rules! both {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $case() {
                super::$case(crate::hooks::world::Database::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $case() {
                super::$case(crate::hooks::world::Database::Postgres).await;
            })+
        }
    };
}

mod events;
mod receiving;
mod two;
mod world;
