//! Work that several servers share, and databases of other versions.

use std::time::Duration;

use ocelot_store::Store;
use ocelot_testkit::wait_for;
use sqlx::Connection as _;

use crate::bed::{Bed, LONG};

both!(one_server_has_the_turn, a_database_of_a_newer_version_is_used, a_database_that_writes_is_ready);

async fn one_server_has_the_turn(bed: Bed) {
    let other = bed.second().await;
    // Nobody ever did it.
    let since = bed.store.take_turn("sweep", LONG).await.unwrap().unwrap();
    assert!(since > LONG);
    assert_eq!(other.take_turn("sweep", LONG).await.unwrap(), None);
    assert_eq!(bed.store.take_turn("sweep", LONG).await.unwrap(), None);
    assert!(other.take_turn("other", LONG).await.unwrap().is_some());
    // It is anyone's again when the time is over.
    let since = other.take_turn("sweep", Duration::ZERO).await.unwrap().unwrap();
    assert!(since < LONG);
    let turns = async |store: Store| store.take_turn("race", LONG).await.unwrap().is_some();
    let (one, two) = tokio::join!(turns(bed.store.clone()), turns(other.clone()));
    assert!(one ^ two, "{one} {two}");
}

async fn a_database_of_a_newer_version_is_used(bed: Bed) {
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', true, $1, 0)";
    if bed.is_shared() {
        let mut conn = sqlx::PgConnection::connect(&bed.options.database_url).await.unwrap();
        sqlx::query(newer).bind(vec![1u8]).execute(&mut conn).await.unwrap();
    } else {
        let mut conn = sqlx::SqliteConnection::connect(&bed.options.database_url).await.unwrap();
        sqlx::query(newer).bind(vec![1u8]).execute(&mut conn).await.unwrap();
    }
    let again = bed.second().await;
    let number = bed.build("a").await.build.number;
    assert!(again.find_build(number).await.unwrap().is_some());
}

async fn a_database_that_writes_is_ready(bed: Bed) {
    bed.store.check_ready().await.unwrap();
    bed.store.check_ready().await.unwrap();
}

/// Nothing but the words for a role that may not write: what a standby or a full disk does to a server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_read_only_is_not_ready_and_heals() {
    let bed = Bed::postgres().await;
    let mut conn = sqlx::PgConnection::connect(&bed.options.database_url).await.unwrap();
    let database: String =
        sqlx::query_scalar("SELECT current_database()").fetch_one(&mut conn).await.unwrap();
    for (set, want) in [("on", "the database takes nothing: it is read only"), ("off", "ready")] {
        let change = format!("ALTER DATABASE {database} SET default_transaction_read_only = {set}");
        let mut admin = sqlx::PgConnection::connect(&bed.options.database_url).await.unwrap();
        for sql in ["SET default_transaction_read_only = off".to_owned(), change] {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
        }
        // Connections that are open go on as they were; new ones know.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()";
        sqlx::query(end).bind(&database).execute(&mut admin).await.unwrap();
        let says = async || {
            let words =
                bed.store.check_ready().await.err().map_or("ready".to_owned(), |fault| fault.to_string());
            (words == want).then_some(())
        };
        wait_for(want, says).await;
    }
}

/// A listener whose connection was cut hears again, and says that something may have been missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_was_cut_listens_again() {
    let bed = Bed::postgres().await;
    let other = bed.second().await;
    let mut wakes = other.wakes();
    let mut admin = sqlx::PgConnection::connect(&bed.options.database_url).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let ended: Vec<bool> = sqlx::query_scalar(end).fetch_all(&mut admin).await.unwrap();
    assert_eq!(ended.len(), 2);
    loop {
        let wake = tokio::time::timeout(ocelot_testkit::DEADLINE, wakes.recv()).await.unwrap().unwrap();
        if wake == ocelot_store::Wake::All {
            break;
        }
    }
    let hears = async || {
        bed.store.unpause("tests").await.unwrap();
        let mut heard = false;
        while let Ok(wake) = wakes.try_recv() {
            heard |= wake == ocelot_store::Wake::Queue;
        }
        heard.then_some(())
    };
    wait_for("a wake-up of the other server", hears).await;
}

/// Two servers that meet an empty database bring it up to date once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_may_start_together_on_an_empty_database() {
    let cluster = tokio::task::spawn_blocking(ocelot_testkit::Postgres::shared).await.unwrap();
    let database_url = tokio::task::spawn_blocking(|| cluster.database()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = ocelot_store::Options {
        database_url,
        data: folder.path().to_owned(),
        log_store: ocelot_store::LogStoreOptions::default(),
        key_file: None,
    };
    let all = (0..4).map(|_| {
        let options = options.clone();
        tokio::spawn(async move { Store::open(&options).await.unwrap().instance().to_owned() })
    });
    let mut names = Vec::new();
    for one in all.collect::<Vec<_>>() {
        names.push(one.await.unwrap());
    }
    names.dedup();
    assert_eq!(names.len(), 1);
}
