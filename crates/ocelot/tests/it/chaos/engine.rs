//! Registries that misbehave, and jobs that do not want to end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use ocelot_api::body::Build;
use ocelot_model::Status;
use ocelot_testkit::{BUSYBOX, wait_for};

use super::world::{Plan, Seat, World};

pub(super) fn yml(head: &str, script: &str) -> String {
    format!("image: {BUSYBOX}\n{head}stages:\n  - name: a\n    script:\n      - |\n        {script}\n")
}

fn attempts(build: &Build) -> Vec<Status> {
    build.jobs.iter().flatten().flat_map(|job| &job.attempts).map(|attempt| attempt.status).collect()
}

async fn in_docker() -> World {
    let mut world = World::start(Plan::default()).await;
    world.add_worker(Seat::docker("w"));
    world
}

pub(super) async fn logged(world: &World, build: i64, words: &str) {
    let client = world.admin();
    let has = async || client.log(build).await.ok().filter(|log| log.contains(words));
    wait_for(&format!("`{words}` in the log of build {build}"), has).await;
}

/// Cancels a stage whose processes do not hear, on either executor; the oracle finds what is left.
async fn cancels(world: &mut World, yml: &str) {
    let build = world.build("deaf", yml).await;
    logged(world, build, "\nbegun\n").await;
    world.admin().cancel(build).await.unwrap();
    let ended = world.finished(build).await;
    assert_eq!(ended.status, Status::Cancelled, "{ended:#?}");
    world.oracle().await;
}

/// A shell that ignores what it is told, with children of which one has left its group.
const DEAF: &str = "deaf=\"trap : TERM INT HUP; while :; do sleep 1; done\"; sh -c \"$deaf\" PLACE & \
                    setsid sh -c \"$deaf\" PLACE & trap : TERM; echo begun; while :; do sleep 1; done";

#[tokio::test]
async fn a_container_that_ignores_signals_is_ended() {
    let mut world = in_docker().await;
    cancels(&mut world, &yml("", DEAF)).await;
}

#[tokio::test]
async fn processes_that_ignore_signals_are_ended() {
    let mut world = World::start(Plan::default()).await;
    world.add_worker(Seat::host("w"));
    // By this word the oracle knows them.
    let place = world.folder.path().join("deaf").display().to_string();
    let script = DEAF.replace("PLACE", &place);
    let yml = format!("machineTag: here\nstages:\n  - name: a\n    script:\n      - |\n        {script}\n");
    cancels(&mut world, &yml).await;
}

#[tokio::test]
async fn a_job_that_eats_memory_ends_alone() {
    let mut world = in_docker().await;
    // `tail` keeps the last line in memory, and this one has no end.
    let eats = world.build("eats", &yml("resources: {memory: 32MiB}\n", "tail -n 1 /dev/zero")).await;
    let other = world.build("other", &yml("", "sleep 1; echo well")).await;
    let ended = world.finished(eats).await;
    assert!(matches!(ended.status, Status::Failed | Status::Error), "{ended:#?}");
    assert_eq!(world.finished(other).await.status, Status::Passed);
    world.oracle().await;
}

/// Thousands of processes are hard on the tests beside this one, too.
#[cfg(feature = "chaos-all")]
#[tokio::test]
async fn a_fork_bomb_ends_alone() {
    let mut world = in_docker().await;
    let head = "resources: {memory: 48MiB, cpu: 0.5}\ntimeout: 10s\n";
    let bomb =
        world.build("bomb", &yml(head, "bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done")).await;
    let other = world.build("other", &yml("", "sleep 1; echo well")).await;
    let ended = world.finished(bomb).await;
    assert!(matches!(ended.status, Status::Failed | Status::Error | Status::TimedOut), "{ended:#?}");
    assert_eq!(world.finished(other).await.status, Status::Passed);
    world.oracle().await;
}

/// What a registry does with whoever asks for an image.
#[derive(Clone, Copy)]
enum Manners {
    /// Takes the question and says nothing.
    Hangs,
    /// Answers that it has a problem.
    Fails,
    /// Says how long a layer is, and gives half of it.
    #[cfg(feature = "chaos-all")]
    Cuts,
}

/// Listens until the tests end; answers its address.
fn registry(manners: Manners) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || answer(&socket, manners));
        }
    });
    address
}

fn answer(mut socket: &TcpStream, manners: Manners) -> std::io::Result<()> {
    let mut lines = BufReader::new(socket).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default();
    let (status, body, length) = match manners {
        Manners::Hangs => {
            // Until the other side gives up.
            while lines.next().transpose()?.is_some() {}
            return Ok(());
        }
        Manners::Fails => ("500 Internal Server Error", String::new(), 0),
        #[cfg(feature = "chaos-all")]
        Manners::Cuts if path.contains("/blobs/") => ("200 OK", "x".repeat(500), 1000),
        #[cfg(feature = "chaos-all")]
        Manners::Cuts if path.contains("/manifests/") => ("200 OK", MANIFEST.to_owned(), MANIFEST.len()),
        #[cfg(feature = "chaos-all")]
        Manners::Cuts => ("200 OK", "{}".to_owned(), 2),
    };
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let kind = if path.contains("/manifests/") { kind } else { "application/json" };
    write!(
        socket,
        "HTTP/1.1 {status}\r\nDocker-Distribution-Api-Version: registry/2.0\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(feature = "chaos-all")]
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":1000,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":1000,"digest":"sha256:a3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}"#;

/// Asks for an image of it, and answers how the build ended.
async fn pulls(manners: Manners, head: &str) -> (World, Build) {
    let mut world = in_docker().await;
    let image = format!("{}/team/app:1", registry(manners));
    let number = world.build("pulls", &yml(head, "echo").replace(BUSYBOX, &image)).await;
    let build = world.finished(number).await;
    let setup = &build.jobs.as_ref().unwrap()[0].stages[0];
    let log = String::from_utf8(world.log(number, setup).await).unwrap();
    assert!(log.contains(&image), "{log}");
    world.oracle().await;
    (world, build)
}

#[tokio::test]
async fn a_registry_that_hangs_holds_nobody_for_ever() {
    let (_world, build) = pulls(Manners::Hangs, "timeout: 3s\n").await;
    assert_eq!((build.status, attempts(&build)), (Status::TimedOut, vec![Status::TimedOut]), "{build:#?}");
}

#[tokio::test]
async fn a_registry_that_fails_is_asked_again_by_another_attempt() {
    let (_world, build) = pulls(Manners::Fails, "retry: {infrastructure: 1}\n").await;
    assert_eq!((build.status, attempts(&build)), (Status::Error, vec![Status::Error; 2]), "{build:#?}");
    assert!(build.reason.as_deref().unwrap_or_default().contains("500"), "{build:#?}");
}

/// The engine itself asks several times, with pauses.
#[cfg(feature = "chaos-all")]
#[tokio::test]
async fn a_registry_that_gives_half_of_a_layer_is_an_error() {
    let (_world, build) = pulls(Manners::Cuts, "retry: {infrastructure: 0}\ntimeout: 80s\n").await;
    assert!(matches!(build.status, Status::Error | Status::TimedOut), "{build:#?}");
}
