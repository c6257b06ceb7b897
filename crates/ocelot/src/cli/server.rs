//! `ocelot server`: a server alone.

use clap::Args;

use super::config::File;
use super::show;
use crate::exit::{Usage, usage};
use crate::roles::{self, options::ServerOptions};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// `sqlite:///path/ocelot.db` or `postgres://user:password@host/database`.
    #[arg(long, value_name = "URL", env = "OCELOT_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    #[command(flatten)]
    server: ServerOptions,
}

pub(crate) async fn server(options: Options, file: File) -> anyhow::Result<u8> {
    let database = options.database_url.or_else(|| file.database_url.clone()).ok_or_else(|| {
        usage("--database-url is missing: sqlite:///path/ocelot.db or postgres://… (`ocelot up` needs none)")
    })?;
    if !["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| database.starts_with(scheme)) {
        let words = "--database-url must begin with sqlite:// or postgres://".to_owned();
        return Err(Usage(words).into());
    }
    let options = options.server;
    roles::log::begin(options.log_json(&file))?;
    let data = options.data(&file)?;
    let _lock = roles::lock::lock(&data)?;
    let ending = roles::signals::listen(false)?;
    let mut server = ocelot_server::start(options.config(&file, data.clone(), database)?).await?;
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
