//! Pulling from a real registry.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use ocelot_model::Status;
use ocelot_testkit::{BUSYBOX, Setup, TestApp, docker_image_busybox, wait_for};

use super::OCELOT;

/// The distribution's registry; the engine trusts it because it is on this machine.
struct Registry {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Registry {
    async fn start() -> Registry {
        Registry::start_with(false).await
    }

    /// One that only `ci` with the password `sesame-canary` gets in to, when `closed`.
    async fn start_with(closed: bool) -> Registry {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("users");
        std::fs::write(&users, "ci:$2b$04$m/hT3mYgGWHu2stDRm1kpeikD9BNvrPsGUHFKy/Q9vJPZUvrSUFJS\n").unwrap();
        let auth = format!("auth: {{htpasswd: {{realm: tests, path: {}}}}}\n", users.display());
        let conf = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {address}}}\n{}",
            folder.path().join("data").display(),
            if closed { &auth } else { "" }
        );
        let file = folder.path().join("config.yml");
        std::fs::write(&file, conf).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("no registry: apt-get install -y docker-registry");
        wait_for("the registry", async || std::net::TcpStream::connect(&address).ok()).await;
        Registry { process, address, _folder: folder }
    }

    /// Puts the small image into it, and takes it away from the engine.
    fn push(&self, name: &str) -> String {
        let image = format!("{}/{name}", self.address);
        docker(&["tag", BUSYBOX, &image]);
        docker(&["push", "--quiet", &image]);
        docker(&["rmi", "--no-prune", &image]);
        image
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn docker(arguments: &[&str]) {
    docker_says(arguments);
}

fn yml(image: &str) -> String {
    format!("image: {image}\nstages:\n  - name: a\n    script: [echo pulled]\n")
}

#[tokio::test]
async fn images_are_pulled_and_missing_ones_are_named_in_the_registrys_words() {
    docker_image_busybox();
    let registry = Registry::start().await;
    let image = registry.push("team/small:1");
    let app = TestApp::start(OCELOT, Setup::Up).await;

    let build = app.build("pull", &yml(&image)).await;
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Passed, "{build:#?}");
    let setup = app.stage_log(&build, "setup").await;
    assert!(setup.contains(&format!("Pulling {image}")), "{setup}");
    docker(&["rmi", "--no-prune", &image]);

    // A definite no is no reason to try again.
    let missing = format!("{}/team/small:2", registry.address);
    let build = app.build("missing", &yml(&missing)).await;
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Error, "{build:#?}");
    assert!(build.reason.as_deref().unwrap_or_default().contains("manifest unknown"), "{build:#?}");
    assert_eq!(build.jobs.unwrap()[0].attempts.len(), 1);
}

/// What an isolated stage needs is pulled where it can be seen, and once.
#[tokio::test]
async fn the_image_of_an_isolated_stage_comes_in_the_setup() {
    docker_image_busybox();
    let registry = Registry::start().await;
    let (main, own) = (registry.push("team/main:1"), registry.push("team/own:1"));
    let app = TestApp::start(OCELOT, Setup::Up).await;
    let wait = "echo begun; while [ ! -e go ]; do sleep 0.02; done";
    let yml = format!(
        "jobs:\n  one:\n    image: {main}\n    pull: always\n    stages:\n      - {{name: a, script: ['{wait}']}}\n      \
         - {{name: b, image: '{own}', isolated: true, script: [echo alone]}}\n"
    );
    let build = app.build("isolated", &yml).await;
    app.logged(build.number, "begun\n").await;
    // From now on nobody could pull anything.
    drop(registry);
    let jobs = std::fs::read_dir(app.data().join("worker/jobs")).unwrap();
    let job = jobs.map(|entry| entry.unwrap().path()).find(|path| path.join("workspace").exists()).unwrap();
    std::fs::write(job.join("workspace/go"), "").unwrap();
    let build = app.finished(build.number).await;
    let setup = app.stage_log(&build, "setup").await;
    assert_eq!(build.status, Status::Passed, "{build:#?}\n{setup}");
    for image in [main, own] {
        assert_eq!(setup.matches(&format!("Pulling {image}")).count(), 1, "{setup}");
        docker(&["rmi", "--no-prune", &image]);
    }
}

