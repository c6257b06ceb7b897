//! `ocelot poll …`: repositories that are looked at from time to time, for hosts that send no webhooks.

mod add;
mod list;
mod remove;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Look at a repository from time to time, and build what is new.
    Add(add::Options),
    /// List the polls, and what came of them.
    List(list::Options),
    /// Look no more.
    Remove(remove::Options),
}

pub(crate) async fn dispatch(verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Add(options) => add::add(options).await,
        Verb::List(options) => list::list(options).await,
        Verb::Remove(options) => remove::remove(options).await,
    }
}
