//! `ocelot forge change NAME`.

use clap::Args;
use ocelot_api::body::ForgeChange;

use super::access;
use crate::cli::account::Remote;
use crate::cli::{show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Short name of the forge.
    name: String,
    #[command(flatten)]
    access: access::Credentials,
    /// Believe its certificate with the public authorities alone from now on.
    #[arg(long, conflicts_with = "ca")]
    no_ca: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn change(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let hook_secret = options.access.hook_secret()?;
    let ca = if options.no_ca { Some(String::new()) } else { options.access.ca()? };
    let access = if options.access.has_access() { Some(options.access.access().await?) } else { None };
    let change = ForgeChange { access, ca, hook_secret };
    let forge = which::named(&options.name, client.change_forge(&options.name, &change).await)?;
    show::line(format_args!("Changed {}.", show::plain(&forge.name)))?;
    Ok(0)
}
