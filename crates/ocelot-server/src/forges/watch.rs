//! Webhooks at forges: made, given their secret again, removed. Every step may be done twice, so that what was left half
//! done heals when it is asked for again.

use std::time::Duration;

use ocelot_api::body::Watch;
use ocelot_forge::{ApiError, Forge, NewWebhook};
use ocelot_store::{Hook, Repo, StoreError};
use tokio::time::Instant;

use super::{ForgeError, follow, full_name, within};
use crate::App;

/// Nobody else is at the same webhook for so long.
const ALONE: Duration = Duration::from_secs(45);
/// How often it is tried to be the one.
const TRY: Duration = Duration::from_millis(100);

/// Lets the forge send webhooks; one of the repository's that is there already gets its secret again. Of several that ask at
/// once, on whichever servers, one after the other does it: two would each find none, and make one.
pub async fn watch(app: &App, repo: &Repo, by: &str) -> Result<Watch, ForgeError> {
    let work = format!("watch {}", repo.id);
    let until = Instant::now() + ALONE;
    while !app.store.begin_alone(&work, ALONE).await? {
        if Instant::now() > until {
            let words =
                format!("somebody else is making the webhook of {}; try again in a minute", repo.name);
            return Err(StoreError::Conflict(words).into());
        }
        tokio::time::sleep(TRY).await;
    }
    let done = watch_alone(app, repo, by).await;
    app.store.end_alone(&work).await?;
    done
}

async fn watch_alone(app: &App, repo: &Repo, by: &str) -> Result<Watch, ForgeError> {
    let forge = &repo.name.forge;
    let (row, open) = app.forges.open(&app.store, forge).await.map_err(|error| no_webhooks(repo, error))?;
    check_reachable(&app.public_url, &row.base_url)?;
    let repo = follow::follow(app, repo, None).await?;
    let hook = app.store.make_hook(repo.id).await?;
    let name = full_name(&repo.name);
    let url = format!("{}{}", app.public_url, path(forge, &hook));
    within(forge, async {
        let of_it = ForgeError::of(forge);
        // One that was made when this server had another address.
        remove(&open, &name, &path(forge, &hook), Some(&url)).await.map_err(&of_it)?;
        let webhook = NewWebhook { url: &url, secret: &hook.secret };
        let remote_id = open.watch(&name, webhook).await.map_err(&of_it)?;
        if hook.remote_id.as_ref() != Some(&remote_id) {
            Box::pin(app.store.name_hook(&hook.id, &remote_id, by)).await?;
        }
        // It stands; whether the forge can be made to try it now is another matter.
        let tried = open.ping(&name, &remote_id).await.unwrap_or_else(|error| {
            tracing::info!(repo = %repo.name, "{forge} does not try the webhook of {}: {error}", repo.name);
            false
        });
        Ok(Watch { repo: repo.name.to_string(), url: url.clone(), tried })
    })
    .await
}

/// Ends that; fine when it was ended before.
pub async fn unwatch(app: &App, repo: &Repo, by: &str) -> Result<(), ForgeError> {
    if let Some(hook) = app.store.find_hook_of(repo.id).await? {
        remove_at_forge(app, repo, &hook).await?;
        app.store.remove_hook(repo.id, by).await?;
    }
    Ok(())
}

/// Removes what the forge has of a webhook.
pub async fn remove_at_forge(app: &App, repo: &Repo, hook: &Hook) -> Result<(), ForgeError> {
    let forge = &repo.name.forge;
    let (_, open) = app.forges.open(&app.store, forge).await?;
    within(forge, async {
        match remove(&open, &full_name(&repo.name), &path(forge, hook), None).await {
            // The repository is gone there, and the webhook with it.
            Ok(()) | Err(ApiError::NotFound(_)) => Ok(()),
            Err(error) => Err(ForgeError::of(forge)(error)),
        }
    })
    .await
}

/// Removes the webhooks whose addresses end in `path`, wherever this server was when they were made, all but that at `but`.
async fn remove(open: &Forge, name: &str, path: &str, but: Option<&str>) -> Result<(), ApiError> {
    for webhook in open.webhooks(name).await?.items {
        if webhook.url.ends_with(path) && Some(webhook.url.as_str()) != but {
            open.unwatch(name, &webhook.url).await?;
        }
    }
    Ok(())
}

/// Where it leads on this server.
pub fn path(forge: &str, hook: &Hook) -> String {
    format!("/hooks/{forge}/{}", hook.id)
}

fn no_webhooks(repo: &Repo, error: ForgeError) -> ForgeError {
    match error {
        ForgeError::PlainGit(_) => ForgeError::PlainGit(format!(
            "{} is plain git, which sends no webhooks; `ocelot poll add {}` looks for new commits from time to time",
            repo.name, repo.name
        )),
        other => other,
    }
}

/// A forge elsewhere cannot send to an address that means "this machine".
fn check_reachable(public_url: &str, forge_url: &str) -> Result<(), ForgeError> {
    if is_this_machine(public_url) && !is_this_machine(forge_url) {
        return Err(ForgeError::BadRequest(format!(
            "{forge_url} cannot send webhooks to {public_url}, which only this machine reaches; start the server with \
             --public-url and an address that the forge reaches"
        )));
    }
    Ok(())
}

fn is_this_machine(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = |address: std::net::IpAddr| address.is_loopback() || address.is_unspecified();
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || host.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine() {
        for url in ["http://127.0.0.1:8080", "http://localhost", "https://[::1]:1/x", "http://ci.localhost:1"]
        {
            assert!(is_this_machine(url), "{url}");
        }
        for url in ["https://ci.example.org", "http://10.0.0.1:8080", "https://localhost.example.org", ""] {
            assert!(!is_this_machine(url), "{url}");
        }
    }
}
