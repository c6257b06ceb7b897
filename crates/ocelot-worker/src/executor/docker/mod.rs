//! Stages in containers of a Docker Engine. Here: the connection, and the order of things when a room opens.
//! It must not touch containers, networks or volumes without this instance's and this worker's labels.

mod container;
mod image;
mod images;
mod network;
mod prepare;
mod sweep;
mod upload;
mod walls;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use ocelot_model::causes;
use ocelot_model::id::AttemptId;

pub(crate) use container::Container;
pub use images::HeldImages;

use self::container::{Limits, Request};
use self::images::Images;
use super::error::engine_words;
use super::files::Files;
use super::link::Link;
use super::place::is_name;
use super::room::{Inner, Keeper};
use super::socket::{self, make_io};
use super::{ExecutorError, Place, Room, RoomSpec, SetupLog};

/// Where things are inside a container.
const WORKSPACE: &str = "/ocelot/workspace";
const IO: &str = "/ocelot/io";
const SHIM_DIR: &str = "/ocelot/shim";
const SHIM: &str = "/ocelot/shim/shim";
/// An engine that is busy may take a while to say that it is there.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(20);
/// When neither the image nor the stage says where programs are.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How the Docker executor is set up.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// The Ocelot instance, a name; part of every label and network name.
    pub instance: String,
    /// This worker, a name unique within the instance.
    pub worker: String,
    /// Where the engine is (`unix:///…`, `tcp://…`); `None` takes `DOCKER_HOST`, then the usual socket.
    pub docker_host: Option<String>,
    /// How files are shared with the engine; `None` finds out with one container at the first job.
    pub sharing: Option<Sharing>,
    /// Most processes and threads in a container.
    pub pids: i64,
    /// Bytes of memory of a container whose job does not say; `None` for no limit.
    pub memory: Option<u64>,
    /// Processor cores of a container whose job does not say; `None` for no limit.
    pub cpu: Option<f64>,
    /// Networks of the slots are cut from this: address and prefix length.
    pub subnets: (std::net::Ipv4Addr, u8),
    /// Where the list of images is kept that were pulled; `None` forgets them at the end.
    pub images: Option<PathBuf>,
}

impl DockerConfig {
    /// The defaults, for this instance and worker.
    pub fn new(instance: impl Into<String>, worker: impl Into<String>) -> DockerConfig {
        DockerConfig {
            instance: instance.into(),
            worker: worker.into(),
            docker_host: None,
            sharing: None,
            pids: 4096,
            memory: None,
            cpu: None,
            subnets: (std::net::Ipv4Addr::new(10, 209, 0, 0), 16),
            images: None,
        }
    }
}

/// How the engine sees this machine's folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sharing {
    /// Under the same paths.
    Same,
    /// This worker is a container itself: what begins with `inside` here begins with `outside` there.
    Mapped {
        /// A folder as the worker sees it.
        inside: PathBuf,
        /// The same folder as the engine sees it.
        outside: PathBuf,
    },
    /// Not at all (an engine on another machine): files go in and output comes out through the engine's API.
    None,
}

impl Sharing {
    /// A path of this machine as the engine sees it.
    fn outside(&self, path: &Path) -> Option<PathBuf> {
        match self {
            Sharing::Same => Some(path.to_owned()),
            Sharing::Mapped { inside, outside } => Some(outside.join(path.strip_prefix(inside).ok()?)),
            Sharing::None => None,
        }
    }
}

/// A Docker Engine that runs containers for this worker.
#[derive(Debug, Clone)]
pub struct Docker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    api: bollard::Docker,
    config: DockerConfig,
    /// What the engine says of itself, once at the start: version, and limits that it cannot enforce.
    version: String,
    /// Where it keeps its things, if that is a folder of this machine.
    root: Option<PathBuf>,
    /// Set by the first job, and anew when the shim's volume was removed.
    prepared: tokio::sync::Mutex<Option<Sharing>>,
    /// The same for who wants to hear of it.
    sharing: tokio::sync::watch::Sender<Option<Sharing>>,
    /// Networks were found not to be apart.
    open_walls: AtomicBool,
    /// Held for reading while the engine makes a container: whoever looks for an attempt's containers waits for those
    /// that were ordered and given up.
    making: Arc<tokio::sync::RwLock<()>>,
    /// One network is made at a time, or two slots would fight for a subnet.
    networks: tokio::sync::Mutex<()>,
    /// An image that is there: what is started to delete a folder.
    some_image: Mutex<Option<String>>,
    images: Arc<Images>,
}

