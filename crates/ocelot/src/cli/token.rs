//! `ocelot token …`.

mod create;
mod list;
mod revoke;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create a token and print its secret, once.
    Create(create::Options),
    /// List the tokens.
    List(list::Options),
    /// End a token.
    Revoke(revoke::Options),
}

pub(crate) async fn dispatch(verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Create(options) => create::create(options).await,
        Verb::List(options) => list::list(options).await,
        Verb::Revoke(options) => revoke::revoke(options).await,
    }
}
