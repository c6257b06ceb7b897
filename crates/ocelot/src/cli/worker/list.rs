//! `ocelot worker list`.

use clap::Args;

use crate::cli::account::Remote;
use crate::cli::show;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn list(options: Options) -> anyhow::Result<u8> {
    let workers = options.remote.client()?.workers().await?;
    if options.json {
        show::json(&workers)?;
        return Ok(0);
    }
    let rows = workers.into_iter().map(|worker| {
        let labels: Vec<String> = worker.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let slots = format!("{}/{}", worker.busy, worker.slots);
        let seen = show::time(worker.last_seen_at);
        [worker.name, worker.state, slots, labels.join(" "), worker.sharing, worker.version, seen]
    });
    let headings = ["WORKER", "STATE", "BUSY", "LABELS", "FILES", "VERSION", "LAST SEEN"];
    show::table(headings, rows, "No worker yet; `ocelot worker --server URL --token T` starts one.")?;
    Ok(0)
}
