//! `ocelot worker drain|resume|remove NAME`.

use anyhow::bail;
use clap::Args;
use ocelot_api::body::Worker;
use ocelot_api::client::Client;

use crate::cli::account::Remote;
use crate::cli::show;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Name or id of the worker.
    #[arg(value_name = "WORKER")]
    which: String,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn drain(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let worker = client.drain_worker(find(&client, &options.which).await?.id).await?;
    let name = show::plain(&worker.name);
    match worker.busy {
        0 => show::line(format_args!("{name} gets no more jobs, and has none."))?,
        1 => show::line(format_args!("{name} gets no more jobs; one still runs."))?,
        jobs => show::line(format_args!("{name} gets no more jobs; {jobs} still run."))?,
    }
    Ok(0)
}

pub(crate) async fn resume(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let worker = client.resume_worker(find(&client, &options.which).await?.id).await?;
    show::line(format_args!("{} gets jobs again.", show::plain(&worker.name)))?;
    Ok(0)
}

pub(crate) async fn remove(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let worker = find(&client, &options.which).await?;
    client.remove_worker(worker.id).await?;
    show::line(format_args!("Removed {}.", show::plain(&worker.name)))?;
    if let Some(token) = &worker.token {
        let token = show::plain(token);
        show::note(format_args!(
            "It may come back with the token {token}, which others may use too: `ocelot token revoke {token}` ends it."
        ));
    }
    Ok(0)
}

async fn find(client: &Client, word: &str) -> anyhow::Result<Worker> {
    let (mut meant, _): (Vec<Worker>, Vec<Worker>) = client
        .workers()
        .await?
        .into_iter()
        .partition(|worker| worker.name == word || worker.id.to_string() == word);
    match (meant.pop(), meant.is_empty()) {
        (Some(worker), true) => Ok(worker),
        (None, _) => bail!("no worker has the name or id `{word}`; `ocelot worker list` shows all"),
        (Some(_), false) => {
            bail!("`{word}` is several workers: take the id that `ocelot worker list` shows")
        }
    }
}
