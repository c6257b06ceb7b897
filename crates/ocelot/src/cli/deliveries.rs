//! `ocelot deliveries`: the webhooks that came, what became of them, and doing one again.

use clap::{Args, Subcommand};
use ocelot_model::DeliveryState;

use super::account::Remote;
use super::{number, show, which};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Work on a webhook again: what was built stays the only build of it.
    Replay(Replay),
}

#[derive(Debug, Args)]
struct List {
    /// Handle or name of a repository [default: all].
    repo: Option<String>,
    /// Only those in this state: waiting, built, skipped, duplicate, superseded, ignored, refused, failed or conflict.
    #[arg(long)]
    state: Option<DeliveryState>,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_parser = number::rows)]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
struct Replay {
    /// Its number in `ocelot deliveries`.
    #[arg(value_parser = number::id)]
    id: i64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn deliveries(options: Options) -> anyhow::Result<u8> {
    match options.verb {
        Some(Verb::Replay(options)) => replay(options).await,
        None => list(options.list).await,
    }
}

async fn list(options: List) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let repo = match &options.repo {
        Some(word) => Some(which::repo(&client, word).await?),
        None => None,
    };
    let state = options.state.map(|state| state.to_string());
    let found = client.deliveries(repo.as_deref(), state.as_deref(), options.limit).await?.items;
    if found.is_empty() {
        which::is_there(&client, repo.as_deref()).await?;
    }
    if options.json {
        show::json(&found)?;
        return Ok(0);
    }
    let rows = found.into_iter().map(|one| {
        let repo = one.repo.unwrap_or(one.forge);
        [one.id.to_string(), show::time(one.received_at), repo, one.event, one.state.to_string(), one.outcome]
    });
    let headings = ["ID", "RECEIVED", "REPO", "EVENT", "STATE", "WHAT BECAME OF IT"];
    let none = match options.state {
        Some(state) => format!("No webhook is in the state {state}."),
        None => "No webhook came; `ocelot watch REPO` makes a forge send them.".to_owned(),
    };
    show::table(headings, rows, &none)?;
    Ok(0)
}

async fn replay(options: Replay) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let what = format_args!("delivery {}", options.id);
    let one = which::named(what, client.replay_delivery(options.id).await)?;
    if options.json {
        show::json(&one)?;
        return Ok(0);
    }
    show::line(format_args!("Delivery {}: {}", one.id, show::plain(&one.outcome)))?;
    Ok(0)
}
