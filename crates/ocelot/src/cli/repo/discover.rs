//! `ocelot repo discover FORGE [OWNER]`: what a forge has, and with `--watch` all of it that can be built.

use anyhow::bail;
use clap::Args;
use ocelot_api::body::{ForgeRepo, NewRepo};
use ocelot_api::client::Client;
use serde_json::json;

use crate::cli::account::Remote;
use crate::cli::{show, which};
use crate::exit::ERROR;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Short name of the forge.
    forge: String,
    /// An account or group there [default: all that the credentials reach].
    owner: Option<String>,
    /// Add and watch those that have an ocelot.yml, or those that --only names.
    #[arg(long)]
    watch: bool,
    /// Only this one (OWNER/NAME); may be given several times.
    #[arg(long, value_name = "REPO")]
    only: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn discover(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let forge = &options.forge;
    let mut found = which::named(forge, client.forge_repos(forge, options.owner.as_deref()).await)?;
    if let Some(missing) =
        options.only.iter().find(|only| !found.items.iter().any(|one| one.full_name == **only))
    {
        bail!(
            "{forge} shows no repository `{missing}`; `ocelot repo add {missing} --forge {forge}` asks for it by name"
        );
    }
    found.items.retain(|one| options.only.is_empty() || options.only.contains(&one.full_name));
    if options.watch {
        let mut wanted = found.items;
        wanted.retain(|one| !one.watched && (one.pipeline == Some(true) || !options.only.is_empty()));
        return watch_all(&client, forge, &wanted, options.json).await;
    }
    if options.json {
        show::json(&found)?;
        return Ok(0);
    }
    let rows = found.items.iter().map(|one| [one.full_name.clone(), pipeline(one), here(one)]);
    show::table(["REPO", "OCELOT.YML", "HERE"], rows, "It has none that the credentials reach.")?;
    if found.cut {
        show::note("There are more than these; name an OWNER to see fewer at once.");
    }
    Ok(0)
}

fn pipeline(one: &ForgeRepo) -> String {
    match one.pipeline {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not known",
    }
    .to_owned()
}

fn here(one: &ForgeRepo) -> String {
    match (&one.repo, one.watched) {
        (Some(handle), true) => format!("{handle}, watched"),
        (Some(handle), false) => handle.clone(),
        (None, _) => String::new(),
    }
}

/// One that fails does not stop the others.
async fn watch_all(client: &Client, forge: &str, wanted: &[ForgeRepo], json: bool) -> anyhow::Result<u8> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for one in wanted {
        match watch(client, forge, one).await {
            Ok(handle) => done.push(handle),
            Err(error) => failed.push((&one.full_name, format!("{error:#}"))),
        }
    }
    if json {
        let failed: Vec<_> =
            failed.iter().map(|(name, error)| json!({"full_name": name, "error": error})).collect();
        show::json(&json!({"watched": done, "failed": failed}))?;
    } else {
        for handle in &done {
            show::line(format_args!("Watching {}.", show::plain(handle)))?;
        }
        for (name, error) in &failed {
            show::note(format_args!("{}: {}", show::plain(name), show::plain(error)));
        }
        if wanted.is_empty() {
            show::line("There is nothing to watch that is not watched already.")?;
        }
    }
    Ok(if failed.is_empty() { 0 } else { ERROR })
}

async fn watch(client: &Client, forge: &str, one: &ForgeRepo) -> anyhow::Result<String> {
    let handle = match &one.repo {
        Some(handle) => handle.clone(),
        None => {
            let (forge, full_name) = (Some(forge.to_owned()), Some(one.full_name.clone()));
            client.add_repo(&NewRepo { forge, full_name, ..NewRepo::default() }).await?.repo
        }
    };
    Ok(client.watch(&handle).await?.repo)
}
