//! An executor of one test's own, with places in a folder of its own; and what tests do with stages.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ocelot_model::id::{AttemptId, JobId};
use ocelot_model::pipeline::spec::{Pull, Resources, Run};
use ocelot_worker::executor::{
    DockerConfig, Executor, ExecutorError, Exit, Frames, HostConfig, Order, Outcome, Place, Room, RoomSpec,
    SetupLog, Sharing, StageHandle, User,
};

use crate::image;

/// Nothing in these tests takes so long.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) struct World {
    pub(crate) executor: Executor,
    pub(crate) config: DockerConfig,
    pub(crate) data: tempfile::TempDir,
    image: Option<String>,
    attempts: AtomicI64,
}

/// Runs a test with a Docker executor of its own, and sees that nothing is left of it.
pub(crate) async fn docker(test: impl AsyncFnOnce(&World)) {
    docker_with(|_| (), test).await;
}

/// The same, with a configuration of its own.
pub(crate) async fn docker_with(change: impl FnOnce(&mut DockerConfig), test: impl AsyncFnOnce(&World)) {
    image::make().await;
    let mut config = DockerConfig::new(format!("test-{}", uuid::Uuid::now_v7().simple()), "w1");
    // Away from the range of a real worker on this machine.
    config.subnets = (std::net::Ipv4Addr::new(10, 217, 0, 0), 16);
    change(&mut config);
    let executor = Executor::docker(config.clone()).await.unwrap();
    let (data, image) = (tempfile::tempdir().unwrap(), Some(image::BUSYBOX.to_owned()));
    finish(World { executor, config, data, image, attempts: AtomicI64::new(1) }, test).await;
}

/// Runs a test with a host executor of its own.
pub(crate) async fn host(test: impl AsyncFnOnce(&World)) {
    let data = tempfile::tempdir().unwrap();
    let executor = Executor::host(HostConfig { data: data.path().join("bin") }).unwrap();
    let config = DockerConfig::new("none", "none");
    finish(World { executor, config, data, image: None, attempts: AtomicI64::new(1) }, test).await;
}

async fn finish(world: World, test: impl AsyncFnOnce(&World)) {
    let caught = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(async {
        tokio::time::timeout(DEADLINE * 2, test(&world)).await.expect("the test takes too long");
    }));
    let result = caught.await;
    // A failed test leaves nothing behind either; on the host there is no list but the places.
    if result.is_err() {
        world.close_all().await;
    }
    let removed = world.executor.sweep(&[]).await.unwrap();
    world.executor.leave().await.unwrap();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    assert_eq!(removed, Vec::<String>::new(), "left behind");
}

impl World {
    async fn close_all(&self) {
        for number in 1..self.attempts.load(Ordering::Relaxed) {
            for room in self.executor.reattach(&self.place_of(number)).await.unwrap() {
                room.close().await.unwrap();
            }
        }
    }

    fn place_of(&self, number: i64) -> Place {
        let folder = self.data.path().join(format!("attempt-{number}"));
        Place { folder, job: JobId(7), attempt: AttemptId(number), slot: u32::try_from(number).unwrap() }
    }

    pub(crate) fn place(&self) -> Place {
        let number = self.attempts.fetch_add(1, Ordering::Relaxed);
        let place = self.place_of(number);
        std::fs::create_dir_all(place.workspace()).unwrap();
        place
    }

    pub(crate) async fn open(&self, place: &Place) -> Room {
        self.try_open(place, &RoomSpec { image: self.image.clone(), ..spec("main") }).await.unwrap().0
    }

    /// Opens a room; the setup log comes with it.
    pub(crate) async fn try_open(
        &self,
        place: &Place,
        spec: &RoomSpec,
    ) -> Result<(Room, String), ExecutorError> {
        let (log, mut lines): (SetupLog, _) = tokio::sync::mpsc::channel(1);
        let reading = tokio::spawn(async move {
            let mut text = Vec::new();
            while let Some(line) = lines.recv().await {
                text.extend(line);
            }
            String::from_utf8(text).unwrap()
        });
        let room = self.executor.open(place, spec, &log).await;
        drop(log);
        let text = reading.await.unwrap();
        Ok((room?, text))
    }

