//! What a stage is: its shell, its output, its end. In a container, through the engine alone, and on the host.

use std::time::{Duration, Instant};

use ocelot_model::pipeline::spec::Run;
use ocelot_worker::executor::{Order, Outcome, Room, User};

use crate::world::{self, World, check, command, no_sharing, output, script, until};

/// The same for each kind of executor.
async fn behaves(world: &World) {
    let place = world.place();
    std::fs::write(place.workspace().join("in-the-workspace"), "hello\n").unwrap();
    std::fs::create_dir(place.workspace().join("sub")).unwrap();
    let room = world.open(&place).await;
    room.bring_workspace(User::ROOT).await.unwrap();
    ends(&room).await;
    speaks(&room).await;
    kills_what_is_left(&room).await;
    obeys_a_kill(&room).await;
    starts_once(&room).await;
    side_by_side(&room).await;
    room.close().await.unwrap();
    world.executor.remove_place(&place).await.unwrap();
    assert!(!place.folder.exists());
}

#[tokio::test]
async fn in_containers() {
    world::docker(behaves).await;
}

#[tokio::test]
async fn through_the_engine_alone() {
    world::docker_with(no_sharing, behaves).await;
}

#[tokio::test]
async fn on_the_host() {
    world::host(behaves).await;
}

async fn ends(room: &Room) {
    check(room, "e0", "true", "", Outcome::Code(0)).await;
    check(room, "e3", "exit 3", "", Outcome::Code(3)).await;
    check(room, "e9", "kill -9 $$", "", Outcome::Signal(9)).await;
    check(room, "e1", "false; echo not reached", "", Outcome::Code(1)).await;
    let (_, exit) = command(&["/bin/sh", "-c", "exit 4"]).run(room, "c4").await;
    assert_eq!(exit.outcome, Outcome::Code(4));
    let not_started = async |key: &str, stage: world::Stage, want: &str| {
        let (out, exit) = stage.run(room, key).await;
        let Outcome::NotStarted(why) = exit.outcome else { panic!("{:?}", exit.outcome) };
        assert!(out.is_empty() && why.contains(want), "{why}");
    };
    not_started("n1", command(&["/none"]), "/none not found in ").await;
    not_started("n2", command(&["none"]), "none not found in PATH").await;
    not_started("n3", world::Stage { workdir: "none".into(), ..script("true") }, "no folder ").await;
    not_started("n4", command(&["/"]), "cannot start / in ").await;
}

async fn speaks(room: &Room) {
    check(room, "o1", "echo a; echo b >&2; echo c", "a\nb\nc\n", Outcome::Code(0)).await;
    check(room, "o2", "cd sub\nA=b\necho $A ${PWD##*/}", "b sub\n", Outcome::Code(0)).await;
    check(room, "o3", "cat; echo end", "end\n", Outcome::Code(0)).await;
    check(
        room,
        "o4",
        "cat in-the-workspace; echo no newline | tr -d '\\n'",
        "hello\nno newline",
        Outcome::Code(0),
    )
    .await;
    let stage = world::Stage {
        workdir: "sub".into(),
        env: vec![("A".into(), "x y\n'\"$z".into())],
        ..script("pwd; echo \"$A\"")
    };
    let (out, _) = stage.run(room, "o5").await;
    assert_eq!(out, format!("{}/sub\nx y\n'\"$z\n", room.workspace()));

    let lines = ["echo one", "cd sub", "basename $PWD"].map(str::to_owned).to_vec();
    let run = Run::Script { shell: vec!["/bin/sh".into(), "-e".into()], lines, block: false };
    let order = Order { key: "o6", run: &run, env: &[], workdir: ".", user: None, cap: u64::MAX, show: true };
    let stage = room.start(order).await.unwrap();
    let out = String::from_utf8(output(&mut stage.frames(0)).await.unwrap()).unwrap();
    let plain = out.replace("\u{1b}[2m", "").replace("\u{1b}[0m", "");
    assert_eq!(plain, "$ echo one\none\n$ cd sub\n$ basename $PWD\nsub\n");

    let stage = script("printf '\\377\\376\\000x'").start(room, "o7").await;
    assert_eq!(output(&mut stage.frames(0)).await.unwrap(), b"\xff\xfe\0x");

    let limited = world::Stage { cap: 1000, ..script("seq 1 100000; exit 5") };
    let (out, exit) = limited.run(room, "o8").await;
    let all: String = (1..=100_000).flat_map(|n| [n.to_string(), "\n".into()]).collect();
    assert!(all.starts_with(&out) && exit.frames_end <= 1000, "{exit:?}");
    assert_eq!((out.len() as u64 + exit.dropped, exit.outcome), (all.len() as u64, Outcome::Code(5)));
}

