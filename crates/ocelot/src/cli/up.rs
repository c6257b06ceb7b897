//! `ocelot up`: a server with `SQLite` and one worker, in this process.

use anyhow::Context as _;
use clap::Args;
use ocelot_server::Server;
use ocelot_worker::{Config, Shutdown};

use super::show;
use crate::roles::options::ServerOptions;
use crate::roles::signals::Ending;
use crate::roles::work::WorkOptions;
use crate::roles::{self, local_url};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Jobs at the same time; 0 for no worker [default: the number of processor cores].
    #[arg(long, value_name = "N", env = "OCELOT_SLOTS", value_parser = clap::value_parser!(u32).range(0..=256))]
    slots: Option<u32>,
    #[command(flatten)]
    work: WorkOptions,
    #[command(flatten)]
    server: ServerOptions,
}

pub(crate) async fn up(options: Options) -> anyhow::Result<u8> {
    let slots = options.slots.unwrap_or_else(cores);
    let (work, options) = (options.work, options.server);
    let data = options.data()?;
    options.log.begin();
    let _lock = roles::lock::lock(&data)?;
    let database = format!("sqlite://{}", data.join("ocelot.db").display());
    let _database = roles::lock::database(&database)?;
    let ending = roles::signals::listen(slots > 0)?;
    let mut server = ocelot_server::start(options.config(data.clone(), database)?).await?;
    if let Some(path) = &options.address_file {
        roles::write_address(path, &server)?;
    }
    greet(&server, &data).await?;
    let token = server.local_worker_token().await?;
    let mut config = Config::new(
        local_url("http", server.plain_address().await?),
        token.into(),
        data.join("worker"),
        roles::machine(),
    );
    config.slots = slots;
    work.apply(&mut config)?;
    tokio::select! {
        ended = server.wait() => ended?,
        ended = worker(config, &ending) => ended?,
    }
    server.stop().await;
    Ok(0)
}

async fn greet(server: &Server, data: &std::path::Path) -> anyhow::Result<()> {
    show::line(format_args!("Ocelot is up at {}", server.public_url()))?;
    match server.sign_in_link().await {
        Ok(link) => show::line(format_args!("Sign in (works once, within an hour): {link}"))?,
        Err(error) => tracing::warn!("no sign-in link could be made: {error:#}"),
    }
    show::line(format_args!("The admin's token is in {}", data.join("admin-token").display()))?;
    Ok(())
}

/// The worker's life; without slots it only waits for the end.
async fn worker(config: Config, ending: &Ending) -> anyhow::Result<()> {
    if config.slots == 0 {
        ending.drain.cancelled().await;
        return Ok(());
    }
    let _lock = roles::lock::lock(&config.data)?;
    let shutdown = Shutdown { drain: ending.drain.clone(), cancel: ending.cancel.clone() };
    ocelot_worker::work(config, shutdown).await.context("the worker ended")
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(2, |n| n.get().max(2) as u32)
}
