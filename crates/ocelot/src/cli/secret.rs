//! `ocelot secret …` and `ocelot creds KIND …`.

mod add;
mod key;
mod list;
mod remove;

use clap::{Args, Subcommand};
use ocelot_model::secret::Kind;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Keep a secret, or give one another value. You are asked for it, unless it comes from a file or on standard input.
    Add(add::Options),
    /// List the secrets, without their values.
    List(list::Options),
    /// Forget a secret.
    Remove(remove::Options),
    /// Seal all secrets of a database with a new key: on the server's machine, while it runs.
    RotateKey(key::Options),
    /// Forget all secrets of a database whose key is lost.
    ResetKey(key::Reset),
}

#[derive(Debug, Args)]
pub(crate) struct Creds {
    /// vcs, ssh, docker, maven, npm, pypi, kubeconfig, helm, s3, env, notify or file.
    #[arg(value_parser = kind)]
    kind: Kind,
    #[command(subcommand)]
    verb: CredsVerb,
}

#[derive(Debug, Subcommand)]
enum CredsVerb {
    /// Keep a credential, or give one another value. You are asked for the secret of it, unless it comes from a file or on
    /// standard input.
    Add(add::CredsOptions),
    /// List the credentials of this kind, without their secrets.
    List(list::Options),
    /// Forget a credential.
    Remove(remove::Options),
}

pub(crate) async fn dispatch(verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Add(options) => add::add(Kind::Env, options, Vec::new()).await,
        Verb::List(options) => list::list(Kind::Env, options).await,
        Verb::Remove(options) => remove::remove(Kind::Env, options).await,
        Verb::RotateKey(options) => key::rotate(options).await,
        Verb::ResetKey(options) => key::reset(options).await,
    }
}

pub(crate) async fn creds(Creds { kind, verb }: Creds) -> anyhow::Result<u8> {
    match verb {
        CredsVerb::Add(add::CredsOptions { options, fields }) => add::add(kind, options, fields).await,
        CredsVerb::List(options) => list::list(kind, options).await,
        CredsVerb::Remove(options) => remove::remove(kind, options).await,
    }
}

/// Also by the names that other tools have for it.
fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "nexus" => Ok(Kind::Maven),
        "minio" => Ok(Kind::S3),
        "k8s" => Ok(Kind::Kubeconfig),
        "helmrepo" => Ok(Kind::Helm),
        "generic" => Ok(Kind::File),
        _ => text.parse().map_err(|error: ocelot_model::secret::UnknownKind| error.to_string()),
    }
}
