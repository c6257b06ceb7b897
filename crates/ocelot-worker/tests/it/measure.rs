//! How fast it is: printed (`cargo test -- --nocapture measure`), and checked against bounds that only a change
//! of kind would break.

use std::time::{Duration, Instant};

use crate::world::{self, World, no_sharing, script};

async fn measure(world: &World, name: &str, megabytes: usize) {
    let place = world.place();
    let began = Instant::now();
    world.open(&place).await.close().await.unwrap();
    let first = began.elapsed();
    let place = world.place();
    let began = Instant::now();
    let room = world.open(&place).await;
    let open = began.elapsed();

    let mut times = Vec::new();
    for n in 0..50 {
        let began = Instant::now();
        let stage = script("true").start(&room, &format!("t{n}")).await;
        stage.exit().await.unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    let (median, slowest) = (times[25], times[49]);

    let began = Instant::now();
    let stage = script(&format!(
        "yes 'a line of a log, as long as most of them are, about eighty bytes' | head -c {}",
        megabytes << 20
    ))
    .start(&room, "flood")
    .await;
    let mut frames = stage.frames(0);
    let mut bytes = 0;
    while let Some(frame) = frames.next().await.unwrap() {
        bytes += frame.bytes.len();
    }
    let flood = began.elapsed();
    assert_eq!(bytes, megabytes << 20);
    let rate = bytes as f64 / 1e6 / flood.as_secs_f64();
    println!(
        "{name}: first open+close {first:?}, open {open:?}, stage `true` {median:?} (slowest {slowest:?}), log {rate:.0} MB/s"
    );
    let began = Instant::now();
    room.close().await.unwrap();
    println!("{name}: close {:?}", began.elapsed());
    assert!(median < Duration::from_millis(500) && rate > 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn measure_docker() {
    world::docker(async |world| measure(world, "docker", 200).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn measure_docker_through_the_engine() {
    world::docker_with(no_sharing, async |world| measure(world, "docker, nothing shared", 50).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn measure_host() {
    world::host(async |world| measure(world, "host", 200).await).await;
}
