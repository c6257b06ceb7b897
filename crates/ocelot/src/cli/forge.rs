//! `ocelot forge …`.

mod access;
mod add;
mod change;
mod list;
mod remove;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Add a forge, with the credentials that Ocelot uses there.
    Add(add::Options),
    /// List the forges.
    List(list::Options),
    /// Give a forge other credentials.
    Change(change::Options),
    /// Forget a forge and its credentials.
    Remove(remove::Options),
}

pub(crate) async fn dispatch(verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Add(options) => add::add(options).await,
        Verb::List(options) => list::list(options).await,
        Verb::Change(options) => change::change(options).await,
        Verb::Remove(options) => remove::remove(options).await,
    }
}
