//! `ocelot secret add NAME`, `ocelot creds KIND add NAME`.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use ocelot_api::body::{Hidden, NewSecret};
use ocelot_model::EventKind;
use ocelot_model::secret::{Kind, VALUE_MAX};

use crate::cli::account::Remote;
use crate::cli::{ask, show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What stages name it by: letters, digits and `_`.
    name: String,
    /// Who may have it: a repository (github/acme/app) or an owner (github/acme/) [default: all repositories].
    #[arg(long, visible_alias = "repo", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    scope: Option<String>,
    /// Read the value from this file, `-` for standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only for builds by this event (push, tag, manual, schedule, …); may be given several times.
    #[arg(long = "event", value_name = "EVENT", value_parser = event)]
    events: Vec<EventKind>,
    /// Only for builds of branches whose whole name matches this; may be given several times.
    #[arg(long = "branch", value_name = "REGEX")]
    branches: Vec<String>,
    /// Only for stages of this name; may be given several times.
    #[arg(long = "stage", value_name = "STAGE")]
    stages: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct CredsOptions {
    #[command(flatten)]
    pub(super) options: Options,
    /// What belongs to it and is not secret, such as `url=https://registry.example.org` or `username=ci`; may be given
    /// several times.
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field)]
    pub(super) fields: Vec<(String, String)>,
}

pub(crate) async fn add(kind: Kind, options: Options, fields: Vec<(String, String)>) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let value = value(kind, &options).await?;
    let Options { name, scope, events, branches, stages, json, .. } = options;
    let fields = fields.into_iter().collect();
    let (value, value_base64) = match String::from_utf8(value) {
        Ok(text) => (Some(Hidden(text)), None),
        Err(bytes) => (None, Some(Hidden(STANDARD.encode(bytes.as_bytes())))),
    };
    // An empty one is not taken for all repositories: it may be a variable that a script did not set.
    let scope = scope.unwrap_or_default();
    let new = NewSecret { name, scope, kind, value, value_base64, fields, events, branches, stages };
    let kept = which::named(&new.scope, client.put_credential(&new).await)?;
    if json {
        show::json(&kept)?;
        return Ok(0);
    }
    let scope = if kept.scope.is_empty() { "all repositories" } else { &kept.scope };
    show::line(format_args!("Kept {} for {}.", show::plain(&kept.name), show::plain(scope)))?;
    Ok(0)
}

/// From a file, from standard input, or typed; never an argument, which every process of the machine can read.
async fn value(kind: Kind, options: &Options) -> anyhow::Result<Vec<u8>> {
    let file = options.file.as_deref().filter(|path| *path != Path::new("-"));
    let mut bytes = match file {
        Some(path) => {
            let file = std::fs::File::open(path);
            let read = file.and_then(read_all);
            read.with_context(|| format!("cannot read {}", path.display()))?
        }
        None if options.file.is_none() && std::io::stdin().is_terminal() => {
            ask::secret(&format!("Value of {}: ", options.name)).await?.into_bytes()
        }
        None => read_all(std::io::stdin())?,
    };
    // `echo` and editors end a line that is no part of a password.
    let whole = matches!(kind, Kind::File | Kind::Ssh | Kind::Kubeconfig);
    if !whole && bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// One byte more than may be kept tells that there is too much.
fn read_all(from: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(VALUE_MAX as u64 + 3).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "write NAME=VALUE".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

fn event(text: &str) -> Result<EventKind, String> {
    let known = EventKind::ALL;
    known.into_iter().find(|event| event.as_str() == text).ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|event| event.as_str()).collect();
        format!("`{text}` is no event; one of {}", words.join(", "))
    })
}