impl Docker {
    pub(super) async fn connect(config: DockerConfig) -> Result<Docker, ExecutorError> {
        for name in [&config.instance, &config.worker] {
            if !is_name(name) {
                return Err(ExecutorError::Refused(format!("`{name}` cannot name an instance or a worker")));
            }
        }
        let host = config.docker_host.clone().or_else(|| std::env::var("DOCKER_HOST").ok());
        let host = host.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
        let connected = async {
            let api = bollard::Docker::connect_with_host(&host)?.negotiate_version().await?;
            let version = api.version().await?;
            let info = api.info().await?;
            Ok::<_, bollard::errors::Error>((api, version, info))
        };
        let (api, version, info) = connected.await.map_err(|error| no_engine(&host, &error))?;
        let images = Images::load(config.images.clone());
        Ok(Docker(Arc::new(Shared {
            api,
            config,
            version: version.version.unwrap_or_default(),
            root: info.docker_root_dir.map(PathBuf::from).filter(|_| host.starts_with("unix://")),
            prepared: tokio::sync::Mutex::new(None),
            sharing: tokio::sync::watch::Sender::new(None),
            open_walls: AtomicBool::new(false),
            making: Arc::default(),
            networks: tokio::sync::Mutex::new(()),
            some_image: Mutex::new(None),
            images: Arc::new(images),
        })))
    }

    pub(super) async fn answers(&self) -> Result<(), ExecutorError> {
        let why = match tokio::time::timeout(ANSWER, self.0.api.ping()).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error_chain(&error),
            Err(_) => format!("silent for {} s", ANSWER.as_secs()),
        };
        Err(ExecutorError::NoEngine(format!("the Docker Engine does not answer ({why})")))
    }

    pub(super) fn disk(&self) -> Option<PathBuf> {
        self.0.root.clone()
    }

    /// The engine's version.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// How files are shared with the engine, as soon as somebody has found out.
    pub fn sharing(&self) -> tokio::sync::watch::Receiver<Option<Sharing>> {
        self.0.sharing.subscribe()
    }

    /// What can be done before there is a job: the networks of the slots, and, when the engine has an image, the shim.
    /// Docker Engine 20.10 lets everybody reach everybody for some milliseconds while a network is made: now there
    /// is nobody. `folder` is on the file system of the jobs.
    pub(super) async fn get_ready(&self, slots: u32, folder: &Path) -> Result<(), ExecutorError> {
        for slot in 0..slots {
            self.slot_network(slot).await?;
        }
        if let Some(image) = self.any_image().await? {
            self.prepare(folder, &image).await?;
        }
        Ok(())
    }

    pub(super) async fn open(
        &self,
        place: &Place,
        spec: &RoomSpec,
        log: &SetupLog,
    ) -> Result<Room, ExecutorError> {
        let image = spec.image.as_deref();
        let image = image.ok_or_else(|| ExecutorError::Refused("the job names no `image`".into()))?;
        let (_, io) = make_io(place, &spec.name)?;
        let env = self.have_image(image, spec.pull, spec.login.as_ref(), log).await?;
        *self.0.some_image.lock().unwrap_or_else(PoisonError::into_inner) = Some(image.to_owned());
        let network = self.network(place).await?;
        self.warn_of_open_walls(log).await;
        let limits = Limits::of(&self.0.config, &spec.resources);
        for again in [true, false] {
            let sharing = self.prepare(&place.folder, image).await?;
            let request = Request {
                image,
                labels: self.labels(place, &spec.name),
                network: &network,
                limits: &limits,
                place: sharing.outside(&place.workspace()).zip(sharing.outside(&io)),
            };
            let id = self.create(&request, log).await?;
            let container = self.container(&id, place);
            match self.0.api.start_container(&id, None).await {
                Ok(()) => return self.enter(place, spec, container, &sharing, env).await,
                Err(error) => {
                    container.remove().await?;
                    let words = engine_words(&error);
                    // Somebody removed the shim's volume: fill it once more.
                    if !(again && words.contains(SHIM)) {
                        return Err(ExecutorError::engine("starting the container")(error));
                    }
                    *self.0.prepared.lock().await = None;
                }
            }
        }
        Err(ExecutorError::Lost("the shim's volume was removed while the container started".into()))
    }

    /// Connects to the shim of a container that was just started; removes the container when that fails.
    async fn enter(
        &self,
        place: &Place,
        spec: &RoomSpec,
        container: Container,
        sharing: &Sharing,
        env: Vec<(String, String)>,
    ) -> Result<Room, ExecutorError> {
        let linked = match sharing {
            Sharing::Same | Sharing::Mapped { .. } => {
                let (folder, _) = make_io(place, &spec.name)?;
                socket::connect(&folder).await.map(|(link, _)| (link, Files::Shared(folder)))
            }
            Sharing::None => container.relay().await.map(|link| (link, Files::Remote)),
        };
        match linked {
            Ok((link, files)) => Ok(room(&spec.name, container, link, files, env)),
            Err(error) => {
                let why = container.epitaph().await;
                container.remove().await?;
                tracing::warn!(%error, why, "a container's first process could not be reached");
                Err(error)
            }
        }
    }

    pub(super) async fn reattach(&self, place: &Place) -> Result<Vec<Room>, ExecutorError> {
        drop(self.0.making.write().await);
        let mut rooms = Vec::new();
        for (id, labels) in self.containers_of(place.attempt).await? {
            let container = self.container(&id, place);
            let Some(name) = labels.get(label::ROOM).filter(|name| is_name(name)) else {
                container.remove().await?;
                continue;
            };
            let what = match self.0.api.inspect_container(&id, None).await {
                // Somebody has just removed it.
                Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => continue,
                what => what.map_err(ExecutorError::engine("looking at a container"))?,
            };
            let env = image::pairs(what.config.and_then(|config| config.env));
            let shares = what.mounts.iter().flatten().any(|mount| mount.destination.as_deref() == Some(IO));
            let (link, files) = if shares {
                let (folder, _) = make_io(place, name)?;
                let link = socket::try_connect(&folder).await.map_or_else(|_| Link::lost(), |(link, _)| link);
                (link, Files::Shared(folder))
            } else {
                (container.relay().await.unwrap_or_else(|_| Link::lost()), Files::Remote)
            };
            rooms.push(room(name, container, link, files, env));
        }
        Ok(rooms)
    }

    fn container(&self, id: &str, place: &Place) -> Container {
        Container::new(self.clone(), id.to_owned(), place.clone())
    }

    fn labels(&self, place: &Place, room: &str) -> HashMap<String, String> {
        let mut labels = self.own_labels();
        labels.extend([
            (label::JOB.to_owned(), place.job.to_string()),
            (label::ATTEMPT.to_owned(), place.attempt.to_string()),
            (label::SLOT.to_owned(), place.slot.to_string()),
            (label::ROOM.to_owned(), room.to_owned()),
        ]);
        labels
    }

    fn own_labels(&self) -> HashMap<String, String> {
        let DockerConfig { instance, worker, .. } = &self.0.config;
        [(label::INSTANCE.to_owned(), instance.clone()), (label::WORKER.to_owned(), worker.clone())].into()
    }

    /// What the engine is asked with, so that it shows only what is this worker's.
    fn own_filter(&self, more: Option<String>) -> HashMap<String, Vec<String>> {
        let own = self.own_labels().into_iter().map(|(name, value)| format!("{name}={value}"));
        [("label".to_owned(), own.chain(more).collect())].into()
    }

    /// Containers of an attempt, running or not, with their labels.
    async fn containers_of(
        &self,
        attempt: AttemptId,
    ) -> Result<Vec<(String, HashMap<String, String>)>, ExecutorError> {
        self.containers(Some(format!("{}={attempt}", label::ATTEMPT))).await
    }
}

