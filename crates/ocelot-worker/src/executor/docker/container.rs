//! One container: the closed form of what is asked of the engine, and its end.
//!
//! [`Request`] is all that a job can influence. There is no field for host mounts, privileges, devices or the
//! host's network, so no file can ask for them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, ExecConfig, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType,
    MountVolumeOptions,
};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptions,
};
use futures_util::TryStreamExt as _;
use ocelot_model::pipeline::spec::Resources;
use tokio_util::io::StreamReader;

use super::{Docker, DockerConfig, IO, SHIM, SHIM_DIR, WORKSPACE, label};
use crate::executor::error::engine_words;
use crate::executor::link::Link;
use crate::executor::shim;
use crate::executor::socket;
use crate::executor::{ExecutorError, Place, SetupLog};

/// What root in a container may do, beyond what anybody may: enough for package managers, nothing that
/// reaches out of the container.
const CAPABILITIES: [&str; 8] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETUID", "SETGID", "KILL", "NET_BIND_SERVICE"];
/// Longest until a removed container is gone from the engine's list.
const GONE: Duration = Duration::from_mins(1);

/// Limits of a container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pids: i64,
    memory: Option<i64>,
    nano_cpus: Option<i64>,
}

impl Limits {
    /// The job's own limits, else the worker's.
    pub(super) fn of(config: &DockerConfig, asked: &Resources) -> Limits {
        let memory = asked.memory.or(config.memory);
        Limits {
            pids: config.pids,
            memory: memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            nano_cpus: asked.cpu.or(config.cpu).map(|cores| (cores * 1e9) as i64),
        }
    }
}

/// A container for stages.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) image: &'a str,
    pub(super) labels: HashMap<String, String>,
    pub(super) network: &'a str,
    pub(super) limits: &'a Limits,
    /// Workspace and shim's folder as the engine sees them; `None` when it does not.
    pub(super) place: Option<(PathBuf, PathBuf)>,
}

impl Request<'_> {
    fn body(&self) -> ContainerCreateBody {
        let (uid, gid) = socket::owner();
        let mut mounts = vec![shim_volume(true)];
        if let Some((workspace, io)) = &self.place {
            mounts.extend([bind(workspace, WORKSPACE), bind(io, IO)]);
        }
        let serve = ["serve", IO, &uid.to_string(), &gid.to_string()].map(str::to_owned);
        ContainerCreateBody {
            working_dir: Some(WORKSPACE.into()),
            host_config: Some(HostConfig {
                memory: self.limits.memory,
                // No swap on top: a job that is over its limit should end, not crawl.
                memory_swap: self.limits.memory,
                nano_cpus: self.limits.nano_cpus,
                pids_limit: Some(self.limits.pids),
                network_mode: Some(self.network.to_owned()),
                cap_add: Some(CAPABILITIES.map(str::to_owned).into()),
                ..host_config(mounts)
            }),
            ..body(self.image, self.labels.clone(), SHIM, serve.into())
        }
    }
}

/// What all containers have in common, also those without a job's code.
pub(super) fn body(
    image: &str,
    labels: HashMap<String, String>,
    program: &str,
    arguments: Vec<String>,
) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        labels: Some(labels),
        entrypoint: Some(vec![program.to_owned()]),
        cmd: Some(arguments),
        user: Some("0:0".into()),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() }),
        ..ContainerCreateBody::default()
    }
}

pub(super) fn host_config(mounts: Vec<Mount>) -> HostConfig {
    HostConfig {
        mounts: Some(mounts),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec!["no-new-privileges".into()]),
        log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
        privileged: Some(false),
        // The shim reaps children itself, and must be the first process.
        init: Some(false),
        auto_remove: Some(false),
        ..HostConfig::default()
    }
}

/// A folder of the engine's machine. Fails when it is not there, instead of making an empty one.
pub(super) fn bind(outside: &Path, inside: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(outside.to_string_lossy().into_owned()),
        target: Some(inside.to_owned()),
        ..Mount::default()
    }
}

