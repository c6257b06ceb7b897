//! Where stages run: containers of a Docker Engine, or processes of this machine.
//!
//! A job attempt has a [`Place`], a folder of its own. In it the executor opens [`Room`]s: one container per
//! image, or one process tree on the host. In a room the shim is the first process; stages are sent to it
//! ([`Room::start`]), and what comes back, frames of output and an [`Exit`], lies in the place's folder, where
//! a stage may have tampered with it. So everything that is read back is opened beneath that folder only.
//!
//! This is the only module that knows Docker. It must not know the server, leases, masking or shipping of logs.
//!
//! Dropping a [`Room`] leaves it running on purpose: a worker that starts again finds it by
//! [`Executor::reattach`]. Only [`Room::close`] and [`Executor::sweep`] end it.

pub mod beneath;
mod docker;
mod error;
mod files;
mod frames;
mod host;
mod link;
mod place;
mod room;
mod script;
mod shim;
mod socket;

pub use docker::{Docker, DockerConfig, HeldImages, Sharing};
pub use error::ExecutorError;
pub use frames::{Frame, Frames};
pub use host::{Host, HostConfig};
pub use place::{File, Place, RegistryLogin, RoomSpec, User};
pub use room::{Exit, Order, Outcome, Room, StageHandle};

use ocelot_model::id::AttemptId;
use tokio::sync::mpsc;

use crate::keep::Keep;

/// Where [`Executor::open`] writes what a person should see in the `setup` stage's log: lines that end in
/// `\n`. Somebody must read the other end while `open` is under way; a closed one is fine.
pub type SetupLog = mpsc::Sender<Vec<u8>>;

/// One of the two ways to run stages. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Executor {
    /// Containers of a Docker Engine.
    Docker(Docker),
    /// Processes of this machine, for jobs that are trusted with it.
    Host(Host),
}

impl Executor {
    /// Connects to the Docker Engine. Fails with the commands that install and start one when none answers.
    pub async fn docker(config: DockerConfig) -> Result<Executor, ExecutorError> {
        Docker::connect(config).await.map(Executor::Docker)
    }

    /// Runs stages as processes of this machine; writes the shim into the data folder.
    pub fn host(config: HostConfig) -> Result<Executor, ExecutorError> {
        Host::new(config).map(Executor::Host)
    }

    /// `docker` or `host`: the value of the label `executor`.
    pub fn kind(&self) -> &'static str {
        match self {
            Executor::Docker(_) => "docker",
            Executor::Host(_) => "host",
        }
    }

    /// Asks the engine whether it is there. On the host there is nobody to ask.
    pub async fn answers(&self) -> Result<(), ExecutorError> {
        match self {
            Executor::Docker(docker) => docker.answers().await,
            Executor::Host(_) => Ok(()),
        }
    }

    /// Where the engine keeps images and containers, when it runs on this machine.
    pub fn disk(&self) -> Option<std::path::PathBuf> {
        match self {
            Executor::Docker(docker) => docker.disk(),
            Executor::Host(_) => None,
        }
    }

    /// Makes what does not depend on a job, so that the first one need not wait for it. `folder` is where jobs are.
    pub async fn get_ready(&self, slots: u32, folder: &std::path::Path) -> Result<(), ExecutorError> {
        match self {
            Executor::Docker(docker) => docker.get_ready(slots, folder).await,
            Executor::Host(_) => Ok(()),
        }
    }

    /// Looks whether jobs that run at the same time can reach each other, and says so in the logs when they can.
    pub async fn look_at_walls(&self) -> Result<(), ExecutorError> {
        match self {
            Executor::Docker(docker) => docker.look_at_walls().await,
            Executor::Host(_) => Ok(()),
        }
    }

    /// Gets an image that a later room needs, so that it is pulled where its progress is seen.
    pub async fn have_image(
        &self,
        image: Option<&str>,
        pull: ocelot_model::pipeline::spec::Pull,
        login: Option<&RegistryLogin>,
        log: &SetupLog,
    ) -> Result<(), ExecutorError> {
        match (self, image) {
            (Executor::Docker(docker), Some(image)) => {
                docker.have_image(image, pull, login, log).await.map(drop)
            }
            (Executor::Docker(_), None) | (Executor::Host(_), _) => Ok(()),
        }
    }

    /// Images are not removed while the answer lives. On the host there are none.
    pub async fn hold_images(&self, names: Vec<String>) -> Option<HeldImages> {
        match self {
            Executor::Docker(docker) => Some(docker.hold_images(names).await),
            Executor::Host(_) => None,
        }
    }

    /// Removes images that it has pulled and that are not to be kept, and with `missing` as many more as free so many bytes; never
    /// one that was there before or that anybody uses. Answers in words what it removed.
    pub async fn clean_images(&self, keep: Keep, missing: u64) -> Result<Vec<String>, ExecutorError> {
        match self {
            Executor::Docker(docker) => docker.clean_images(keep, missing).await,
            Executor::Host(_) => Ok(Vec::new()),
        }
    }

    /// Opens a room for an attempt: gets the image, starts the container, connects to the shim in it.
    ///
    /// `place.folder` and its `workspace` must exist. On an error nothing is left running.
    pub async fn open(&self, place: &Place, spec: &RoomSpec, log: &SetupLog) -> Result<Room, ExecutorError> {
        match self {
            Executor::Docker(docker) => docker.open(place, spec, log).await,
            Executor::Host(host) => host.open(place, spec).await,
        }
    }

    /// Finds the rooms of an attempt that are still there after a restart of the worker. A room whose
    /// container has ended is among them: finished stages can still be read, [`Room::close`] removes it.
    pub async fn reattach(&self, place: &Place) -> Result<Vec<Room>, ExecutorError> {
        match self {
            Executor::Docker(docker) => docker.reattach(place).await,
            Executor::Host(host) => host.reattach(place).await,
        }
    }

    /// Removes containers and networks that an earlier life of this worker left, but for those of `keep`.
    /// Touches only what carries this instance's and this worker's labels. Answers what it removed, in words.
    ///
    /// On the host there is no list to look at: reattach to each leftover place and close its rooms.
    pub async fn sweep(&self, keep: &[AttemptId]) -> Result<Vec<String>, ExecutorError> {
        match self {
            Executor::Docker(docker) => docker.sweep(keep).await,
            Executor::Host(_) => Ok(Vec::new()),
        }
    }

    /// Deletes the folder of an attempt whose rooms are closed, also what belongs to other users in it.
    pub async fn remove_place(&self, place: &Place) -> Result<(), ExecutorError> {
        match self {
            Executor::Docker(docker) => docker.remove_place(place).await,
            Executor::Host(host) => host.remove_place(place).await,
        }
    }

    /// Removes what is kept between jobs (empty networks of the slots). For the end of a worker.
    pub async fn leave(&self) -> Result<(), ExecutorError> {
        match self {
            Executor::Docker(docker) => docker.leave().await,
            Executor::Host(_) => Ok(()),
        }
    }
}
