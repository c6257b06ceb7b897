//! The first tokens: a new server writes them to files that only its owner can read.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use ocelot_model::access::Role;
use ocelot_store::{Store, StoreError, Token};

/// Who makes them, for the record of who did what.
const THE_SERVER: &str = "the server";
/// How long a sign-in link works.
const LINK: Duration = Duration::from_hours(1);

/// The secret in this file. Makes token and file when either is missing: who may write to the file's folder is trusted
/// with what such a token may do anyway.
pub(crate) async fn ensure_token(store: &Store, file: &Path, name: &str, role: Role) -> Result<String> {
    if let Some((_, secret)) = stored(store, file).await? {
        return Ok(secret);
    }
    let secret = create(store, name, role).await?;
    write(file, &secret).with_context(|| format!("{} cannot be written", file.display()))?;
    tracing::info!(file = %file.display(), "wrote a new {role} token");
    Ok(secret)
}

/// Sees to a token in this file with which workers may come: a good one of either kind stays, else a new one for
/// enrolling any number of workers is written.
pub(crate) async fn ensure_enrolment(store: &Store, file: &Path) -> Result<()> {
    if let Some(secret) = read(file)?
        && (store.may_enrol(&secret).await? || store.find_token(&secret).await?.is_some())
    {
        return Ok(());
    }
    let (_, secret) = store.create_enrolment(&BTreeMap::new(), None, None, THE_SERVER).await?;
    write(file, &secret).with_context(|| format!("{} cannot be written", file.display()))?;
    tracing::info!(file = %file.display(), "wrote a new enrolment token");
    Ok(())
}

/// The secret of a link that signs the admin in once.
pub(crate) async fn sign_in_secret(store: &Store, data: &Path) -> Result<String> {
    let (token, _) =
        stored(store, &data.join("admin-token")).await?.context("the admin's token is no longer valid")?;
    Ok(store.create_sign_in_link(token.id, LINK).await?)
}

async fn stored(store: &Store, file: &Path) -> Result<Option<(Token, String)>> {
    let Some(secret) = read(file)? else { return Ok(None) };
    Ok(store.find_token(&secret).await?.map(|token| (token, secret)))
}

fn read(file: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
    }
}

/// A token of this name, or `name-2`, `name-3` … when an earlier one's file is lost.
async fn create(store: &Store, name: &str, role: Role) -> Result<String> {
    let mut wanted = name.to_owned();
    for at in 2..1000 {
        match store.create_token(&wanted, role, &[], None, THE_SERVER).await {
            Ok((_, secret)) => return Ok(secret),
            Err(StoreError::Conflict(_)) => wanted = format!("{name}-{at}"),
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("there are too many tokens named {name}")
}

/// Whole or not at all, and never readable by others.
fn write(file: &Path, secret: &str) -> std::io::Result<()> {
    let beside = file.with_extension("new");
    let _ = std::fs::remove_file(&beside);
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    writeln!(out, "{secret}")?;
    out.sync_all()?;
    std::fs::rename(&beside, file)
}
