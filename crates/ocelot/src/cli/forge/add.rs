//! `ocelot forge add NAME`.

use clap::Args;
use ocelot_api::body::NewForge;

use super::access;
use crate::cli::account::Remote;
use crate::cli::show;
use crate::roles::read::web_address;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Short name, with which the handles of its repositories begin.
    name: String,
    /// github, gitlab, bitbucket or gitea (also for Forgejo) [default: what NAME says].
    #[arg(long)]
    kind: Option<String>,
    /// Its address as you type it into a browser [default: github.com, gitlab.com, bitbucket.org, codeberg.org].
    #[arg(long = "at", value_name = "URL", value_parser = web_address)]
    base_url: Option<String>,
    /// Speak to it without TLS; anyone on the way can read the credentials.
    #[arg(long)]
    insecure_http: bool,
    #[command(flatten)]
    access: access::Credentials,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn add(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let hook_secret = options.access.hook_secret()?;
    let ca = options.access.ca()?;
    let access = options.access.access().await?;
    let Options { name, kind, base_url, insecure_http, .. } = options;
    let kind = kind.unwrap_or_else(|| name.clone());
    let forge =
        client.add_forge(&NewForge { name, kind, base_url, insecure_http, ca, access, hook_secret }).await?;
    if options.json {
        show::json(&forge)?;
        return Ok(0);
    }
    let (name, url) = (show::plain(&forge.name), show::plain(&forge.base_url));
    show::line(format_args!("Added {name} ({url}); it takes the credentials."))?;
    show::note(format_args!("`ocelot repo discover {name}` lists what it has."));
    Ok(0)
}
