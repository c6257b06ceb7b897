//! `ocelot token revoke ID|NAME`.

use anyhow::Context as _;
use clap::Args;

use crate::cli::account::Remote;
use crate::cli::show;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Id or name.
    #[arg(value_name = "TOKEN")]
    which: String,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn revoke(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let word = &options.which;
    let token = client
        .tokens()
        .await?
        .into_iter()
        .find(|token| token.name == *word || token.id.to_string() == *word)
        .with_context(|| format!("no token has the id or name `{word}`; `ocelot token list` shows all"))?;
    client.revoke_token(token.id).await?;
    show::line(format_args!("Revoked {}.", show::plain(&token.name)))?;
    Ok(0)
}
