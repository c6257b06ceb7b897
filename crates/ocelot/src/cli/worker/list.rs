//! `ocelot worker list`.

use std::collections::BTreeMap;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use ocelot_model::size;

use crate::cli::account::Remote;
use crate::cli::show;

/// So long it is worth a note.
const TWINS: SignedDuration = SignedDuration::from_mins(2);

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
    let mut names: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for worker in &workers {
        names.entry(worker.name.clone()).or_default().push(worker.id);
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
        // Each of two processes comes back within seconds.
        let twins = worker.twin_at.is_some_and(|at| Timestamp::now().duration_since(at) < TWINS);
        let twins = twins.then(|| "another process with its identity is refused".to_owned());
        // A token of the role worker gives any name, also that of another one.
        let namesakes = names[&worker.name].iter().filter(|id| **id != worker.id).map(ToString::to_string);
        let namesakes: Vec<String> = namesakes.collect();
        let namesakes =
            (!namesakes.is_empty()).then(|| format!("has the name of worker {}, too", namesakes.join(", ")));
        let noted = worker.unwell.into_iter().chain(twins).chain(namesakes).collect::<Vec<_>>().join("; ");
        let labels = super::pairs(&worker.labels);
        [
            worker.id.to_string(),
            worker.name,
            state,
            slots,
            free,
            labels,
            worker.sharing,
            worker.version,
            seen,
            noted,
        ]
    });
    let headings =
        ["ID", "WORKER", "STATE", "BUSY", "FREE", "LABELS", "FILES", "VERSION", "LAST SEEN", "NOTE"];
    show::table(headings, rows, "No worker yet; `ocelot worker --server URL --token T` starts one.")?;
    Ok(0)
}
