//! An engine that dies under its containers.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ocelot_model::Status;
use ocelot_testkit::{BUSYBOX, DEADLINE};

use super::engine::{logged, yml};
use super::world::{Plan, Seat, World};

/// A Docker Engine of its own, in a folder of its own.
struct Engine {
    process: Option<Child>,
    folder: tempfile::TempDir,
}

impl Engine {
    fn start() -> Engine {
        let mut engine = Engine { process: None, folder: tempfile::tempdir().unwrap() };
        engine.start_again();
        let archive = engine.folder.path().join("image.tar");
        let saved =
            Command::new("docker").args(["save", "--output"]).arg(&archive).arg(BUSYBOX).status().unwrap();
        assert!(saved.success());
        let load = engine.docker().args(["load", "--quiet", "--input"]).arg(&archive).output().unwrap();
        assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
        engine
    }

    fn host(&self) -> String {
        format!("unix://{}/socket", self.folder.path().display())
    }

    fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.args(["--host", &self.host()]);
        docker
    }

    fn start_again(&mut self) {
        let at = self.folder.path().display();
        // The packet filter's rules are the shared engine's.
        let words = format!(
            "--data-root {at}/data --exec-root {at}/exec --pidfile {at}/pid --host {} --bridge none --iptables=false \
             --ip-forward=false --ip-masq=false",
            self.host()
        );
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        // Without a network of its own it would take the other engine's default bridge away.
        let mut dockerd = Command::new("unshare");
        dockerd
            .args(["--net", "dockerd"])
            .args(words.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.process = Some(dockerd.spawn().expect("dockerd is missing: `apt-get install -y docker.io`"));
        let begin = Instant::now();
        while !self.docker().arg("version").output().unwrap().status.success() {
            assert!(begin.elapsed() < DEADLINE, "dockerd does not answer: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// With it dies the containerd that it has started, whose number must not stand in its way: on a machine whose first
    /// process collects no dead ones it would be taken for alive.
    fn kill9(&mut self) {
        let mut process = self.process.take().expect("it was started");
        process.kill().unwrap();
        process.wait().unwrap();
        std::fs::remove_file(self.folder.path().join("exec/containerd/containerd.pid")).unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Asked nicely, it ends what it has started.
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let _ = process.wait();
        }
        // It mounts its folder onto itself at each start, and a killed one leaves that.
        let data = self.folder.path().join("data");
        while Command::new("umount").arg(&data).output().is_ok_and(|output| output.status.success()) {}
    }
}

/// The engine dies under a running stage and comes back: the build ends, and the next one passes.
#[tokio::test]
async fn an_engine_that_dies_holds_no_build_for_ever() {
    ocelot_testkit::docker_image_busybox();
    let mut engine = Engine::start();
    let mut world = World::start(Plan::default()).await;
    let env = vec![("DOCKER_HOST", engine.host())];
    world.add_worker(Seat { env, ..Seat::docker("w") });
    let build = world.build("dies", &yml("", "echo begun; sleep 5; echo over")).await;
    logged(&world, build, "\nbegun\n").await;
    engine.kill9();
    engine.start_again();
    let ended = world.finished(build).await;
    // The containers of an engine that dies end when it comes back, unless it was told to keep them.
    assert!(matches!(ended.status, Status::Passed | Status::Error), "{ended:#?}");
    assert!(ended.status == Status::Passed || ended.reason.is_some(), "{ended:#?}");
    let next = world.build("next", &yml("", "echo well")).await;
    assert_eq!(world.finished(next).await.status, Status::Passed);
    world.oracle().await;
    let left = engine.docker().args(["ps", "--all", "--quiet"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}
