//! `ocelot subscriptions`: who is built after whom.

use clap::Args;
use ocelot_api::body::Subscription;

use super::account::Remote;
use super::{show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name of a repository: only what it follows, and what follows it [default: all].
    repo: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn subscriptions(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let repo = match &options.repo {
        Some(word) => Some(which::repo(&client, word).await?),
        None => None,
    };
    let mut found = client.subscriptions().await?;
    if let Some(repo) = &repo {
        // It may be one that is not here.
        found.retain(|one| one.repo == *repo || one.upstream == *repo);
    }
    if options.json {
        show::json(&found)?;
        return Ok(0);
    }
    let rows = found.into_iter().map(|one| {
        let branches: Vec<String> =
            one.branches.iter().map(|(there, here)| format!("{there}:{here}")).collect();
        let came = came_of(&one);
        [one.repo, one.upstream, one.alias, branches.join(" "), came]
    });
    let none =
        "Nothing is built after anything else; `subscriptions:` in ocelot.yml of a default branch says so.";
    show::table(["REPO", "IS BUILT AFTER", "ALIAS", "BRANCHES", "WHAT CAME OF IT"], rows, none)?;
    Ok(0)
}

fn came_of(one: &Subscription) -> String {
    let last =
        one.last_at.zip(one.outcome.as_ref()).map(|(at, words)| format!("{}: {words}", show::time(at)));
    match (&one.fault, last) {
        (Some(fault), _) if !one.active => format!("not in force: {fault}"),
        (Some(fault), None) => fault.clone(),
        (Some(fault), Some(last)) => format!("{fault}; {last}"),
        (None, Some(last)) => last,
        (None, None) => "nothing yet".to_owned(),
    }
}
