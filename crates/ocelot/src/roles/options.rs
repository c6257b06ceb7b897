//! Options that `up` and `server` share, and how they become the server's configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use ocelot_server::{LogPlace, LogStoreOptions};

use super::log::LogOptions;
use super::read::{Age, address, age, cores, duration, network, size, web_address};
use crate::exit::usage;

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const HARD_LIMIT: Duration = Duration::from_mins(3);
const GRACE: Duration = Duration::from_mins(1);
const QUEUE_TIMEOUT: Duration = Duration::from_hours(24);
const APPROVAL_TIMEOUT: Duration = Duration::from_hours(30 * 24);
const RECONCILE_EVERY: Duration = Duration::from_mins(15);

#[derive(Debug, Args)]
pub(crate) struct ServerOptions {
    /// Folder for everything that the server writes [default: ./data].
    #[arg(long, value_name = "DIR", env = "OCELOT_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Address to listen on, for HTTP and workers; port 0 takes a free one [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS", env = "OCELOT_LISTEN", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,
    /// Address under which people and forges reach the server [default: that of --listen].
    #[arg(long, value_name = "URL", env = "OCELOT_PUBLIC_URL", value_parser = web_address)]
    public_url: Option<String>,
    /// Speak HTTPS with the certificate in this PEM file, with those that signed it after it. It is read again when it
    /// changes.
    #[arg(long, value_name = "FILE", env = "OCELOT_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE", env = "OCELOT_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// A proxy whose X-Forwarded headers are believed; may be given several times.
    #[arg(long, value_name = "CIDR", env = "OCELOT_TRUSTED_PROXY", value_delimiter = ',', value_parser = network)]
    trusted_proxy: Vec<String>,
    /// Serve /metrics here as well, without a token.
    #[arg(long, value_name = "ADDRESS", env = "OCELOT_METRICS_LISTEN", value_parser = address)]
    metrics_listen: Option<SocketAddr>,
    /// A worker that is silent for so long loses its jobs [default: 3m].
    #[arg(long, value_name = "TIME", env = "OCELOT_LEASE_HARD_LIMIT", value_parser = duration)]
    lease_hard_limit: Option<Duration>,
    /// No worker loses a job before the server has been up for so long [default: 1m].
    #[arg(long, value_name = "TIME", env = "OCELOT_LEASE_GRACE", value_parser = duration, hide = true)]
    lease_grace: Option<Duration>,
    /// A job that no worker takes for so long ends as an error that says why [default: 24h].
    #[arg(long, value_name = "TIME", env = "OCELOT_QUEUE_TIMEOUT", value_parser = duration)]
    queue_timeout: Option<Duration>,
    /// A build that waits for a person's approval for so long is cancelled [default: 30d].
    #[arg(long, value_name = "TIME", env = "OCELOT_APPROVAL_TIMEOUT", value_parser = duration)]
    approval_timeout: Option<Duration>,
    /// How often it is looked whether forges told of all pushes and pull requests [default: 15m].
    #[arg(long, value_name = "TIME", env = "OCELOT_RECONCILE_EVERY", value_parser = duration)]
    reconcile_every: Option<Duration>,
    /// Longest `timeout` that an ocelot.yml may ask for [default: no limit].
    #[arg(long, value_name = "TIME", env = "OCELOT_MAX_TIMEOUT", value_parser = duration)]
    max_timeout: Option<Duration>,
    /// Most `resources.cpu` that it may ask for; a job that asks for none gets this [default: no limit].
    #[arg(long, value_name = "CORES", env = "OCELOT_MAX_CPU", value_parser = cores)]
    max_cpu: Option<f64>,
    /// Most `resources.memory`, such as 4GiB; a job that asks for none gets this [default: no limit].
    #[arg(long, value_name = "SIZE", env = "OCELOT_MAX_MEMORY", value_parser = size)]
    max_memory: Option<u64>,
    /// Most jobs of one repository at once, on all workers together; the same on all servers [default: no limit].
    #[arg(long, value_name = "N", env = "OCELOT_MAX_JOBS_PER_REPO", value_parser = clap::value_parser!(u32).range(1..))]
    max_jobs_per_repo: Option<u32>,
    /// A server that is told to stop says so at /readyz for this long and still serves, so that a proxy sends requests
    /// elsewhere first [default: none].
    #[arg(long, value_name = "TIME", env = "OCELOT_STOP_DELAY", value_parser = duration)]
    stop_delay: Option<Duration>,
    /// Logs are removed so long after the end of their build: 90d, 12w, 2y, forever [default: 90d].
    #[arg(long, value_name = "AGE", env = "OCELOT_KEEP_LOGS", value_parser = age)]
    keep_logs: Option<Age>,
    /// Builds are removed so long after their end [default: 2y].
    #[arg(long, value_name = "AGE", env = "OCELOT_KEEP_BUILDS", value_parser = age)]
    keep_builds: Option<Age>,
    /// The last N builds of each branch are kept, however old they are [default: 50].
    #[arg(long, value_name = "N", env = "OCELOT_KEEP_LAST", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    keep_last: Option<u32>,
    /// Workers that nobody has seen for so long are forgotten [default: 14d].
    #[arg(long, value_name = "AGE", env = "OCELOT_KEEP_WORKERS", value_parser = age)]
    keep_workers: Option<Age>,
    /// Where finished logs go: file:///folder or s3://bucket/prefix, with AWS_* variables for S3 [default: log-store in --data].
    #[arg(long, value_name = "URL", env = "OCELOT_LOG_STORE")]
    log_store: Option<LogPlace>,
    /// The folder of --log-store is the same one for every server of this database.
    #[arg(long, env = "OCELOT_LOG_STORE_SHARED")]
    log_store_shared: bool,
    /// File with the key that seals secrets in the database; the same one for every server of it [default: secret-key in --data].
    #[arg(long, value_name = "FILE", env = "OCELOT_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Let repositories be local folders of this machine (file://).
    #[arg(long, env = "OCELOT_ALLOW_LOCAL_REPOS")]
    allow_local_repos: bool,
    /// Let repositories be cloned by plain http:// from any host.
    #[arg(long, env = "OCELOT_INSECURE_HTTP")]
    insecure_http: bool,
    /// Write the address to this file once requests are answered.
    #[arg(long, value_name = "FILE", env = "OCELOT_ADDRESS_FILE", hide = true)]
    pub(crate) address_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

/// The log store at this place, or the usual one below `data`.
pub(crate) fn log_store(place: Option<LogPlace>, data: &Path) -> LogStoreOptions {
    let variables = std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).collect();
    LogStoreOptions { place: Some(place.unwrap_or_else(|| LogPlace::below(data))), variables }
}

