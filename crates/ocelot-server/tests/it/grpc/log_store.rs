//! The log store of a whole server: filled by itself, and away for a while.

use std::time::{Duration, Instant};

use ocelot_model::StageId;
use ocelot_server::{Config, LogStoreOptions, Server};
use ocelot_store::Store;
use ocelot_testkit::S3;
use sha2::{Digest as _, Sha256};

use super::world::DEADLINE;

/// A complete log.
async fn write(store: &Store, stage: StageId, text: &str) {
    store.append_log(stage, 0, text.as_bytes(), &[]).await.unwrap();
    store.finish_log(stage, text.len() as u64, &Sha256::digest(text)).await.unwrap();
}

/// Waits until all logs are in the log store, and in the database no more.
async fn put_away(store: &Store) {
    let begin = Instant::now();
    while !store.logs_to_copy(StageId(0), 1).await.unwrap().is_empty() {
        assert!(begin.elapsed() < DEADLINE, "logs stay in the database");
        tokio::task::yield_now().await;
    }
}

async fn ready(server: &Server) -> (u16, String) {
    let response = reqwest::get(format!("http://{}/readyz", server.address)).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn until_ready(server: &Server, want: u16) -> String {
    let begin = Instant::now();
    loop {
        let (status, text) = ready(server).await;
        if status == want {
            return text;
        }
        assert!(begin.elapsed() < DEADLINE, "{status} {text}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_bucket_that_is_away_holds_nothing_up() {
    let mut s3 = S3::start().await;
    let folder = tempfile::tempdir().unwrap();
    let place = Some(s3.url().parse().unwrap());
    let mut config = Config {
        log_store: LogStoreOptions { place, variables: s3.variables() },
        ..crate::room::config(folder.path())
    };
    config.patience.copy = Duration::from_millis(50);
    config.patience.hot = Duration::ZERO;
    let server = ocelot_server::start(config).await.unwrap();
    let store = &server.app().store;
    write(store, StageId(1), "in the bucket\n").await;
    put_away(store).await;
    s3.stop().await;
    write(store, StageId(2), "while it is away\n").await;
    let words = until_ready(&server, 503).await;
    assert!(words.contains("log store") && !words.contains(S3::secret()), "{words}");
    assert_eq!(store.read_log(StageId(2), 0, 100).await.unwrap().data, b"while it is away\n");
    s3.start_again().await;
    until_ready(&server, 200).await;
    put_away(store).await;
    for (stage, want) in [(1, "in the bucket\n"), (2, "while it is away\n")] {
        assert_eq!(store.read_log(StageId(stage), 0, 100).await.unwrap().data, want.as_bytes());
    }
    server.stop().await;
}
