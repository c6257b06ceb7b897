//! `ocelot worker --server URL` starts a worker; the verbs look at all of them and change them.

mod change;
mod list;
mod start;
mod token;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    start: start::Options,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the workers.
    List(list::Options),
    /// Give a worker no more jobs; it goes on with what it has, and is still drained when it comes back.
    Drain(change::Options),
    /// Give a worker jobs again.
    Resume(change::Options),
    /// Remove a worker: it may not come back, and its jobs go to others at once.
    Remove(change::Options),
    /// Create, list and revoke the tokens with which new workers come.
    #[command(subcommand)]
    Token(token::Verb),
}

pub(crate) async fn worker(options: Options) -> anyhow::Result<u8> {
    match options.verb {
        Some(Verb::List(list)) => list::list(list).await,
        Some(Verb::Drain(which)) => change::drain(which).await,
        Some(Verb::Resume(which)) => change::resume(which).await,
        Some(Verb::Remove(which)) => change::remove(which).await,
        Some(Verb::Token(verb)) => token::dispatch(verb).await,
        None => start::start(options.start).await,
    }
}

/// `a=b c=d`.
fn pairs(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}
