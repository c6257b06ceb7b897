//! A stage owns the container it runs in, the shim's folder too. It may spoil its own log and exit; it must not
//! make the worker hang, or read what is outside.

use ocelot_worker::executor::{ExecutorError, Outcome};

use crate::world::{self, DEADLINE, check, output, script};

/// The stage spoils its files; then neither log nor exit may hang or show anything else.
async fn spoils(text: &'static str) {
    world::docker(async |world| {
        let place = world.place();
        std::fs::write(place.folder.join("outside"), "canary\n").unwrap();
        let room = world.open(&place).await;
        let stage = script(&format!("cd /ocelot/io\n{text}")).start(&room, "1").await;
        // Whoever reads meanwhile sees as much as was there, and comes to an end.
        let _ = output(&mut stage.frames(0)).await;
        let exit = tokio::time::timeout(DEADLINE, stage.exit()).await.unwrap();
        assert_eq!(exit.unwrap().outcome, Outcome::Code(0));
        let log = output(&mut stage.frames(0)).await;
        assert!(matches!(log, Err(ExecutorError::Tampered(_))), "{text}: {log:?}");
        room.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_log_that_is_a_link() {
    spoils("echo a; while [ ! -s 1.log ]; do :; done; rm 1.log; ln -s /etc/passwd 1.log").await;
}

#[tokio::test]
async fn a_log_that_is_a_pipe() {
    spoils("echo a; while [ ! -s 1.log ]; do :; done; rm 1.log; mkfifo 1.log").await;
}

#[tokio::test]
async fn a_log_that_is_cut() {
    spoils("seq 1 1000; while [ ! -s 1.log ]; do :; done; : > 1.log").await;
}

#[tokio::test]
async fn a_log_of_nonsense() {
    spoils("echo a; while [ ! -s 1.log ]; do :; done; head -c 100000 /dev/zero > 1.log").await;
}

#[tokio::test]
async fn a_log_that_is_endless() {
    spoils("echo a; while [ ! -s 1.log ]; do :; done; : > 1.log; dd of=1.log bs=1M seek=1000000 count=0 2>/dev/null").await;
}

#[tokio::test]
async fn a_pipe_where_the_next_log_goes() {
    world::docker(async |world| {
        let place = world.place();
        let room = world.open(&place).await;
        check(
            &room,
            "1",
            "cd /ocelot/io; mkfifo 2.log; ln -s /etc/passwd 3.log; mkdir 4.exit; mkfifo 5.exit",
            "",
            Outcome::Code(0),
        )
        .await;
        for key in ["2", "3"] {
            let stage = script("echo hello").start(&room, key).await;
            let exit = tokio::time::timeout(DEADLINE, stage.exit()).await.unwrap().unwrap();
            let out = output(&mut stage.frames(0)).await.unwrap();
            let Outcome::NotStarted(why) = exit.outcome else { panic!("{:?}", exit.outcome) };
            assert!(out.is_empty() && why.contains("cannot write the log"), "{why}");
        }
        let stage = script("echo hello").start(&room, "4").await;
        let end = tokio::time::timeout(DEADLINE, stage.exit()).await.unwrap();
        assert!(matches!(end, Err(ExecutorError::Tampered(_))), "{end:?}");
        let end = tokio::time::timeout(DEADLINE, output(&mut stage.frames(0))).await.unwrap();
        assert!(matches!(end, Err(ExecutorError::Tampered(_))), "{end:?}");
        room.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_is_a_link() {
    world::docker(async |world| {
        let place = world.place();
        let room = world.open(&place).await;
        check(&room, "1", "cd /ocelot/io; rm sock; ln -s /var/run/docker.sock sock", "", Outcome::Code(0))
            .await;
        drop(room);
        let rooms = world.executor.reattach(&place).await.unwrap();
        let [room] = &rooms[..] else { panic!("{rooms:?}") };
        // Nothing was connected to; what was written can still be read.
        assert!(room.kill("1", std::time::Duration::ZERO).await.is_err());
        let stage = room.stage("1").await.unwrap().unwrap();
        assert_eq!(stage.exit().await.unwrap().outcome, Outcome::Code(0));
        room.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn killing_everything_in_sight() {
    world::docker(async |world| {
        let place = world.place();
        let room = world.open(&place).await;
        let (out, exit) = script(
            "echo before; while [ ! -s /ocelot/io/1.log ]; do :; done; sleep 1000 & kill -9 -1; sleep 1000",
        )
        .run(&room, "1")
        .await;
        assert_eq!((out.as_str(), exit.outcome), ("before\n", Outcome::Signal(9)));
        check(
            &room,
            "2",
            "ls -d /proc/[0-9]* | wc -l | grep -qE '^[1-9]$' && echo calm",
            "calm\n",
            Outcome::Code(0),
        )
        .await;
        room.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_workspace_that_is_hard_to_delete() {
    world::docker(async |world| {
        let place = world.place();
        let outside = world.data.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("keep"), "").unwrap();
        let room = world.open(&place).await;
        let text = format!("ln -s {} link; mkfifo pipe; mkdir -m 0 closed; P=$(yes d | head -n 1500 | tr '\\n' '/')\nmkdir -p one/$P two/$P three/$P; mv one two/$P; mv two three/$P", outside.display());
        check(&room, "1", &text, "", Outcome::Code(0)).await;
        room.close().await.unwrap();
        world.executor.remove_place(&place).await.unwrap();
        assert!(!place.folder.exists() && outside.join("keep").exists());
    })
    .await;
}
