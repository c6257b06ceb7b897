//! A log of 1 GB, finished and in the log store, and another one that is still in the database: the last page, a page from the
//! middle, all of it, and the memory that the server needs for that.

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt as _;
use ocelot_api::client::{Client, LogQuery};
use ocelot_model::{BuildNumber, StageId};
use ocelot_store::{LogStoreOptions, Options, Store};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::log::peak_mb;
use crate::report::{Figure, median, ms, write};
use crate::{claims, server};

const BYTES: usize = 1_000_000_000;
/// Lines of a page.
const PAGE: u32 = 200;
const TIMES: usize = 7;

/// See the module.
pub(crate) async fn measure(ocelot: &Path) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let (number, [hot, cold], copied) = prepare(&data).await?;
    let up = server::up(ocelot, &data, &["--slots", "0"]).await?;
    let before = peak_mb(up.pid())?;
    let (mut last_hot, mut last_cold, mut middle) = (vec![], vec![], vec![]);
    for _ in 0..TIMES {
        let page = LogQuery { tail: Some(PAGE), ..LogQuery::default() };
        last_hot.push(ms(read(&up.client, number, hot, page).await?.0));
        last_cold.push(ms(read(&up.client, number, cold, page).await?.0));
        let from = LogQuery { from: BYTES as u64 / 2, ..LogQuery::default() };
        middle.push(ms(first_piece(&up.client, number, cold, from).await?));
    }
    let (whole, bytes) = read(&up.client, number, cold, LogQuery::default()).await?;
    ensure!(bytes >= BYTES, "only {bytes} bytes were read");
    let (whole_hot, _) = read(&up.client, number, hot, LogQuery::default()).await?;
    let peak = peak_mb(up.pid())?;
    let at_most = |name, value, target, unit| Figure { name, value, target, more_is_better: false, unit };
    let figures = [
        at_most("large_log_last_page", median(&last_cold), 300.0, "ms"),
        at_most("large_log_last_page_while_it_grows", median(&last_hot), 300.0, "ms"),
        at_most("large_log_peak_memory", peak, 150.0, "MB"),
    ];
    write(
        "large",
        &figures,
        &json!({"last_page_ms": last_cold, "last_page_hot_ms": last_hot, "middle_ms": middle,
                "whole_s": whole.as_secs_f64(), "whole_hot_s": whole_hot.as_secs_f64(),
                "copy_s": copied.as_secs_f64(), "peak_before_mb": before, "peak_mb": peak}),
    )
}

/// A build with a log that has no end yet and one that was copied; how long the copy took.
async fn prepare(data: &Path) -> Result<(i64, [StageId; 2], Duration)> {
    let database_url = format!("sqlite://{}", data.join("ocelot.db").display());
    let options = Options {
        database_url,
        data: data.to_owned(),
        log_store: LogStoreOptions::default(),
        key_file: None,
    };
    let store = Store::open(&options).await?;
    let repo = claims::repo(&store, 0).await?;
    let worker = claims::worker(&store, "linux").await?;
    claims::fill(&store, &[repo], "linux", 1, 1).await?;
    let claimed = store.claim(worker).await?.context("nothing to claim")?;
    let [hot, cold] = [claimed.stages[0].0, claimed.stages[1].0];
    for stage in [hot, cold] {
        let mut text = Vec::with_capacity(1 << 20);
        let (mut at, mut line, mut hash) = (0, 0_u64, Sha256::new());
        while at < BYTES as u64 {
            text.clear();
            while text.len() < (1 << 20) - 100 {
                line += 1;
                let number = line.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let words = format!(
                    "{line:>10} compiled unit {number:016x} in {} ms, as it was told\n",
                    number % 977
                );
                text.extend_from_slice(words.as_bytes());
            }
            hash.update(&text);
            at = store.append_log(stage, at, &text, &[]).await?;
        }
        if stage == cold {
            store.finish_log(stage, at, &hash.finalize()).await?;
        }
    }
    let begin = Instant::now();
    ensure!(store.copy_log(cold, Duration::ZERO).await?, "the log was not copied");
    let copied = begin.elapsed();
    store.drop_copied(1).await?;
    let BuildNumber(number) = claimed.build.number;
    store.close().await;
    Ok((number, [hot, cold], copied))
}

/// Time and bytes of an answer.
async fn read(client: &Client, build: i64, stage: StageId, query: LogQuery) -> Result<(Duration, usize)> {
    let begin = Instant::now();
    let mut pieces = pin!(client.stage_log(build, stage.0, query).await?);
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        bytes += piece?.len();
    }
    Ok((begin.elapsed(), bytes))
}

/// Time until the answer begins.
async fn first_piece(client: &Client, build: i64, stage: StageId, query: LogQuery) -> Result<Duration> {
    let begin = Instant::now();
    let mut pieces = pin!(client.stage_log(build, stage.0, query).await?);
    pieces.next().await.context("an empty answer")??;
    Ok(begin.elapsed())
}