/// The volume with the shim, made by the engine when it is not there.
pub(super) fn shim_volume(read_only: bool) -> Mount {
    let labels = [(label::SHIM.to_owned(), shim::HASH.clone())].into();
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(format!("ocelot-shim-{}", *shim::HASH)),
        target: Some(SHIM_DIR.to_owned()),
        read_only: Some(read_only),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            labels: Some(labels),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

impl Docker {
    /// Makes the container, and says in the log which limit the engine cannot hold. Dropped, it lets the engine
    /// finish: a container that appears after all was looked for would be nobody's.
    pub(super) async fn create(
        &self,
        request: &Request<'_>,
        log: &SetupLog,
    ) -> Result<String, ExecutorError> {
        let (docker, body) = (self.clone(), request.body());
        let making = Arc::clone(&self.0.making).read_owned().await;
        let made = tokio::spawn(async move {
            let _making = making;
            docker.0.api.create_container(None, body).await
        });
        let made =
            made.await.map_err(|error| ExecutorError::Lost(format!("making the container: {error}")))?;
        let made = made.map_err(ExecutorError::engine("making the container"))?;
        for warning in made.warnings {
            let _ = log.send(format!("Docker Engine: {warning}\n").into_bytes()).await;
        }
        Ok(made.id)
    }

    /// This worker's containers, running or not, with their labels.
    pub(super) async fn containers(
        &self,
        more: Option<String>,
    ) -> Result<Vec<(String, HashMap<String, String>)>, ExecutorError> {
        let filter = self.own_filter(more);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
        let list = self.0.api.list_containers(Some(options)).await;
        let list = list.map_err(ExecutorError::engine("listing containers"))?;
        Ok(list.into_iter().filter_map(|one| Some((one.id?, one.labels.unwrap_or_default()))).collect())
    }

    /// Removes a container and its anonymous volumes; one that is gone already is fine.
    pub(super) async fn remove_container(&self, id: &str) -> Result<(), ExecutorError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.0.api.remove_container(id, Some(options)).await {
            // 409: somebody else is removing it at this moment.
            Ok(())
            | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            Err(error) => Err(ExecutorError::engine("removing the container")(error)),
        }
    }

    /// Waits for a container to end by itself; its exit code.
    pub(super) async fn wait(&self, id: &str) -> Result<i64, ExecutorError> {
        let mut ends = self.0.api.wait_container(id, None::<WaitContainerOptions>);
        match ends.try_next().await {
            Ok(end) => Ok(end.map_or(0, |end| end.status_code)),
            Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => Ok(code),
            Err(error) => Err(ExecutorError::engine("waiting for a container")(error)),
        }
    }
}

/// A container of an attempt.
#[derive(Debug)]
pub(crate) struct Container {
    pub(super) docker: Docker,
    pub(super) id: String,
    pub(super) place: Place,
}

impl Container {
    pub(super) fn new(docker: Docker, id: String, place: Place) -> Container {
        Container { docker, id, place }
    }

    /// Removes it, and looks until the engine no longer lists it.
    pub(crate) async fn remove(&self) -> Result<(), ExecutorError> {
        self.docker.remove_container(&self.id).await?;
        let deadline = tokio::time::Instant::now() + GONE;
        loop {
            let left = self.docker.containers_of(self.place.attempt).await?;
            if left.iter().all(|(id, _)| *id != self.id) {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                let message = "the engine still lists it after a minute".to_owned();
                return Err(ExecutorError::Engine { what: "removing the container".into(), message });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Why it no longer runs, in words for a person.
    pub(crate) async fn epitaph(&self) -> String {
        let state = match self.docker.0.api.inspect_container(&self.id, None).await {
            Ok(what) => what.state.unwrap_or_default(),
            Err(error) => return format!("the container is gone: {}", engine_words(&error)),
        };
        let code = state.exit_code.unwrap_or_default();
        match (state.running, state.oom_killed) {
            (Some(true), _) => "the container runs, but its first process does not answer".into(),
            (_, Some(true)) => "the container ended: out of memory".into(),
            (_, _) => format!("the container was ended from outside (exit code {code})"),
        }
    }

    /// Speaks with the shim through the engine, for when no folder is shared.
    pub(super) async fn relay(&self) -> Result<Link, ExecutorError> {
        let api = &self.docker.0.api;
        let config = ExecConfig {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            user: Some("0:0".into()),
            cmd: Some(vec![SHIM.into(), "relay".into(), IO.into()]),
            ..ExecConfig::default()
        };
        let failed = "speaking with the container";
        let exec = api.create_exec(&self.id, config).await.map_err(ExecutorError::engine(failed))?;
        let options = StartExecOptions { output_capacity: Some(256 << 10), ..StartExecOptions::default() };
        match api.start_exec(&exec.id, Some(options)).await.map_err(ExecutorError::engine(failed))? {
            StartExecResults::Attached { output, input } => {
                let bytes =
                    output.map_ok(bollard::container::LogOutput::into_bytes).map_err(std::io::Error::other);
                Ok(Link::new(StreamReader::new(bytes), input))
            }
            StartExecResults::Detached => Err(ExecutorError::Lost("the engine kept no connection".into())),
        }
    }
}
