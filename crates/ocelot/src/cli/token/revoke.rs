//! `ocelot token revoke ID|NAME`.

use anyhow::bail;
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
    let tokens = client.tokens().await?;
    let meant: Vec<_> =
        tokens.iter().filter(|token| token.name == *word || token.id.to_string() == *word).collect();
    let token = match meant[..] {
        [token] => token,
        [] => bail!("no token has the id or name `{word}`; `ocelot token list` shows all"),
        _ => bail!("`{word}` is the id of one token and the name of another: revoke it by its other word"),
    };
    client.revoke_token(token.id).await?;
    show::line(format_args!("Revoked {}.", show::plain(&token.name)))?;
    Ok(0)
}
