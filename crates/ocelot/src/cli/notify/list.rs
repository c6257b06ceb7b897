//! `ocelot notify list`.

use clap::Args;

use crate::cli::account::Remote;
use crate::cli::{show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name of a repository [default: all].
    repo: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn list(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let repo = match &options.repo {
        Some(word) => Some(which::repo(&client, word).await?),
        None => None,
    };
    let found = client.notifications(repo.as_deref()).await?;
    if options.json {
        show::json(&found)?;
        return Ok(0);
    }
    let rows = found.into_iter().map(|one| {
        let again = one.again_at.map_or_else(|| "given up".to_owned(), show::time);
        let told = format!("{} {}", one.build, one.status);
        let place = format!("{} {}", one.kind, show::plain(&one.place));
        [told, one.repo, place, one.tries.to_string(), again, show::plain(&one.error)]
    });
    show::table(["BUILD", "REPO", "TO", "TRIES", "AGAIN", "WHY"], rows, "Nothing waits to be sent again.")?;
    Ok(0)
}
