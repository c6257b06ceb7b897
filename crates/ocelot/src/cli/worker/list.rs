//! `ocelot worker list`.

use clap::Args;
use ocelot_model::size;

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
        // Also of one that is away: it will get no jobs when it comes back.
        let state = match worker.drained_by {
            Some(by) if worker.state == "draining" => format!("draining (by {by})"),
            Some(by) => format!("{} (drained by {by})", worker.state),
            None => worker.state,
        };
        let slots = format!("{}/{}", worker.busy, worker.slots);
        let seen = show::time(worker.last_seen_at);
        let free = worker.disk_free_bytes.zip(worker.disk_total_bytes);
        let free = free.map_or_else(
            || "–".to_owned(),
            |(free, all)| format!("{} of {}", size::words(free), size::words(all)),
        );
        let unwell = worker.unwell.unwrap_or_default();
        let labels = super::pairs(&worker.labels);
        [worker.name, state, slots, free, labels, worker.sharing, worker.version, seen, unwell]
    });
    let headings =
        ["WORKER", "STATE", "BUSY", "FREE", "LABELS", "FILES", "VERSION", "LAST SEEN", "TAKES NO JOBS"];
    show::table(headings, rows, "No worker yet; `ocelot worker --server URL --token T` starts one.")?;
    Ok(0)
}
