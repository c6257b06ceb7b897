//! `ocelot server`: a server alone.

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
    let options = options.server;
    let data = options.data()?;
    options.log.begin();
    let _lock = roles::lock::lock(&data)?;
    let ending = roles::signals::listen(false)?;
    let mut server = ocelot_server::start(options.config(data.clone(), database)).await?;
    if let Some(path) = &options.address_file {
        roles::write_address(path, server.address)?;
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
