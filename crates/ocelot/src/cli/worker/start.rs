//! `ocelot worker --server URL --token T`: a worker alone.

use std::path::PathBuf;

use clap::Args;
use ocelot_worker::{Config, Shutdown};
use secrecy::SecretString;

use crate::cli::config::File;
use crate::exit::usage;
use crate::roles;
use crate::roles::work::WorkOptions;

#[expect(clippy::doc_markdown, reason = "the text is shown as help, where marks would stand in the way")]
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Address of the server.
    #[arg(long, value_name = "URL", env = "OCELOT_SERVER")]
    server: Option<String>,
    /// A token of the role worker; better in OCELOT_TOKEN, where other users of the machine do not see it.
    #[arg(long, env = "OCELOT_TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
    /// Folder for jobs and copies of repositories [default: ./worker-data].
    #[arg(long, value_name = "DIR", env = "OCELOT_DATA")]
    data: Option<PathBuf>,
    /// Name under which people see it [default: the machine's].
    #[arg(long, env = "OCELOT_NAME")]
    name: Option<String>,
    /// Jobs at the same time [default: 2].
    #[arg(long, value_name = "N", env = "OCELOT_SLOTS", value_parser = clap::value_parser!(u32).range(1..=256))]
    slots: Option<u32>,
    #[command(flatten)]
    work: WorkOptions,
    /// Write the log as JSON.
    #[arg(long, env = "OCELOT_LOG_JSON")]
    log_json: bool,
}

pub(crate) async fn start(options: Options, file: File) -> anyhow::Result<u8> {
    roles::log::begin(options.log_json || file.log_json.unwrap_or(false))?;
    let config = config(options, &file)?;
    let _lock = roles::lock::lock(&config.data)?;
    let ending = roles::signals::listen(true)?;
    let shutdown = Shutdown { drain: ending.drain, cancel: ending.cancel };
    ocelot_worker::work(config, shutdown).await?;
    Ok(0)
}

fn config(options: Options, file: &File) -> anyhow::Result<Config> {
    let server = options.server.or_else(|| file.server.clone());
    let server = server.ok_or_else(|| usage("--server is missing: the address of the server"))?;
    let token = options
        .token
        .or_else(|| file.token.clone().map(SecretString::from))
        .ok_or_else(|| usage("--token is missing: `ocelot token create NAME --role worker` makes one"))?;
    let data = options.data.or_else(|| file.data.clone()).unwrap_or_else(|| PathBuf::from("worker-data"));
    let name = options.name.or_else(|| file.name.clone()).unwrap_or_else(roles::machine);
    let mut config = Config::new(server, token, std::path::absolute(data)?, name);
    config.slots = options.slots.or(file.slots).unwrap_or(config.slots);
    options.work.apply(file, &mut config)?;
    Ok(config)
}
