//! `ocelot notify test`.

use clap::Args;
use ocelot_api::body::{NewNotifyTest, NotifyTest};

use crate::cli::account::Remote;
use crate::cli::{show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name of a repository [default: that of the checkout].
    #[arg(conflicts_with = "credential")]
    repo: Option<String>,
    /// Try this credential of kind notify alone.
    #[arg(long, value_name = "NAME")]
    credential: Option<String>,
    /// Whose credential: a repository (github/acme/app) or an owner (github/acme/) [default: that of all].
    #[arg(long, requires = "credential", default_value = "")]
    scope: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn test(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let repo = match &options.credential {
        Some(_) => None,
        None => Some(which::repo_or_here(&client, options.repo.as_deref()).await?),
    };
    let asked = NewNotifyTest { repo, credential: options.credential, scope: options.scope };
    let what = asked.repo.clone().or_else(|| asked.credential.clone()).unwrap_or_default();
    let tests = which::named(what, client.test_notifications(&asked).await)?;
    if options.json {
        show::json(&tests)?;
    } else {
        for one in &tests {
            print(one)?;
        }
    }
    Ok(u8::from(tests.iter().any(|one| one.error.is_some())))
}

fn print(one: &NotifyTest) -> anyhow::Result<()> {
    show::line(format_args!("{} {}", one.kind, show::plain(&one.place)))?;
    if let Some(skipped) = &one.skipped {
        return Ok(show::line(format_args!("  not told: {}", show::plain(skipped)))?);
    }
    for line in one.sent.iter().flat_map(|sent| sent.lines()) {
        show::line(format_args!("  sent:     {}", show::plain(line)))?;
    }
    for (what, words) in [("answered:", &one.answer), ("failed:", &one.error), ("note:", &one.note)] {
        if let Some(words) = words {
            show::line(format_args!("  {what} {}", show::plain(words)))?;
        }
    }
    Ok(())
}
