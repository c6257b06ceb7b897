//! `ocelot worker --server URL --token T`: a worker alone.

use std::path::PathBuf;

use clap::Args;
use ocelot_api::client::check_token;
use ocelot_worker::{Config, Shutdown};
use secrecy::{ExposeSecret as _, SecretString};

use crate::exit::usage;
use crate::roles;
use crate::roles::log::LogOptions;
use crate::roles::read::{web_address, worker_name};
use crate::roles::work::WorkOptions;

#[expect(clippy::doc_markdown, reason = "the text is shown as help, where marks would stand in the way")]
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Address of the server.
    #[arg(long, value_name = "URL", env = "OCELOT_SERVER", value_parser = web_address)]
    server: Option<String>,
    /// An enrolment token (`ocelot worker token create`), or one of the role worker; better in OCELOT_TOKEN, where other
    /// users of the machine do not see it. A worker that has enrolled needs none any more.
    #[arg(long, env = "OCELOT_TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
    /// Read the token from this file, and wait for it when it is not there yet (`ocelot server --worker-token-file`
    /// writes it). Goes before --token.
    #[arg(long, value_name = "FILE", env = "OCELOT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Believe certificates of the authority in this PEM file, too.
    #[arg(long, value_name = "FILE", env = "OCELOT_CA_CERT")]
    ca_cert: Option<PathBuf>,
    /// Folder for jobs and copies of repositories [default: ./worker-data].
    #[arg(long, value_name = "DIR", env = "OCELOT_DATA")]
    data: Option<PathBuf>,
    /// Name under which people see it [default: the machine's].
    #[arg(long, env = "OCELOT_NAME", value_parser = worker_name)]
    name: Option<String>,
    /// Jobs at the same time [default: 2].
    #[arg(long, value_name = "N", env = "OCELOT_SLOTS", value_parser = clap::value_parser!(u32).range(1..=256))]
    slots: Option<u32>,
    #[command(flatten)]
    work: WorkOptions,
    #[command(flatten)]
    log: LogOptions,
}

pub(crate) async fn start(options: Options) -> anyhow::Result<u8> {
    let log = options.log.clone();
    let file = options.token_file.clone();
    let mut config = config(options)?;
    log.begin();
    if let Some(file) = file.filter(|file| file.exists() || !is_enrolled(&config)) {
        config.token = roles::token::wait_for(&file).await?;
    }
    if !config.token.expose_secret().is_empty() {
        check_token(config.token.expose_secret())?;
    }
    let _lock = roles::lock::lock(&config.data)?;
    let ending = roles::signals::listen(true)?;
    let shutdown = Shutdown { drain: ending.drain, cancel: ending.cancel };
    ocelot_worker::work(config, shutdown).await?;
    Ok(0)
}

/// True when the folder has what the server knows the worker by.
fn is_enrolled(config: &Config) -> bool {
    ocelot_worker::identity_file(&config.data).exists()
}

fn config(options: Options) -> anyhow::Result<Config> {
    let missing = |what: &str| {
        let (flag, hint) = what.split_once(' ').unwrap_or((what, ""));
        let name = flag.to_uppercase();
        usage(format!("--{flag} is missing (or OCELOT_{name}, or `{flag}` in ocelot.toml): {hint}"))
    };
    let server = options.server.ok_or_else(|| missing("server the address of the server"))?;
    // That of a file is read once the log tells what is waited for.
    let token = options.token.filter(|_| options.token_file.is_none()).unwrap_or_default();
    let data = std::path::absolute(options.data.unwrap_or_else(|| PathBuf::from("worker-data")))?;
    let mut config = Config::new(server, token, data, options.name.unwrap_or_else(roles::machine));
    config.ca_cert = options.ca_cert;
    config.slots = options.slots.unwrap_or(config.slots);
    options.work.apply(&mut config)?;
    if config.token.expose_secret().is_empty() && options.token_file.is_none() && !is_enrolled(&config) {
        return Err(missing("token `ocelot worker token create` on the server makes one"));
    }
    Ok(config)
}
