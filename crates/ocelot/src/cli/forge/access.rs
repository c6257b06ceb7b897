//! Who Ocelot is for a forge. Secrets come from files, standard input or a question, never from the command line, which
//! other users of the machine see.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use ocelot_api::body::{ForgeAccess, Hidden};

use crate::cli::ask;
use crate::exit::usage;

/// No secret and no private key is longer.
const LONGEST: u64 = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct Credentials {
    /// Read the secret from this file, `-` for standard input: an access token, or with --client-id the consumer's secret,
    /// with --user the app password. Without it you are asked.
    #[arg(long, value_name = "FILE", conflicts_with = "app_id")]
    token_file: Option<PathBuf>,
    /// GitHub: id of a GitHub App.
    #[arg(long, value_name = "N", requires = "app_key_file", conflicts_with_all = ["client_id", "user"])]
    app_id: Option<String>,
    /// GitHub: file with the private key of the App, as GitHub gave it out.
    #[arg(long, value_name = "FILE", requires = "app_id")]
    app_key_file: Option<PathBuf>,
    /// Bitbucket: key of an OAuth consumer.
    #[arg(long, value_name = "KEY", conflicts_with = "user")]
    client_id: Option<String>,
    /// Bitbucket: where tokens are given out [default: the forge's own place].
    #[arg(long, value_name = "URL", requires = "client_id")]
    token_url: Option<String>,
    /// Bitbucket: user name or e-mail address that an app password or API token belongs to.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// File with the secret that the forge signs with when it sends for all of its repositories, `-` for standard input.
    #[arg(long, value_name = "FILE")]
    hook_secret_file: Option<PathBuf>,
    /// Believe the forge's certificate with the authorities in this file (PEM) too: its API, and cloning over HTTPS by the
    /// server and the workers.
    #[arg(long = "ca", value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Credentials {
    /// True when new credentials are given, and not a webhook secret or an authority alone.
    pub(super) fn has_access(&self) -> bool {
        self.token_file.is_some()
            || self.app_id.is_some()
            || self.client_id.is_some()
            || self.user.is_some()
            || (self.hook_secret_file.is_none() && self.ca.is_none())
    }

    pub(super) async fn access(&self) -> anyhow::Result<ForgeAccess> {
        if let (Some(id), Some(file)) = (&self.app_id, &self.app_key_file) {
            return Ok(ForgeAccess::App { id: id.clone(), key: read(file)? });
        }
        if let Some(id) = &self.client_id {
            let secret = self.secret("Secret of the OAuth consumer: ").await?;
            return Ok(ForgeAccess::Client { id: id.clone(), secret, token_url: self.token_url.clone() });
        }
        if let Some(user) = &self.user {
            let password = self.secret("App password: ").await?;
            return Ok(ForgeAccess::Password { user: user.clone(), password });
        }
        Ok(ForgeAccess::Token(self.secret("Token: ").await?))
    }

    pub(super) fn hook_secret(&self) -> anyhow::Result<Option<Hidden>> {
        let both = self.hook_secret_file.as_deref() == Some(Path::new("-"))
            && self.token_file.as_deref() == Some(Path::new("-"));
        ensure!(!both, usage("--token-file and --hook-secret-file cannot both be standard input"));
        self.hook_secret_file.as_deref().map(read).transpose()
    }

    /// The authorities of one's own, as PEM.
    pub(super) fn ca(&self) -> anyhow::Result<Option<String>> {
        let Some(file) = &self.ca else { return Ok(None) };
        let text = ocelot_api::tls::read_ca(file).map_err(usage)?;
        let words = || usage(format!("the CA file {} is no text", file.display()));
        Ok(Some(String::from_utf8(text).map_err(|_| words())?))
    }

    async fn secret(&self, question: &str) -> anyhow::Result<Hidden> {
        if let Some(file) = &self.token_file {
            return read(file);
        }
        let text =
            if std::io::stdin().is_terminal() { ask::secret(question).await? } else { ask::read_line()? };
        ensure!(
            !text.is_empty(),
            usage("no secret was given: type it, pipe it in, or name its file (--token-file)")
        );
        Ok(Hidden(text))
    }
}

/// What stands in a file, without the line feed at its end.
fn read(file: &Path) -> anyhow::Result<Hidden> {
    let mut text = String::new();
    let place = || format!("cannot read {}", file.display());
    if file == Path::new("-") {
        std::io::stdin().lock().take(LONGEST).read_to_string(&mut text)?;
    } else {
        let open = std::fs::File::open(file).with_context(place)?;
        open.take(LONGEST).read_to_string(&mut text).with_context(place)?;
    }
    ensure!(!text.trim().is_empty(), "{} is empty", file.display());
    Ok(Hidden(text.trim().to_owned()))
}
