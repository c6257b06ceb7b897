//! `ocelot repo badge [REPO]`.

use clap::Args;
use ocelot_api::body::NewBadge;

use crate::cli::account::Remote;
use crate::cli::show::{line, note, plain};
use crate::cli::{show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name [default: that of the git checkout here].
    repo: Option<String>,
    /// The branch that the badge shows [default: the default branch].
    #[arg(long)]
    branch: Option<String>,
    /// Make another key: the address with the one before shows nothing any more.
    #[arg(long, conflicts_with = "remove")]
    renew: bool,
    /// End the key: nobody sees the badge of any branch any more, unless the repository is public.
    #[arg(long)]
    remove: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn badge(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let handle = which::repo_or_here(&client, options.repo.as_deref()).await?;
    if options.remove {
        let badge = which::named(&handle, client.badge(&handle).await)?;
        which::named(&handle, client.remove_badge(&handle).await)?;
        let words = if badge.key.is_some() { "has no key any more" } else { "had no key" };
        note(format_args!("The badge of {} {words}.", plain(&handle)));
        return Ok(0);
    }
    let new = NewBadge { branch: options.branch, renew: options.renew };
    let badge = which::named(&handle, client.make_badge(&handle, &new).await)?;
    if options.json {
        show::json(&badge)?;
    } else {
        line(&badge.markdown)?;
    }
    if badge.key.is_some() {
        note(
            "Whoever has this address sees how the builds of any branch of this repository end, and nothing else.",
        );
    }
    Ok(0)
}
