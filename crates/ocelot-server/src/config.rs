//! The server's configuration: one typed struct, loaded once by the executable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ocelot_store::LogStoreOptions;

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where HTTP and gRPC listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `sqlite:///path/ocelot.db` or `postgres://…`.
    pub database_url: String,
    /// Folder of the server's own files (`logs.db`, mirrors, `admin-token`).
    pub data: PathBuf,
    /// Where finished logs go; default: a folder in `data`.
    pub log_store: LogStoreOptions,
    /// File with the key that seals secrets; default: `secret-key` in `data`.
    pub key_file: Option<PathBuf>,
    /// Address that people and forges use; default: the listen address.
    pub public_url: Option<String>,
    /// Certificate and key; without them the server speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Proxies whose `X-Forwarded-*` headers are believed: addresses or `address/bits`.
    pub trusted_proxies: Vec<String>,
    /// A second listener that serves `/metrics` alone, without a token.
    pub metrics_listen: Option<SocketAddr>,
    /// `file://` and local paths may be cloned.
    pub allow_local_repos: bool,
    /// Plain `http://` may be cloned from any host, not only from this machine.
    pub insecure_http: bool,
    /// A worker that is silent for so long loses its attempts.
    pub lease_hard_limit: Duration,
    /// No lease ends before the server has been up for so long.
    pub lease_grace: Duration,
    /// A job that no worker takes for so long ends in `error`.
    pub queue_timeout: Duration,
    /// What nobody approves of for so long is cancelled.
    pub approval_timeout: Duration,
    /// How often it is looked whether forges told of everything.
    pub reconcile_every: Duration,
    /// What an `ocelot.yml` may ask for at most.
    pub limits: ocelot_model::pipeline::Limits,
    /// So many jobs of one repository run at once at most; `None` for no limit.
    pub max_jobs_per_repo: Option<u32>,
    /// A server that stops says so for this long, and still serves, before it takes no more connections.
    pub stop_delay: Duration,
    /// What is kept, and for how long.
    pub keep: Keep,
    /// How patient the server is with workers.
    pub patience: Patience,
}

/// Files in PEM, which are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate, then those that signed it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is kept, and for how long: builds and logs after the end of the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Logs; `None` for ever.
    pub logs: Option<Duration>,
    /// Builds; `None` for ever.
    pub builds: Option<Duration>,
    /// So many of the last builds of each branch stay, however old they are.
    pub last: u32,
    /// Workers that were not seen, and hold nothing, for so long; `None` for ever.
    pub workers: Option<Duration>,
}

impl Default for Keep {
    fn default() -> Self {
        const DAY: u64 = 24;
        Keep {
            logs: Some(Duration::from_hours(90 * DAY)),
            builds: Some(Duration::from_hours(2 * 365 * DAY)),
            last: 50,
            workers: Some(Duration::from_hours(14 * DAY)),
        }
    }
}

/// How patient the server is with workers and forges. Not an option: tests shorten it.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// An offer is answered within this time.
    pub accept: Duration,
    /// A worker that says nothing for so long is cut off; it comes back by itself.
    pub silence: Duration,
    /// A job waits at most so long for a worker that has its mirror and is about to be free.
    pub prefer: Duration,
    /// The queue is looked at this often without any wake-up, should one ever be lost.
    pub look: Duration,
    /// Finished logs go into the log store this often.
    pub copy: Duration,
    /// They stay in the database too for so long: a server of the version before, beside this one, reads them there.
    pub hot: Duration,
    /// Sending one status to a forge may take so long.
    pub send: Duration,
    /// First pause after a forge did not take one; the next ones are longer.
    pub again: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            accept: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            prefer: Duration::from_secs(2),
            look: Duration::from_secs(15),
            copy: Duration::from_secs(15),
            hot: Duration::from_hours(1),
            send: Duration::from_secs(40),
            again: Duration::from_secs(1),
        }
    }
}
