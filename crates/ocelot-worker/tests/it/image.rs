//! The images of the tests, made on the spot from the distribution's static busybox: nothing is pulled.

use std::path::Path;
use std::process::Command;

use bollard::Docker;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt as _;
use tokio::sync::OnceCell;

/// All programs of busybox in `/bin`; `IMAGE_VARIABLE=from_the_image`. Not the image of the testkit, so it must not have
/// that name: whichever test came first on a machine would decide for all.
pub(crate) const BUSYBOX: &str = "ocelot-test/worker:latest";
/// Only `/tool/busybox`: no shell.
pub(crate) const NO_SHELL: &str = "ocelot-test/no-shell:latest";

/// What an image may say of itself that could stand in the way.
pub(crate) const ODD: &str = "ocelot-test/odd:latest";

/// Makes the images that are missing, once for all tests.
pub(crate) async fn make() {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(async || {
        let docker = Docker::connect_with_defaults().unwrap().negotiate_version().await;
        let docker = docker.unwrap_or_else(|error| {
            panic!(
                "these tests need a Docker Engine ({error}): `apt-get install -y docker.io`, \
                 then `systemctl start docker` or `dockerd &`"
            )
        });
        if docker.inspect_image(BUSYBOX).await.is_err() {
            import(&docker, BUSYBOX, full(), &["ENV IMAGE_VARIABLE=from_the_image"]).await;
        }
        if docker.inspect_image(NO_SHELL).await.is_err() {
            import(&docker, NO_SHELL, lonely(), &[]).await;
        }
        if docker.inspect_image(ODD).await.is_err() {
            let says = [
                "USER nobody",
                "ENTRYPOINT [\"/bin/false\"]",
                "CMD [\"none\"]",
                "WORKDIR /nowhere",
                "VOLUME [\"/data\", \"/ocelot\"]",
                "HEALTHCHECK --interval=1s CMD /bin/false",
            ];
            import(&docker, ODD, full(), &says).await;
        }
    })
    .await;
}

async fn import(docker: &Docker, name: &str, archive: Vec<u8>, says: &[&str]) {
    let (repo, tag) = name.split_once(':').unwrap();
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(repo).tag(tag);
    let options = options.changes(says.iter().map(|&line| line.to_owned()).collect()).build();
    let body = bollard::body_full(archive.into());
    docker.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await.unwrap();
}

fn busybox() -> Vec<u8> {
    std::fs::read("/bin/busybox").expect("/bin/busybox is missing: `apt-get install -y busybox-static`")
}

fn full() -> Vec<u8> {
    let mut archive = Archive::new();
    archive.file("bin/busybox", 0o755, &busybox());
    let list = Command::new("/bin/busybox").arg("--list").output().unwrap();
    for name in String::from_utf8(list.stdout).unwrap().lines().filter(|name| *name != "busybox") {
        archive.link(&format!("bin/{name}"), "busybox");
    }
    archive.file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n");
    archive.folder("tmp", 0o1777);
    archive.folder("root", 0o700);
    archive.0.into_inner().unwrap()
}

fn lonely() -> Vec<u8> {
    let mut archive = Archive::new();
    archive.file("tool/busybox", 0o755, &busybox());
    archive.0.into_inner().unwrap()
}

struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn new() -> Archive {
        Archive(tar::Builder::new(Vec::new()))
    }

    fn add(&mut self, path: &str, mode: u32, kind: tar::EntryType, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        self.0.append_data(&mut header, path, bytes).unwrap();
    }

    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        self.add(path, mode, tar::EntryType::Regular, bytes);
    }

    fn folder(&mut self, path: &str, mode: u32) {
        self.add(path, mode, tar::EntryType::Directory, &[]);
    }

    fn link(&mut self, path: &str, to: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        self.0.append_link(&mut header, path, Path::new(to)).unwrap();
    }
}
