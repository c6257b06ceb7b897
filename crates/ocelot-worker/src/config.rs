//! The worker's configuration: one typed struct, loaded once by the executable.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::condition::MinFree;
use crate::keep::Keep;

/// What a worker needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server: `http://host:port` or `https://host[:port]`.
    pub server: String,
    /// A token of role worker, or one for enrolment. Empty when the worker has enrolled before.
    pub token: SecretString,
    /// PEM file with a further authority whose certificates are believed.
    pub ca_cert: Option<PathBuf>,
    /// Folder of its own: jobs, mirrors, its identity. Absolute, or below the current folder.
    pub data: PathBuf,
    /// The name under which people see it; unique among the workers of one server.
    pub name: String,
    /// Labels besides `os`, `arch` and `executor`, which come by themselves.
    pub labels: BTreeMap<String, String>,
    /// Jobs at the same time.
    pub slots: u32,
    /// How stages are run.
    pub executor: ExecutorKind,
    /// Where the Docker Engine is; `None` takes `DOCKER_HOST`, then the usual socket.
    pub docker_host: Option<String>,
    /// Bytes of log that a stage may write; what follows is dropped with a marker.
    pub log_cap_bytes: u64,
    /// With less room on its disks it takes no jobs.
    pub min_free: MinFree,
    /// Which mirrors of repositories are kept.
    pub mirrors: Keep,
    /// Which of the images that it pulled for jobs are kept.
    pub images: Keep,
    /// How often it looks whether its machine is fit for jobs.
    pub look: Duration,
}

/// How stages are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutorKind {
    /// In containers of a Docker Engine.
    Docker,
    /// As processes of this machine.
    Host,
}

impl Config {
    /// Default of [`Config::log_cap_bytes`]: 100 MiB.
    pub const LOG_CAP: u64 = 100 << 20;

    /// The defaults: Docker, two slots, no labels of its own.
    pub fn new(
        server: impl Into<String>,
        token: SecretString,
        data: PathBuf,
        name: impl Into<String>,
    ) -> Config {
        Config {
            server: server.into(),
            token,
            ca_cert: None,
            data,
            name: name.into(),
            labels: BTreeMap::new(),
            slots: 2,
            executor: ExecutorKind::Docker,
            docker_host: None,
            log_cap_bytes: Self::LOG_CAP,
            min_free: MinFree::default(),
            mirrors: Keep { age: Some(Duration::from_hours(30 * 24)), bytes: Some(20 << 30) },
            images: Keep { age: Some(Duration::from_hours(14 * 24)), bytes: Some(50 << 30) },
            look: Duration::from_secs(10),
        }
    }

    /// Where the folders of attempts are.
    pub(crate) fn jobs(&self) -> PathBuf {
        self.data.join("jobs")
    }

    /// All labels: its own, and above them those that a worker has by itself.
    pub(crate) fn all_labels(&self) -> BTreeMap<String, String> {
        let executor = match self.executor {
            ExecutorKind::Docker => "docker",
            ExecutorKind::Host => "host",
        };
        let mut labels = self.labels.clone();
        labels.insert("os".into(), std::env::consts::OS.into());
        labels.insert("arch".into(), arch().into());
        labels.insert("executor".into(), executor.into());
        labels
    }
}

/// The machine's architecture in the words that images use.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
