//! Machines whose clocks are off by a day.

use std::path::PathBuf;
use std::time::Duration;

use ocelot_model::Status;

use super::world::{Plan, Seat, World};

/// Variables that give a process another time of day.
fn off(by: &str) -> Vec<(&'static str, String)> {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let library = |folder: PathBuf| folder.join("faketime/libfaketimeMT.so.1");
    let found = folders.map(|folder| library(folder.path())).find(|path| path.exists());
    let library = found.expect("this needs `apt-get install -y faketime`").display().to_string();
    vec![
        ("LD_PRELOAD", library),
        ("FAKETIME", by.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_DONT_RESET", "1".to_owned()),
    ]
}

/// Longer than a short lease, so that it must be renewed.
async fn passes(server: Option<&str>, worker: Option<&str>) {
    let limit = Duration::from_secs(6);
    let env = server.map(off).unwrap_or_default();
    let mut world = World::start(Plan { limit, env, ..Plan::default() }).await;
    world.add_worker(Seat { env: worker.map(off).unwrap_or_default(), ..Seat::host("w") });
    let yml = world.counting(90);
    let build = world.build("clock", &yml).await;
    let ended = world.finished(build).await;
    assert_eq!((ended.status, ended.jobs.as_ref().unwrap()[0].attempt), (Status::Passed, 1), "{ended:#?}");
    let took = ended.jobs.as_ref().unwrap()[0].stages[1].duration_ms.unwrap();
    assert!((9_000..3_600_000).contains(&took), "the stage took {took} ms");
    world.oracle().await;
}

#[tokio::test]
async fn a_worker_that_is_a_day_ahead() {
    passes(None, Some("+1d")).await;
}

#[tokio::test]
async fn a_worker_that_is_a_day_behind() {
    passes(None, Some("-1d")).await;
}

#[tokio::test]
async fn a_server_that_is_a_day_ahead() {
    passes(Some("+1d"), None).await;
}

/// The server's clock is set forward by a day, and back by two, while it is down.
#[tokio::test]
async fn a_server_that_comes_back_on_another_day() {
    let plan = Plan { limit: Duration::from_secs(20), ..Plan::default() };
    let mut world = World::start(plan).await;
    world.add_worker(Seat::host("w"));
    let yml = world.counting(60);
    let build = world.build("day", &yml).await;
    world.counted(build, "n5").await;
    let plain = world.servers[0].env.clone();
    for (by, line) in [("+1d", "n25"), ("-1d", "n45")] {
        world.servers[0].kill9();
        world.servers[0].env = plain.clone();
        world.servers[0].env.extend(off(by).into_iter().map(|(name, value)| (name.to_owned(), value)));
        world.restart_server(0).await;
        world.counted(build, line).await;
    }
    let ended = world.finished(build).await;
    assert_eq!((ended.status, ended.jobs.as_ref().unwrap()[0].attempt), (Status::Passed, 1), "{ended:#?}");
    world.oracle().await;
}