/// Labels of containers and networks.
mod label {
    pub(super) const INSTANCE: &str = "ocelot.instance";
    pub(super) const WORKER: &str = "ocelot.worker";
    pub(super) const JOB: &str = "ocelot.job";
    pub(super) const ATTEMPT: &str = "ocelot.attempt";
    pub(super) const SLOT: &str = "ocelot.slot";
    pub(super) const ROOM: &str = "ocelot.room";
    /// On the shim's volume, which all instances of an engine share.
    pub(super) const SHIM: &str = "ocelot.shim";
}

fn room(name: &str, container: Container, link: Link, files: Files, mut env: Vec<(String, String)>) -> Room {
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".into(), PATH.into()));
    }
    Room::new(Inner {
        name: name.to_owned(),
        keeper: Keeper::Docker(container),
        link,
        files,
        workspace: WORKSPACE.into(),
        io: IO.into(),
        env,
    })
}

fn no_engine(host: &str, error: &bollard::errors::Error) -> ExecutorError {
    let words = error_chain(error);
    let advice = if words.contains("ermission denied") {
        "this user may not use it: add the user to the group `docker`, or run the worker as root".to_owned()
    } else if host.starts_with("unix://") {
        "install one with `apt-get install -y docker.io` and start it with `systemctl start docker` \
         (without systemd: `dockerd &`)"
            .to_owned()
    } else {
        "check the address (`DOCKER_HOST`) and that the engine runs there".to_owned()
    };
    ExecutorError::NoEngine(format!("no Docker Engine answers at {host} ({words}): {advice}"))
}

/// The client library hides why a connection failed in the sources of its errors.
fn error_chain(error: &bollard::errors::Error) -> String {
    let sources = causes::all(error).skip(1);
    sources.fold(engine_words(error), |words, cause| causes::with(words, &cause.to_string()))
}
