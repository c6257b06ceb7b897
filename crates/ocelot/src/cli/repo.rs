//! `ocelot repo …`.

mod add;
mod badge;
mod change;
mod discover;
mod list;
mod remove;
mod show;

use clap::Subcommand;
use ocelot_api::body::{Reconciled, Repo};
use ocelot_model::Approvals;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Add a repository.
    Add(add::Options),
    /// List the repositories.
    List(list::Options),
    /// List what a forge has, and add and watch it.
    Discover(discover::Options),
    /// Show one repository.
    Show(show::Options),
    /// Change a repository's settings.
    Change(change::Options),
    /// Print what to put into a README to show how the newest build ended.
    Badge(badge::Options),
    /// Forget a repository with its builds and logs.
    Remove(remove::Options),
}

pub(crate) async fn dispatch(verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Add(options) => add::add(options).await,
        Verb::Discover(options) => discover::discover(options).await,
        Verb::List(options) => list::list(options).await,
        Verb::Show(options) => show::show(options).await,
        Verb::Badge(options) => badge::badge(options).await,
        Verb::Change(options) => change::change(options).await,
        Verb::Remove(options) => remove::remove(options).await,
    }
}

fn print(repo: &Repo) -> std::io::Result<()> {
    use super::show::{line, plain, time};
    line(format_args!("repo: {}", plain(&repo.repo)))?;
    line(format_args!("clone url: {}", plain(&repo.clone_url)))?;
    line(format_args!("default branch: {}", plain(&repo.default_branch)))?;
    line(format_args!("readable by anyone: {}", if repo.public { "yes" } else { "no" }))?;
    line(format_args!("waits for approval: {}", waiting(repo.approvals)))?;
    line(format_args!("watched: {}", if repo.watched { "yes" } else { "no" }))?;
    if let Some(Reconciled { at: Some(at), outcome }) = &repo.reconciled {
        line(format_args!(
            "last look at its forge: {}, {}",
            time(*at),
            plain(outcome.as_deref().unwrap_or("nothing is missing"))
        ))?;
    }
    Ok(())
}

/// Whose builds wait.
fn waiting(approvals: Approvals) -> &'static str {
    match approvals {
        Approvals::Forks => "forks (what is not the repository's own)",
        Approvals::All => "all (every pull request)",
        Approvals::None => "none (what is not the repository's own still gets no secrets)",
    }
}
