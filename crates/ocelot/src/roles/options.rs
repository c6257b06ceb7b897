//! Options that `up` and `server` share, and how they become the server's configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::cli::config::File;

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const HARD_LIMIT: Duration = Duration::from_mins(3);
const GRACE: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(crate) struct ServerOptions {
    /// Folder for everything that the server writes [default: ./data].
    #[arg(long, value_name = "DIR", env = "OCELOT_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Address to listen on, for HTTP and workers; port 0 takes a free one [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS", env = "OCELOT_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Address under which people and forges reach the server [default: that of --listen].
    #[arg(long, value_name = "URL", env = "OCELOT_PUBLIC_URL")]
    public_url: Option<String>,
    /// A proxy whose X-Forwarded headers are believed; may be given several times.
    #[arg(long, value_name = "CIDR", env = "OCELOT_TRUSTED_PROXY", value_delimiter = ',')]
    trusted_proxy: Vec<String>,
    /// Serve /metrics here as well, without a token.
    #[arg(long, value_name = "ADDRESS", env = "OCELOT_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
    /// A worker that is silent for so long loses its jobs [default: 3m].
    #[arg(long, value_name = "TIME", env = "OCELOT_LEASE_HARD_LIMIT", value_parser = duration)]
    lease_hard_limit: Option<Duration>,
    /// No worker loses a job before the server has been up for so long [default: 1m].
    #[arg(long, value_name = "TIME", env = "OCELOT_LEASE_GRACE", value_parser = duration, hide = true)]
    lease_grace: Option<Duration>,
    /// Let repositories be local folders of this machine (file://).
    #[arg(long, env = "OCELOT_ALLOW_LOCAL_REPOS")]
    allow_local_repos: bool,
    /// Let repositories be cloned by plain http:// from any host.
    #[arg(long, env = "OCELOT_INSECURE_HTTP")]
    insecure_http: bool,
    /// Write the log as JSON.
    #[arg(long, env = "OCELOT_LOG_JSON")]
    log_json: bool,
    /// Write the address to this file once requests are answered.
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) address_file: Option<PathBuf>,
}

impl ServerOptions {
    /// The folder, absolute.
    pub(crate) fn data(&self, file: &File) -> anyhow::Result<PathBuf> {
        let data = self.data.clone().or_else(|| file.data.clone()).unwrap_or_else(|| PathBuf::from("data"));
        std::path::absolute(&data).with_context(|| format!("`{}` is no folder", data.display()))
    }

    pub(crate) fn log_json(&self, file: &File) -> bool {
        self.log_json || file.log_json.unwrap_or(false)
    }

    /// The server's configuration.
    pub(crate) fn config(
        &self,
        file: &File,
        data: PathBuf,
        database_url: String,
    ) -> anyhow::Result<ocelot_server::Config> {
        let from_file = file.lease_hard_limit.as_deref().map(duration).transpose();
        let from_file = from_file.map_err(|e| anyhow::anyhow!("lease_hard_limit in ocelot.toml: {e}"))?;
        let proxies = if self.trusted_proxy.is_empty() {
            file.trusted_proxy.clone().unwrap_or_default()
        } else {
            self.trusted_proxy.clone()
        };
        Ok(ocelot_server::Config {
            listen: self.listen.or(file.listen).unwrap_or(LISTEN),
            database_url,
            data,
            public_url: self.public_url.clone().or_else(|| file.public_url.clone()),
            trusted_proxies: proxies,
            metrics_listen: self.metrics_listen.or(file.metrics_listen),
            allow_local_repos: self.allow_local_repos || file.allow_local_repos.unwrap_or(false),
            insecure_http: self.insecure_http || file.insecure_http.unwrap_or(false),
            lease_hard_limit: self.lease_hard_limit.or(from_file).unwrap_or(HARD_LIMIT),
            lease_grace: self.lease_grace.unwrap_or(GRACE),
            patience: ocelot_server::Patience::default(),
        })
    }
}

/// `3m`, `90s`, `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| format!("`{text}` is no time; write for example 90s or 3m"))?;
    let parsed = Duration::try_from(parsed).ok().filter(|time| !time.is_zero());
    parsed.ok_or_else(|| format!("`{text}` must be more than nothing"))
}
