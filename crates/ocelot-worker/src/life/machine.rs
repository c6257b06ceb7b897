//! A machine without room, or without an engine.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Case, stage};
use crate::MinFree;
use crate::fake::Heard;

/// A small disk, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> SmallDisk {
        fs::create_dir(at).unwrap();
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(at).output().unwrap();
        let words = String::from_utf8_lossy(&mounted.stderr);
        assert!(
            mounted.status.success(),
            "this test mounts a small disk, for which it must be root: {words}"
        );
        SmallDisk(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_the_machines_fault_and_said() {
    let mut case = Case::empty(&[
        stage("a", "echo fine", Value::Null),
        stage("b", "head -c 9000000 /dev/zero > fill; echo not reached", Value::Null),
        stage("c", "true", json!({"always": true})),
    ])
    .await;
    let _disk = SmallDisk::mount(&case.dir.path().join("data"));
    case.start();
    let heard = case.finished().await;
    let words = "the worker's disk is full (exit code 1)";
    let [setup, fine, filled, late] = &heard.stages()[..] else { panic!("{heard:?}") };
    assert_eq!(
        [setup, fine, filled].map(String::as_str),
        ["10 passed", "11 passed", &format!("12 error {words}")]
    );
    // There is no room for its script any more.
    assert!(late.starts_with("13 error the worker's disk is full: "), "{late}");
    let result = heard.result.as_ref().unwrap();
    assert_eq!((result.status.as_str(), result.infrastructure), ("error", true));
    assert_eq!(result.reason, format!("b: {words}"));
    assert!(heard.log(12).contains("No space left on device"), "{}", heard.log(12));
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_room() {
    let mut case = Case::empty(&[stage("a", "true", Value::Null)]).await;
    let disk = SmallDisk::mount(&case.dir.path().join("data"));
    let fill = disk.0.join("fill");
    fs::write(&fill, vec![0; 4 << 20]).unwrap();
    case.min_free = MinFree { bytes: 3 << 20, percent: 0 };
    case.start();
    let heard = case.fake.wait("its word", |heard| heard.unwell.iter().any(|why| !why.is_empty())).await;
    assert!(heard.unwell.iter().any(|why| why.ends_with(" free of 6 MiB, wants 3 MiB")), "{heard:?}");
    assert_eq!(heard.ready, 0);
    fs::remove_file(fill).unwrap();
    assert_eq!(case.finished().await.stages(), ["10 passed", "11 passed"]);
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_its_engine() {
    let mut case = Case::empty(&[stage("a", "true", Value::Null)]).await;
    let socket = case.dir.path().join("engine.sock");
    case.docker_host = Some(format!("unix://{}", socket.display()));
    // A job that began before the engine goes away would be refused, or not, by chance.
    case.fake.offer_nothing();
    case.start();
    let last = |heard: &Heard, words: &str| heard.unwell.last().is_some_and(|why| why.contains(words));
    case.fake.wait("its word", |heard| last(heard, "no Docker Engine answers")).await;
    let engine = Engine::at(&socket);
    case.fake.wait("its word", |heard| last(heard, "") && heard.unwell.last().unwrap().is_empty()).await;
    drop(engine);
    fs::remove_file(&socket).unwrap();
    let heard = case.fake.wait("its word", |heard| last(heard, "the Docker Engine does not answer")).await;
    let told = heard.unwell.len();
    let _engine = Engine::at(&socket);
    let well = |heard: &Heard| heard.unwell.len() > told && heard.unwell.last().unwrap().is_empty();
    case.fake.wait("its word", well).await;
    case.drain.cancel();
    case.worker.take().unwrap().await.unwrap().unwrap();
}

/// The machine's Docker Engine under another address; gone there when dropped.
struct Engine(JoinHandle<()>);

impl Engine {
    fn at(socket: &Path) -> Engine {
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        Engine(tokio::spawn(async move {
            let mut ways = tokio::task::JoinSet::new();
            loop {
                let (mut here, _) = listener.accept().await.unwrap();
                ways.spawn(async move {
                    let mut there = tokio::net::UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                });
            }
        }))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.0.abort();
    }
}