/// Processes of the test's own: nobody else sleeps for so many seconds.
fn sleeping(seconds: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|b| *b == 0).any(|word| word == seconds.as_bytes())
    })
}

/// A number of seconds that no other test sleeps.
fn long_time() -> String {
    let (_, low) = uuid::Uuid::now_v7().as_u64_pair();
    format!("{}", 1_000_000 + low % 1_000_000_000)
}

async fn kills_what_is_left(room: &Room) {
    let check = async |key: &str, text: &str| {
        let long = long_time();
        let (out, exit) = script(&text.replace("LONG", &long)).run(room, key).await;
        assert_eq!((out.as_str(), exit.outcome), ("", Outcome::Code(0)), "{text}");
        assert!(!sleeping(&long), "{text}");
    };
    check("l1", "sleep LONG &").await;
    check("l2", "setsid sleep LONG &").await;
    check("l3", "(setsid sh -c 'trap \"\" TERM HUP; sleep LONG; sleep LONG' >/dev/null 2>&1 &)").await;
    check("l4", "sleep LONG & kill -STOP $!").await;
}

async fn obeys_a_kill(room: &Room) {
    let check = async |key: &str, text: &str, grace: u64, want: &str, how: Outcome| {
        let long = long_time();
        let stage = script(&text.replace("LONG", &long)).start(room, key).await;
        let mut frames = stage.frames(0);
        let (mut out, _) = until(&mut frames, "ready\n").await;
        room.kill(key, Duration::from_millis(grace)).await.unwrap();
        out.extend(output(&mut frames).await.unwrap());
        let out = String::from_utf8(out).unwrap();
        assert_eq!((out.as_str(), stage.exit().await.unwrap().outcome), (want, how), "{text}");
        assert!(!sleeping(&long), "{text}");
    };
    check("k1", "echo ready; sleep LONG", 60_000, "ready\n", Outcome::Signal(15)).await;
    let polite = "trap 'echo bye; exit 7' TERM; sleep LONG & echo ready; wait";
    check("k2", polite, 60_000, "ready\nbye\n", Outcome::Code(7)).await;
    let stubborn = "trap '' TERM; (trap '' TERM; while :; do sleep LONG; done) & setsid sh -c 'sleep LONG' &\necho ready; while :; do sleep LONG; done";
    check("k3", stubborn, 100, "ready\n", Outcome::Signal(9)).await;
    check("k4", "trap '' TERM; echo ready; while :; do :; done", 0, "ready\n", Outcome::Signal(9)).await;
    // What is started after the order, and left: it does not get the whole grace.
    let late = "trap 'setsid sleep LONG & exit 7' TERM; echo ready; while :; do :; done";
    check("k5", late, 60_000, "ready\n", Outcome::Code(7)).await;
    // One that has ended, one that never was.
    room.kill("k1", Duration::ZERO).await.unwrap();
    room.kill("never", Duration::ZERO).await.unwrap();
}

async fn starts_once(room: &Room) {
    let counting = script("echo x >> count; wc -l < count");
    let first = counting.start(room, "once").await;
    let second = counting.start(room, "once").await;
    assert_eq!(second.exit().await.unwrap(), first.exit().await.unwrap());
    let again = counting.start(room, "once").await;
    assert_eq!(String::from_utf8(output(&mut again.frames(0)).await.unwrap()).unwrap().trim(), "1");
    assert!(room.stage("once").await.unwrap().is_some());
    assert!(room.stage("never").await.unwrap().is_none());
}

/// Two stages that wait for each other: only at the same time can they end.
async fn side_by_side(room: &Room) {
    let wait = |own: &str, other: &str| {
        script(&format!("touch {own}; while [ ! -e {other} ]; do sleep 0.01; done; echo {own}"))
    };
    let began = Instant::now();
    let (one, two) = (wait("p1", "p2"), wait("p2", "p1"));
    let (one, two) = tokio::join!(one.run(room, "p1"), two.run(room, "p2"));
    assert_eq!((one.0.as_str(), two.0.as_str()), ("p1\n", "p2\n"));
    assert!(began.elapsed() < world::DEADLINE);
}