/// Who has no credential for an image gets it from no one, even when the engine has it.
#[tokio::test]
async fn a_registry_that_wants_a_password() {
    docker_image_busybox();
    let registry = Registry::start_with(true).await;
    let image = format!("{}/team/closed:1", registry.address);
    let config = tempfile::tempdir().unwrap();
    let config = config.path().to_str().unwrap();
    let auth = r#"{"auths": {"ADDRESS": {"auth": "Y2k6c2VzYW1lLWNhbmFyeQ=="}}}"#
        .replace("ADDRESS", &registry.address);
    std::fs::write(format!("{config}/config.json"), auth).unwrap();
    docker(&["tag", BUSYBOX, &image]);
    docker(&["--config", config, "push", "--quiet", &image]);
    docker(&["rmi", "--no-prune", &image]);

    let app = TestApp::start(OCELOT, Setup::Up).await;
    let build = app.build("app", &yml(&image)).await;
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Error, "{build:#?}");
    let url = format!("url={}", registry.address);
    let add = [
        "creds",
        "docker",
        "add",
        "REGISTRY",
        "--scope",
        "git/app",
        "--field",
        &url,
        "--field",
        "username=ci",
    ];
    app.cli_with(&add, "not-this-one").await.expect(0);
    let build = app.start_build("git/app").await;
    let build = app.finished(build.number).await;
    let reason = build.reason.clone().unwrap_or_default();
    assert!(build.status == Status::Error && reason.contains("with the credential REGISTRY"), "{reason}");
    app.cli_with(&add, "sesame-canary").await.expect(0);
    let build = app.start_build("git/app").await;
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Passed, "{build:#?}");
    let other = app.build("other", &yml(&image)).await;
    let other = app.finished(other.number).await;
    assert_eq!(other.status, Status::Error, "{other:#?}");
    assert_eq!(super::secrets::holding(app.home(), b"sesame-canary"), Vec::<String>::new());
    docker(&["rmi", "--no-prune", &image]);
}

/// A worker without room removes what it has fetched and nobody uses, and nothing else.
#[tokio::test]
async fn a_worker_without_room_makes_some() {
    docker_image_busybox();
    let registry = Registry::start().await;
    // One that is nobody else's, and one that is the test's own image by another name.
    let made = format!("{}/team/made:1", registry.address);
    let container = docker_says(&["create", BUSYBOX, "true"]);
    docker(&["commit", "--change", &format!("LABEL of={}", registry.address), &container, &made]);
    docker(&["rm", &container]);
    docker(&["push", "--quiet", &made]);
    // A worker of another test may be trying out this image, which only loses its name here.
    docker(&["rmi", "--force", &made]);
    let shared = registry.push("team/shared:1");
    let mut app = TestApp::start(OCELOT, Setup::Apart).await;
    for image in [&made, &shared] {
        let build = app.build(if *image == made { "made" } else { "shared" }, &yml(image)).await;
        assert_eq!(app.finished(build.number).await.status, Status::Passed);
    }
    let mirrors = || std::fs::read_dir(app.home().join("worker/mirrors")).unwrap().count();
    assert_eq!(mirrors(), 2);
    app.restart_worker_with(&[("OCELOT_MIN_FREE", "1000000GiB")]);
    let admin = app.admin();
    let unwell = wait_for("the worker's word", async || admin.workers().await.ok()?.pop()?.unwell).await;
    assert!(unwell.contains("wants 976 TiB"), "{unwell}");
    let there = |image: &str| {
        Command::new("docker").args(["image", "inspect", image]).output().unwrap().status.success()
    };
    let mirrors = || std::fs::read_dir(app.home().join("worker/mirrors")).unwrap().count();
    wait_for("more room", async || (mirrors() == 0 && !there(&made)).then_some(())).await;
    assert!(there(&shared) && there(BUSYBOX));
    docker(&["rmi", "--no-prune", &shared]);

    let build = app.start_build("git/made").await;
    let waits = wait_for("the queue", async || admin.queue(1).await.ok()?.items.pop()).await;
    assert_eq!((waits.build, waits.reason), (Some(build.number), format!("w1 takes no jobs: {unwell}")));
    let listed = app.cli(&["worker", "list"]).await.expect(0).stdout;
    assert!(listed.contains(&unwell), "{listed}");
}

fn docker_says(arguments: &[&str]) -> String {
    let done = Command::new("docker").args(arguments).output().expect("docker");
    assert!(done.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}
