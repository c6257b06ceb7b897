//! `ocelot watch REPO` and `ocelot unwatch REPO`: the webhook of a repository at its forge.

use clap::Args;

use super::account::Remote;
use super::{show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name [default: that of the git checkout here].
    repo: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Undo {
    /// Handle or name [default: that of the git checkout here].
    repo: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn watch(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let handle = which::repo_or_here(&client, options.repo.as_deref()).await?;
    let watch = which::named(&handle, client.watch(&handle).await)?;
    if options.json {
        show::json(&watch)?;
        return Ok(0);
    }
    let (repo, url) = (show::plain(&watch.repo), show::plain(&watch.url));
    show::line(format_args!("Watching {repo}: its forge sends webhooks to {url}."))?;
    if watch.tried {
        show::note(
            "The forge was asked to try it, and shows in the repository's settings whether that went well.",
        );
    }
    Ok(0)
}

pub(crate) async fn unwatch(options: Undo) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let handle = which::repo_or_here(&client, options.repo.as_deref()).await?;
    which::named(&handle, client.unwatch(&handle).await)?;
    show::line(format_args!("{} is no longer watched.", show::plain(&handle)))?;
    Ok(0)
}
