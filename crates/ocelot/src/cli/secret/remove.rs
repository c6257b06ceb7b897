//! `ocelot secret remove NAME`, `ocelot creds KIND remove NAME`.

use anyhow::bail;
use clap::Args;
use ocelot_model::secret::Kind;

use crate::cli::account::Remote;
use crate::cli::show;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Its name.
    name: String,
    /// The scope of the one that is meant [default: all repositories].
    #[arg(long, visible_alias = "repo", default_value = "", hide_default_value = true)]
    scope: String,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn remove(kind: Kind, options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let Options { name, scope, .. } = options;
    let secrets = client.credentials().await?;
    let named: Vec<_> = secrets.iter().filter(|it| it.kind == kind && it.name == name).collect();
    let Some(secret) = named.iter().find(|it| it.scope == scope) else {
        let places: Vec<&str> =
            named.iter().map(|it| if it.scope.is_empty() { "all repositories" } else { &it.scope }).collect();
        let scope = if scope.is_empty() { "all repositories" } else { &scope };
        if places.is_empty() {
            bail!("there is no {kind} credential `{name}` that you may change");
        }
        bail!("`{name}` is not kept for {scope}, but for {} (`--scope`)", places.join(", "));
    };
    client.remove_credential(secret.id).await?;
    show::line(format_args!("Removed {}.", show::plain(&name)))?;
    Ok(0)
}
