//! The Docker Engine, asked through its own command. Touches only what carries the label of an instance.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Every program of busybox in `/bin`.
pub const BUSYBOX: &str = "ocelot-test/busybox:latest";

/// Makes [`BUSYBOX`] when the engine does not have it; answers its name. Nothing is pulled.
pub fn docker_image_busybox() -> &'static str {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        docker(&["version", "--format", "{{.Server.Version}}"]);
        let known = Command::new("docker").args(["image", "inspect", BUSYBOX]).output();
        if !known.expect("the docker command").status.success() {
            import();
        }
    });
    BUSYBOX
}

fn import() {
    let folder = tempfile::tempdir().expect("a folder");
    let bin = folder.path().join("bin");
    for name in ["bin", "etc", "tmp", "root"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    std::fs::copy("/bin/busybox", bin.join("busybox"))
        .expect("/bin/busybox is missing: `apt-get install -y busybox-static`");
    let list = Command::new("/bin/busybox").arg("--list").output().expect("the names of busybox");
    for name in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
        std::os::unix::fs::symlink("busybox", bin.join(name)).expect("a link");
    }
    std::fs::write(folder.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").expect("a file");
    let mut tar = Command::new("tar")
        .args(["--create", "--owner=0", "--group=0", "--numeric-owner", "--directory"])
        .arg(folder.path())
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar");
    let archive = tar.stdout.take().expect("the output of tar");
    let import = Command::new("docker").args(["import", "-", BUSYBOX]).stdin(archive).output();
    let import = import.expect("the docker command");
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
    assert!(tar.wait().expect("the end of tar").success(), "tar failed");
}

/// Ids of an instance's containers, running or not.
pub fn containers(instance: &str) -> Vec<String> {
    let filter = format!("label=ocelot.instance={instance}");
    docker(&["ps", "--all", "--quiet", "--filter", &filter]).lines().map(str::to_owned).collect()
}

/// The oracle: an instance whose builds are over has no container left.
#[track_caller]
pub fn nothing_left(instance: &str) {
    let left = containers(instance);
    assert!(left.is_empty(), "containers of {instance} are left: {left:?}");
}

/// All that the engine tells of an instance's containers.
pub fn inspect_containers(instance: &str) -> String {
    let ids = containers(instance);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    if ids.is_empty() { String::new() } else { docker(&[&["inspect"], &ids[..]].concat()) }
}

/// Removes what a killed worker left.
pub fn remove_containers(instance: &str) {
    for id in containers(instance) {
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &id]).output();
    }
    let filter = format!("label=ocelot.instance={instance}");
    for id in docker(&["network", "ls", "--quiet", "--filter", &filter]).lines() {
        let _ = Command::new("docker").args(["network", "rm", id]).output();
    }
}

fn docker(args: &[&str]) -> String {
    let help = "these tests need a Docker Engine: `apt-get install -y docker.io`, then `systemctl start docker` or `dockerd &`";
    let output = Command::new("docker").args(args).output().unwrap_or_else(|e| panic!("{help} ({e})"));
    assert!(output.status.success(), "{help} ({})", String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
