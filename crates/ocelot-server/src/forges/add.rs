//! How a forge comes in, and gets other credentials: they are tried at the forge before anything is stored.

use ocelot_api::body::{ForgeAccess, ForgeChange, Hidden, NewForge};
use ocelot_forge::ApiError;
use ocelot_model::ForgeKind;
use ocelot_model::repo::is_segment;
use ocelot_store::{Forge as Row, ForgeChange as RowChange, NewForge as NewRow};

use super::open::Place;
use super::{ForgeError, open, within};
use crate::App;

/// Longest address, id or secret; a private key has less than half of it.
const TEXT_MAX: usize = 16 << 10;
/// It goes to workers with each job.
const CA_MAX: usize = 64 << 10;

/// Adds a forge.
pub async fn add(app: &App, new: NewForge, by: &str) -> Result<Row, ForgeError> {
    let kind = kind(&new)?;
    let base_url = match &new.base_url {
        Some(url) => url.trim().trim_end_matches('/').to_owned(),
        None => ocelot_forge::public_url(kind).to_owned(),
    };
    check_secret("hook_secret", new.hook_secret.as_ref())?;
    check_ca(new.ca.as_deref())?;
    let place = Place { name: &new.name, kind, base_url: &base_url, ca: new.ca.as_deref() };
    try_access(place, new.insecure_http, &new.access).await?;
    let row = NewRow {
        name: new.name,
        kind,
        base_url,
        insecure_http: new.insecure_http,
        ca: new.ca,
        access: Some(open::write(&new.access)?),
        hook_secret: new.hook_secret.map(|secret| secret.0.into()),
    };
    Ok(app.store.add_forge(&row, by).await?)
}

/// Gives a forge other secrets or authorities.
pub async fn change(app: &App, name: &str, change: ForgeChange, by: &str) -> Result<Row, ForgeError> {
    let row = open::find(&app.store, name).await?;
    if row.kind == ForgeKind::Git {
        return Err(ForgeError::PlainGit("plain git has no credentials of this kind".to_owned()));
    }
    check_secret("hook_secret", change.hook_secret.as_ref())?;
    check_ca(change.ca.as_deref())?;
    // Another authority is tried with the credentials that are there.
    let tried = match (&change.access, &change.ca) {
        (Some(access), _) => Some(access.clone()),
        (None, Some(_)) => open::access(&app.store, &row).await?,
        (None, None) => None,
    };
    if let Some(access) = &tried {
        let ca = change.ca.as_deref().or(row.ca.as_deref()).filter(|ca| !ca.is_empty());
        let place = Place { name: &row.name, kind: row.kind, base_url: &row.base_url, ca };
        try_access(place, row.insecure_http, access).await?;
    }
    let change = RowChange {
        access: change.access.as_ref().map(open::write).transpose()?,
        hook_secret: change.hook_secret.map(|Hidden(secret)| secret.into()),
        ca: change.ca,
    };
    app.store.change_forge(row.id, &change, by).await?;
    open::find(&app.store, name).await
}

fn kind(new: &NewForge) -> Result<ForgeKind, ForgeError> {
    let name = &new.name;
    if !is_segment(name) || name.len() > 40 {
        return Err(ForgeError::BadRequest(format!(
            "name: `{name}` is no name for a forge; use at most 40 letters, digits, `.`, `_` and `-`"
        )));
    }
    let kind = new.kind.parse().map_err(|error| ForgeError::BadRequest(format!("kind: {error}")))?;
    if kind == ForgeKind::Git {
        let words = "kind: plain git needs no forge; `ocelot repo add URL` adds a repository";
        return Err(ForgeError::BadRequest(words.to_owned()));
    }
    Ok(kind)
}

fn check_secret(what: &str, secret: Option<&Hidden>) -> Result<(), ForgeError> {
    match secret.map(|secret| secret.0.len()) {
        Some(0..8) => Err(ForgeError::BadRequest(format!("{what}: use 8 characters or more"))),
        Some(length) if length > TEXT_MAX => Err(ForgeError::BadRequest(format!("{what}: it is too long"))),
        _ => Ok(()),
    }
}

fn check_ca(ca: Option<&str>) -> Result<(), ForgeError> {
    if ca.is_some_and(|ca| ca.len() > CA_MAX) {
        return Err(ForgeError::BadRequest(format!("ca: it has more than {} KiB", CA_MAX >> 10)));
    }
    Ok(())
}

async fn try_access(place: Place<'_>, insecure_http: bool, access: &ForgeAccess) -> Result<(), ForgeError> {
    let Place { name, kind, base_url, .. } = place;
    check_address("base_url", base_url, insecure_http)?;
    if let ForgeAccess::Client { token_url: Some(url), .. } = access {
        check_address("token_url", url, insecure_http)?;
    }
    check_texts(access)?;
    let forge = ocelot_forge::Forge::new(place.settings(access.clone()))
        .map_err(|error| ForgeError::BadRequest(error.to_string()))?;
    let asked = within(name, async { forge.check().await.map_err(ForgeError::of_tried(name)) }).await;
    match asked {
        Err(ForgeError::Api { error: ApiError::NotFound(_), .. }) => Err(ForgeError::BadRequest(format!(
            "base_url: {base_url} is there, but does not answer like {kind}; is the address that of its first page?"
        ))),
        other => other,
    }
}

/// Credentials go there: only what nobody on the way can read will do.
fn check_address(what: &str, url: &str, insecure_http: bool) -> Result<(), ForgeError> {
    if url.len() > 2048 {
        return Err(ForgeError::BadRequest(format!("{what}: at most 2048 characters")));
    }
    let is_plain = url.get(..7).is_some_and(|begin| begin.eq_ignore_ascii_case("http://"));
    if is_plain && !insecure_http {
        return Err(ForgeError::BadRequest(format!(
            "{what}: {url} is plain http, and credentials would be sent there for anyone on the way to read; use https, or \
             allow it for this forge with --insecure-http (\"insecure_http\": true)"
        )));
    }
    Ok(())
}

fn check_texts(access: &ForgeAccess) -> Result<(), ForgeError> {
    let texts: [(&str, &str); 2] = match access {
        ForgeAccess::Token(token) => [("token", token.0.as_str()), ("token", "-")],
        ForgeAccess::App { id, key } => [("id", id), ("key", key.0.as_str())],
        ForgeAccess::Client { id, secret, .. } => [("id", id), ("secret", secret.0.as_str())],
        ForgeAccess::Password { user, password } => [("user", user), ("password", password.0.as_str())],
    };
    for (what, text) in texts {
        let lines = what != "key" && text.chars().any(char::is_control);
        if text.trim().is_empty() || text.len() > TEXT_MAX || lines {
            let words = "it is empty, too long, or has a line break in it";
            return Err(ForgeError::BadRequest(format!("access: {what}: {words}")));
        }
    }
    Ok(())
}
