//! Which server a client command speaks to, and with which token.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use ocelot_api::client::{Client, Way};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::roles::read::web_address;

const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Options of every command that speaks to a server.
#[expect(clippy::doc_markdown, reason = "the text is shown as help, where marks would stand in the way")]
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// Address of the server [default: that of `ocelot login`, else http://127.0.0.1:8080].
    #[arg(long, env = "OCELOT_URL", display_order = 901, value_parser = web_address)]
    url: Option<String>,
    /// Token to use; better in OCELOT_TOKEN, where other users of the machine do not see it.
    #[arg(long, env = "OCELOT_TOKEN", display_order = 902, hide_env_values = true)]
    token: Option<SecretString>,
    /// Believe certificates of the authority in this PEM file, too.
    #[arg(long, value_name = "FILE", env = "OCELOT_CA_CERT", display_order = 903)]
    ca_cert: Option<PathBuf>,
}

/// What `ocelot login` stores.
#[derive(Serialize, Deserialize)]
struct Login {
    url: String,
    token: String,
    #[serde(default)]
    ca_cert: Option<PathBuf>,
}

impl Remote {
    /// The client. A stored token goes only to the server that it was stored for.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        self.client_by(None)
    }

    /// True when the command line or the environment says which server is meant.
    pub(crate) fn names_server(&self) -> bool {
        self.url.is_some()
    }

    /// The client, to another server unless one was named: its address, its host and where that is.
    pub(crate) fn client_by(&self, near: Option<(String, String, SocketAddr)>) -> anyhow::Result<Client> {
        // What is said elsewhere needs no file, so a broken one is no hindrance.
        let stored = if self.url.is_some() && self.token.is_some() { None } else { load()? };
        let of_login = || stored.as_ref().map(|login| login.url.clone());
        let near_url = near.as_ref().map(|(url, ..)| url.clone());
        let url = self.url.clone().or(near_url).or_else(of_login).unwrap_or_else(|| DEFAULT_URL.to_owned());
        let same = stored.filter(|login| same_server(&login.url, &url));
        let of_login = same.as_ref().and_then(|login| login.ca_cert.clone());
        let ca_cert = self.ca_cert.clone().or(of_login);
        let way = Way { ca_cert, host_at: near.map(|(_, host, address)| (host, address)) };
        let given = self.token.as_ref().map(|token| token.expose_secret().trim().to_owned());
        let token = given.or_else(|| same.map(|login| login.token));
        Ok(Client::by(&url, token.filter(|token| !token.is_empty()).as_deref(), &way)?)
    }
}

/// Stores address and token, readable by this user alone; answers the file.
pub(crate) fn store(url: &str, token: &SecretString, ca_cert: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = file().context("there is no home directory to store the token in: set HOME")?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut whole = std::fs::DirBuilder::new();
    whole.recursive(true).mode(0o700);
    let token = token.expose_secret().to_owned();
    let text = serde_json::to_string(&Login { url: url.to_owned(), token, ca_cert })?;
    let new = path.with_extension("new");
    let write = || {
        whole.create(folder)?;
        let _ = std::fs::remove_file(&new);
        let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        std::fs::rename(&new, &path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn load() -> anyhow::Result<Option<Login>> {
    let Some(path) = file() else { return Ok(None) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let login = serde_json::from_str(&text).with_context(|| {
        format!("{} cannot be read; write it anew with `ocelot login URL`", path.display())
    })?;
    Ok(Some(login))
}

fn file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("ocelot").join("login.json"))
}

fn same_server(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
