//! `ocelot login URL`: asks for a token, tries it, stores it.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use ocelot_api::client::{Client, Way};
use ocelot_model::access::limit_words;
use secrecy::{ExposeSecret as _, SecretString};

use super::{account, ask, show};
use crate::roles::read::web_address;

#[expect(clippy::doc_markdown, reason = "the text is shown as help, where marks would stand in the way")]
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Address of the server, for example http://127.0.0.1:8080.
    #[arg(value_parser = web_address)]
    url: String,
    /// Read the token from this file, `-` for standard input. Without it you are asked.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Believe certificates of the authority in this PEM file, too; remembered for this server.
    #[arg(long, value_name = "FILE", env = "OCELOT_CA_CERT")]
    ca_cert: Option<PathBuf>,
}

pub(crate) async fn login(options: Options) -> anyhow::Result<u8> {
    let file = options.token_file.as_deref().filter(|path| *path != Path::new("-"));
    let text = match file {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
        }
        None if options.token_file.is_none() && std::io::stdin().is_terminal() => {
            ask::secret("Token: ").await?
        }
        None => ask::read_line()?,
    };
    let token = SecretString::from(text.trim());
    if token.expose_secret().is_empty() {
        bail!(
            "no token was given; the first start of a server writes one to `admin-token` in its data folder"
        );
    }
    let ca_cert = options.ca_cert.as_deref().map(std::path::absolute).transpose()?;
    let way = Way { ca_cert: ca_cert.clone(), ..Way::default() };
    let client = Client::by(&options.url, Some(token.expose_secret()), &way)?;
    let me = client.whoami().await.context("the server did not take the token")?;
    let path = account::store(client.url(), &token, ca_cert)?;
    show::line(format_args!(
        "Signed in to {} as {} ({}{}). The token is in {}.",
        client.url(),
        show::plain(&me.name),
        me.role,
        show::plain(&limit_words(&me.repos)),
        path.display()
    ))?;
    Ok(0)
}
