//! The worker dies and comes back; the container dies.

use ocelot_model::id::AttemptId;
use ocelot_worker::executor::{ExecutorError, Outcome};

use crate::world::{self, World, no_sharing, output, script, spec, until};

/// A worker that reads half of the output and dies; another that goes on.
async fn loses_nothing(world: &World) {
    let place = world.place();
    let room = world.open(&place).await;
    let text = "seq 1 1000; echo half; while [ ! -e go ]; do sleep 0.01; done; seq 1001 20000; printf '\\377'; exit 6";
    let stage = script(text).start(&room, "1").await;
    let (mut all, position) = until(&mut stage.frames(0), "half\n").await;
    drop((stage, room));

    let executor = world.restarted().await;
    let rooms = executor.reattach(&place).await.unwrap();
    let [room] = &rooms[..] else { panic!("{rooms:?}") };
    assert_eq!(room.name(), "main");
    script("touch go").run(room, "2").await;
    let stage = room.stage("1").await.unwrap().unwrap();
    all.extend(output(&mut stage.frames(position)).await.unwrap());
    let mut want: Vec<u8> = (1..=1000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    want.extend(b"half\n");
    want.extend((1001..=20000).flat_map(|n| format!("{n}\n").into_bytes()));
    want.push(0xff);
    assert!(all == want, "{} bytes, not {}", all.len(), want.len());
    assert_eq!(stage.exit().await.unwrap().outcome, Outcome::Code(6));
    assert_eq!(executor.sweep(&[place.attempt]).await.unwrap(), Vec::<String>::new());
    room.close().await.unwrap();
    assert!(executor.reattach(&place).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_worker_that_comes_back() {
    world::docker(loses_nothing).await;
}

#[tokio::test]
async fn a_worker_that_comes_back_through_the_engine_alone() {
    world::docker_with(no_sharing, loses_nothing).await;
}

#[tokio::test]
async fn leftovers_are_swept() {
    world::docker(async |world| {
        let (kept, left) = (world.place(), world.place());
        let (kept_room, left_room) = (world.open(&kept).await, world.open(&left).await);
        let stage = script("sleep 1000").start(&left_room, "1").await;
        let removed = world.executor.sweep(&[kept.attempt, AttemptId(999)]).await.unwrap();
        assert_eq!(removed.len(), 1, "{removed:?}");
        let end = stage.exit().await.unwrap_err();
        assert!(matches!(&end, ExecutorError::Lost(why) if why.contains("gone")), "{end}");
        assert!(output(&mut stage.frames(0)).await.is_err());
        let (out, _) = script("echo here").run(&kept_room, "1").await;
        assert_eq!(out, "here\n");
        kept_room.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_container_killed_from_outside() {
    world::docker(async |world| {
        let place = world.place();
        let (room, _) = world.try_open(&place, &spec("main")).await.unwrap();
        let done = script("echo done").run(&room, "1").await;
        let stage = script("echo here; sleep 1000").start(&room, "2").await;
        until(&mut stage.frames(0), "here\n").await;
        let engine = world.engine().await;
        let filter = [("label".to_owned(), vec![format!("ocelot.instance={}", world.config.instance)])];
        let options =
            bollard::query_parameters::ListContainersOptionsBuilder::new().filters(&filter.into()).build();
        let list = engine.list_containers(Some(options)).await.unwrap();
        engine.kill_container(list[0].id.as_deref().unwrap(), None).await.unwrap();
        let end = stage.exit().await.unwrap_err();
        assert_eq!(end.to_string(), "the container was ended from outside (exit code 137)");
        drop(room);
        // What had ended before is still there.
        let rooms = world.restarted().await.reattach(&place).await.unwrap();
        let stage = rooms[0].stage("1").await.unwrap().unwrap();
        assert_eq!(stage.exit().await.unwrap(), done.1);
        assert_eq!(output(&mut stage.frames(0)).await.unwrap(), b"done\n");
        rooms[0].close().await.unwrap();
    })
    .await;
}