impl ServerOptions {
    /// The folder, absolute.
    pub(crate) fn data(&self) -> anyhow::Result<PathBuf> {
        let data = self.data.clone().unwrap_or_else(|| PathBuf::from("data"));
        std::path::absolute(&data).with_context(|| format!("`{}` is no folder", data.display()))
    }

    /// The server's configuration.
    pub(crate) fn config(
        &self,
        data: PathBuf,
        database_url: String,
    ) -> anyhow::Result<ocelot_server::Config> {
        let tls = match (self.tls_cert.clone(), self.tls_key.clone()) {
            (Some(cert), Some(key)) => Some(ocelot_server::Tls { cert, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(usage("--tls-cert needs --tls-key, the file with the certificate's private key"));
            }
            (None, Some(_)) => {
                return Err(usage("--tls-key needs --tls-cert, the file with the certificate"));
            }
        };
        Ok(ocelot_server::Config {
            tls,
            log_store: self.log_store(&data),
            key_file: self.key_file.clone(),
            listen: self.listen.unwrap_or(LISTEN),
            database_url,
            data,
            public_url: self.public_url.clone(),
            trusted_proxies: self.trusted_proxy.clone(),
            metrics_listen: self.metrics_listen,
            allow_local_repos: self.allow_local_repos,
            insecure_http: self.insecure_http,
            lease_hard_limit: self.lease_hard_limit.unwrap_or(HARD_LIMIT),
            lease_grace: self.lease_grace.unwrap_or(GRACE),
            queue_timeout: self.queue_timeout.unwrap_or(QUEUE_TIMEOUT),
            approval_timeout: self.approval_timeout.unwrap_or(APPROVAL_TIMEOUT),
            reconcile_every: self.reconcile_every.unwrap_or(RECONCILE_EVERY),
            limits: ocelot_model::pipeline::Limits {
                timeout_ms: self.max_timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
                cpu: self.max_cpu,
                memory: self.max_memory,
            },
            max_jobs_per_repo: self.max_jobs_per_repo,
            stop_delay: self.stop_delay.unwrap_or_default(),
            keep: self.keep(),
            patience: ocelot_server::Patience::default(),
        })
    }

    fn log_store(&self, data: &Path) -> LogStoreOptions {
        let place = self.log_store.clone().unwrap_or_else(|| LogPlace::below(data));
        log_store(Some(if self.log_store_shared { place.shared() } else { place }), data)
    }

    fn keep(&self) -> ocelot_server::Keep {
        let default = ocelot_server::Keep::default();
        ocelot_server::Keep {
            logs: self.keep_logs.map_or(default.logs, |Age(age)| age),
            builds: self.keep_builds.map_or(default.builds, |Age(age)| age),
            last: self.keep_last.unwrap_or(default.last),
            workers: self.keep_workers.map_or(default.workers, |Age(age)| age),
        }
    }
}