    /// The engine, to look at what the executor made.
    pub(crate) async fn engine(&self) -> bollard::Docker {
        bollard::Docker::connect_with_defaults().unwrap().negotiate_version().await.unwrap()
    }

    /// Ids of all containers of this test, running or not.
    pub(crate) async fn containers(&self) -> Vec<String> {
        let filter = [("label".to_owned(), vec![format!("ocelot.instance={}", self.config.instance)])];
        let options = bollard::query_parameters::ListContainersOptionsBuilder::new();
        let options = options.all(true).filters(&filter.into()).build();
        let list = self.engine().await.list_containers(Some(options)).await.unwrap();
        list.into_iter().filter_map(|container| container.id).collect()
    }

    /// The same executor as a worker that was started again has it.
    pub(crate) async fn restarted(&self) -> Executor {
        Executor::docker(self.config.clone()).await.unwrap()
    }
}

pub(crate) fn spec(name: &str) -> RoomSpec {
    RoomSpec {
        name: name.into(),
        image: Some(image::BUSYBOX.into()),
        pull: Pull::IfMissing,
        resources: Resources::default(),
        login: None,
    }
}

pub(crate) fn no_sharing(config: &mut DockerConfig) {
    config.sharing = Some(Sharing::None);
}

/// A stage, with what tests change.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) run: Run,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) workdir: String,
    pub(crate) user: Option<User>,
    pub(crate) cap: u64,
}

/// A script whose markers are not shown.
pub(crate) fn script(text: &str) -> Stage {
    let run =
        Run::Script { shell: vec!["/bin/sh".into(), "-e".into()], lines: vec![text.into()], block: false };
    Stage { run, env: Vec::new(), workdir: ".".into(), user: None, cap: u64::MAX }
}

pub(crate) fn command(argv: &[&str]) -> Stage {
    Stage { run: Run::Command(argv.iter().map(|word| (*word).to_owned()).collect()), ..script("") }
}

impl Stage {
    pub(crate) async fn start(&self, room: &Room, key: &str) -> StageHandle {
        let Stage { run, env, workdir, user, cap } = self;
        let order = Order { key, run, env, workdir, user: *user, cap: *cap, show: false };
        room.start(order).await.unwrap()
    }

    /// Runs it to its end: all output, and the exit.
    pub(crate) async fn run(&self, room: &Room, key: &str) -> (String, Exit) {
        let stage = self.start(room, key).await;
        let output = output(&mut stage.frames(0)).await.unwrap();
        let exit = tokio::time::timeout(DEADLINE, stage.exit()).await.unwrap().unwrap();
        (String::from_utf8(output).unwrap(), exit)
    }
}

/// All that is left of a stage's output.
pub(crate) async fn output(frames: &mut Frames) -> Result<Vec<u8>, ExecutorError> {
    let mut all = Vec::new();
    while let Some(frame) = tokio::time::timeout(DEADLINE, frames.next()).await.expect("no end of the log")? {
        all.extend_from_slice(&frame.bytes);
    }
    Ok(all)
}

/// Output until it ends with these words.
pub(crate) async fn until(frames: &mut Frames, words: &str) -> (Vec<u8>, u64) {
    let mut all = Vec::new();
    loop {
        let frame =
            tokio::time::timeout(DEADLINE, frames.next()).await.expect("no such words").unwrap().unwrap();
        all.extend_from_slice(&frame.bytes);
        if all.ends_with(words.as_bytes()) {
            return (all, frame.next);
        }
    }
}

/// Checks one script in a room: all output and the end.
pub(crate) async fn check(room: &Room, key: &str, text: &str, want: &str, how: Outcome) {
    let (output, exit) = script(text).run(room, key).await;
    assert_eq!((output.as_str(), &exit.outcome), (want, &how), "{text}");
}
