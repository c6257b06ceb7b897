//! Many stages one after the other in one room, and one that writes a great deal.

use ocelot_worker::executor::Outcome;

use crate::world::{self, World, no_sharing, script};

async fn many(world: &World, megabytes: usize) {
    let place = world.place();
    let room = world.open(&place).await;
    for n in 0..50 {
        let stage = script("true").start(&room, &format!("t{n}")).await;
        assert_eq!(stage.exit().await.unwrap().outcome, Outcome::Code(0), "stage {n}");
    }
    let flood = "yes 'a line of a log, as long as most of them are, about eighty bytes' | head -c";
    let stage = script(&format!("{flood} {}", megabytes << 20)).start(&room, "flood").await;
    let mut frames = stage.frames(0);
    let mut bytes = 0;
    while let Some(frame) = frames.next().await.unwrap() {
        bytes += frame.bytes.len();
    }
    assert_eq!(bytes, megabytes << 20);
    room.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_in_docker() {
    world::docker(async |world| many(world, 200).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_through_the_engine() {
    world::docker_with(no_sharing, async |world| many(world, 50).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_on_the_host() {
    world::host(async |world| many(world, 200).await).await;
}
