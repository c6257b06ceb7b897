//! What people mean by REPO and BUILD: a handle, a bare name, a number, a commit, or nothing and the
//! checkout that they stand in.

use anyhow::{Context as _, bail};
use ocelot_api::body::{Build, Repo};
use ocelot_api::client::{BuildQuery, Client, ClientError};

use super::checkout::Checkout;
use super::show;
use crate::exit::usage;

/// The handle that `word` stands for: itself, or that of the only repository of this name, or of this owner and name.
pub(crate) async fn repo(client: &Client, word: &str) -> anyhow::Result<String> {
    if word.contains('/') {
        return with_forge(client, word).await;
    }
    let named: Vec<Repo> = client.repos().await?.into_iter().filter(|repo| repo.name == word).collect();
    one(named, || format!("no repository is named `{word}`; `ocelot repo list` shows all"), word)
}

/// `word` itself when it is a handle; the forge may be left out when one only has such a repository.
async fn with_forge(client: &Client, word: &str) -> anyhow::Result<String> {
    if word.starts_with("git/") || word.matches('/').count() > 1 {
        return Ok(word.to_owned());
    }
    let without = |repo: &Repo| repo.repo.split_once('/').is_some_and(|(_, name)| name == word);
    let repos = client.repos().await?;
    if repos.iter().any(|repo| repo.repo == word) {
        return Ok(word.to_owned());
    }
    let named: Vec<Repo> = repos.into_iter().filter(without).collect();
    let none = || {
        format!(
            "no repository is named `{word}`; write FORGE/OWNER/NAME, such as `github/{word}`; `ocelot repo list` shows all"
        )
    };
    one(named, none, word)
}

/// The handle that `word` stands for, or that of the checkout here.
pub(crate) async fn repo_or_here(client: &Client, word: Option<&str>) -> anyhow::Result<String> {
    match word {
        Some(word) => repo(client, word).await,
        None => repo_here(client, &Checkout::here()).await,
    }
}

/// The server says of what is missing only that it does not exist: this says what was asked for.
pub(crate) fn named<T>(what: impl std::fmt::Display, answer: Result<T, ClientError>) -> anyhow::Result<T> {
    answer.map_err(|error| {
        let missing = error.status() == Some(404);
        let error = anyhow::Error::new(error);
        if missing { error.context(what.to_string()) } else { error }
    })
}

/// A list that is empty because there is no such repository is no answer: this says so instead.
pub(crate) async fn is_there(client: &Client, repo: Option<&str>) -> anyhow::Result<()> {
    if let Some(repo) = repo {
        named(repo, client.repo(repo).await)?;
    }
    Ok(())
}

/// The repository whose checkout this is.
pub(crate) async fn repo_here(client: &Client, here: &Checkout) -> anyhow::Result<String> {
    if here.top.is_none() {
        return Err(usage("name the repository: this folder is no git checkout"));
    }
    let known = client.repos().await?;
    let same: Vec<Repo> = known.into_iter().filter(|repo| here.comes_from(&repo.clone_url)).collect();
    let origin = here.origin.clone().unwrap_or_else(|| "URL".to_owned());
    one(
        same,
        || {
            format!(
                "this checkout is of no repository that the server knows; `ocelot repo add {origin}` adds it"
            )
        },
        "this checkout",
    )
}

/// The repository whose checkout this is, if it is one that the server knows.
pub(crate) async fn known_here(client: &Client, here: &Checkout) -> anyhow::Result<Option<String>> {
    if here.top.is_none() {
        return Ok(None);
    }
    let mut same: Vec<Repo> = client.repos().await?;
    same.retain(|repo| here.comes_from(&repo.clone_url));
    Ok(same.pop().filter(|_| same.is_empty()).map(|repo| repo.repo))
}

/// The build that `word` means: its number, the newest one of a commit, or the newest one of a repository.
/// Without a word, the newest one of the commit that is checked out here.
pub(crate) async fn build(client: &Client, word: Option<&str>) -> anyhow::Result<Build> {
    let Some(word) = word else { return build_here(client).await };
    if let Ok(number) = word.parse::<i64>() {
        match client.build(number).await {
            // Seven digits may be the beginning of a commit as well.
            Err(error) if error.status() == Some(404) && is_commit(word) => {}
            answer => return named(format_args!("build {number}"), answer),
        }
    }
    let query = if is_commit(word) {
        BuildQuery { commit: Some(word.to_lowercase()), ..BuildQuery::default() }
    } else {
        BuildQuery { repo: Some(repo(client, word).await?), limit: Some(1), ..BuildQuery::default() }
    };
    let found = client.builds(&query).await?.items;
    if let Some(other) = found.iter().find(|build| build.repo != found[0].repo) {
        let rows = found.iter().map(|b| [b.number.to_string(), b.repo.clone(), b.commit.clone()]);
        show::table(["BUILD", "REPO", "HASH"], rows, "")?;
        bail!("{word} was built in {} and in {}: name the build", found[0].repo, other.repo);
    }
    newest(client, found, word).await
}

async fn build_here(client: &Client) -> anyhow::Result<Build> {
    let here = Checkout::here();
    let repo = repo_here(client, &here).await?;
    let query = BuildQuery { repo: Some(repo.clone()), commit: here.commit, ..BuildQuery::default() };
    let mut found = client.builds(&query).await?.items;
    if found.is_empty() {
        let query = BuildQuery { repo: Some(repo), limit: Some(1), ..BuildQuery::default() };
        found = client.builds(&query).await?.items;
    }
    newest(client, found, "this checkout").await
}

async fn newest(client: &Client, found: Vec<Build>, word: &str) -> anyhow::Result<Build> {
    let build = found.into_iter().next().with_context(|| format!("there is no build of {word}"))?;
    Ok(client.build(build.number).await?)
}

fn one(repos: Vec<Repo>, none: impl Fn() -> String, word: &str) -> anyhow::Result<String> {
    let handles: Vec<String> = repos.into_iter().map(|repo| repo.repo).collect();
    match handles.as_slice() {
        [] => bail!(none()),
        [only] => Ok(only.clone()),
        several => bail!("{word} may be any of {}: name one", several.join(", ")),
    }
}

fn is_commit(word: &str) -> bool {
    (7..=40).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_hexdigit())
}
