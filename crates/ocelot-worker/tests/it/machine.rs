//! What only the host executor has: processes that outlive the worker.

use ocelot_worker::executor::{Executor, HostConfig, Outcome};

use crate::world::{self, DEADLINE, output, script, spec, until};

#[tokio::test]
async fn a_worker_that_comes_back() {
    world::host(async |world| {
        let place = world.place();
        let room = world.open(&place).await;
        let stage = script("echo half; while [ ! -e go ]; do sleep 0.01; done; echo whole; exit 6")
            .start(&room, "1")
            .await;
        let (_, position) = until(&mut stage.frames(0), "half\n").await;
        drop((stage, room));
        let executor = Executor::host(HostConfig { data: world.data.path().join("bin") }).unwrap();
        let rooms = executor.reattach(&place).await.unwrap();
        let [room] = &rooms[..] else { panic!("{rooms:?}") };
        std::fs::write(place.workspace().join("go"), "").unwrap();
        let stage = room.stage("1").await.unwrap().unwrap();
        assert_eq!(output(&mut stage.frames(position)).await.unwrap(), b"whole\n");
        assert_eq!(stage.exit().await.unwrap().outcome, Outcome::Code(6));
        room.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn closing_kills_everything() {
    world::host(async |world| {
        let place = world.place();
        let room = world.open(&place).await;
        let stage = script("trap '' TERM; setsid sh -c 'echo $$ > pid; sleep 1000' & while [ ! -s pid ]; do sleep 0.01; done; echo ready; wait").start(&room, "1").await;
        until(&mut stage.frames(0), "ready\n").await;
        let pid = std::fs::read_to_string(place.workspace().join("pid")).unwrap();
        let proc = format!("/proc/{}/cmdline", pid.trim());
        assert!(std::fs::read(&proc).is_ok_and(|line| !line.is_empty()));
        room.close().await.unwrap();
        assert!(std::fs::read(&proc).map_or(true, |line| line.is_empty()));
        let end = tokio::time::timeout(DEADLINE, stage.exit()).await.unwrap();
        assert!(end.is_ok_and(|exit| exit.outcome == Outcome::Signal(9)));
        world.executor.remove_place(&place).await.unwrap();
        assert!(!place.folder.exists());
    })
    .await;
}

/// Beside whatever is on the machine it would run as something else than was asked for.
#[tokio::test]
async fn a_job_that_works_in_an_image_is_refused() {
    world::host(async |world| {
        let error = world.try_open(&world.place(), &spec("main")).await.unwrap_err();
        assert!(error.to_string().contains("has no containers") && !error.is_infrastructure(), "{error}");
    })
    .await;
}
