//! What is old goes by itself.

use std::time::Duration;

use ocelot_model::StageId;
use ocelot_server::Keep;

use super::world::World;

#[tokio::test]
async fn a_server_removes_old_logs_and_builds() {
    const SHORT: Option<Duration> = Some(Duration::from_millis(1));
    let world =
        World::with(|config| config.keep = Keep { logs: SHORT, builds: SHORT, last: 1, workers: None }).await;
    let (mut worker, offer, first) = world.working("w1").await;
    worker.finish(&offer, "passed").await.unwrap();
    let second = world.build().await;
    worker.say(ocelot_api::proto::from_worker::Message::Ready(ocelot_api::proto::Ready { slots: 1 }));
    let offer = worker.offer().await;
    worker.take(&offer).await;
    let stage = StageId(offer.stages[0].id);
    world.app().store.append_log(stage, 0, b"hello", &[]).await.unwrap();
    worker.finish(&offer, "passed").await.unwrap();
    let running = world.build().await;
    // It looks when it starts; logs go first.
    let world = world.restart().await;
    let store = &world.app().store;
    let begin = std::time::Instant::now();
    while store.find_build(second).await.unwrap().is_some() {
        assert!(begin.elapsed() < Duration::from_mins(1), "it was not removed");
        tokio::task::yield_now().await;
    }
    assert!(store.find_build(first).await.unwrap().is_none());
    assert!(store.find_build(running).await.unwrap().is_some());
    assert!(store.read_log(stage, 0, 100).await.unwrap().data.is_empty());
}
