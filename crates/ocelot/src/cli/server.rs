//! `ocelot server`: a server alone.

use std::path::PathBuf;

use clap::Args;

use super::show;
use crate::exit::usage;
use crate::roles::{self, options::ServerOptions, read::database};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// `sqlite:///path/ocelot.db` or `postgres://user:password@host/database`.
    #[arg(
        long,
        value_name = "URL",
        env = "OCELOT_DATABASE_URL",
        hide_env_values = true,
        value_parser = database
    )]
    database_url: Option<String>,
    /// Write a token with which any number of workers enrol into this file, for those that read it from there
    /// (`ocelot worker --token-file`).
    #[arg(long, value_name = "FILE", env = "OCELOT_WORKER_TOKEN_FILE")]
    worker_token_file: Option<PathBuf>,
    #[command(flatten)]
    server: ServerOptions,
}

pub(crate) async fn server(options: Options) -> anyhow::Result<u8> {
    let database = options.database_url.ok_or_else(|| {
        usage(
            "--database-url is missing (or OCELOT_DATABASE_URL, or `database_url` in ocelot.toml): \
             sqlite:///path/ocelot.db or postgres://… (`ocelot up` needs none)",
        )
    })?;
    let (options, worker_token_file) = (options.server, options.worker_token_file);
    let data = options.data()?;
    options.log.begin();
    let _lock = roles::lock::lock(&data)?;
    let _database = roles::lock::database(&database)?;
    let ending = roles::signals::listen(false)?;
    let mut server = ocelot_server::start(options.config(data.clone(), database)?).await?;
    if let Some(path) = &options.address_file {
        roles::write_address(path, &server)?;
    }
    if let Some(path) = &worker_token_file {
        server.write_worker_token(path).await?;
    }
    show::line(format_args!("Ocelot listens on {}", server.public_url()))?;
    show::line(format_args!("The admin's token is in {}", data.join("admin-token").display()))?;
    tokio::select! {
        ended = server.wait() => ended?,
        () = ending.drain.cancelled() => {}
    }
    server.stop().await;
    Ok(0)
}
