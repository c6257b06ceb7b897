//! Who calls, and what they may do.
//!
//! Identity comes from a bearer token or the session cookie, never from a name in a request.
//! `ocelot_model::access::may` decides; this file only turns its answer into 401, 403 or 404.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum_extra::extract::CookieJar;
use ocelot_model::access::{Action, Actor, RepoView, Role, may};
use ocelot_model::{RepoId, RepoName};
use ocelot_store::{Repo, Token};

use super::problem::{Answer, Refusal};
use crate::App;

/// How long one stays signed in.
const SESSION: Duration = Duration::from_hours(14 * 24);

/// Who calls. The guard of the route has put it there; a route without guard has none.
#[derive(Debug, Clone)]
pub struct Caller(pub Actor);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Caller> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| Refusal::internal("a handler asks who calls on a route without a guard"))
    }
}

impl Caller {
    /// Name for the record of who did what.
    pub fn name(&self) -> String {
        match &self.0 {
            Actor::Token { name, .. } => name.clone(),
            Actor::Anonymous => "nobody".to_owned(),
            Actor::Worker(id) => format!("worker {id}"),
        }
    }

    /// True when the caller may do this to the repository.
    pub fn may(&self, action: Action, repo: &Repo) -> bool {
        may(&self.0, action, Some(RepoView { name: &repo.name, public: repo.public }))
    }

    /// What is missing, or must look so: 401 for those who did not say who they are.
    pub fn not_found(&self) -> Refusal {
        if self.0 == Actor::Anonymous { anonymous() } else { Refusal::not_found() }
    }

    /// Reading is the first condition: without it the repository does not exist for the caller.
    pub fn check(&self, action: Action, repo: &Repo) -> Answer<()> {
        if !self.may(Action::ReadRepo, repo) {
            return Err(self.not_found());
        }
        if self.may(action, repo) { Ok(()) } else { Err(self.forbidden(action)) }
    }

    /// 403 in words; 401 for those who did not say who they are.
    pub fn forbidden(&self, action: Action) -> Refusal {
        if self.0 == Actor::Anonymous {
            return anonymous();
        }
        if let Actor::Token { role: Role::Admin, scope, .. } = &self.0
            && !scope.is_empty()
        {
            let words =
                format!("This token is limited to {}; this needs one without that limit.", scope.join(", "));
            return Refusal::forbidden(words);
        }
        let need = match action {
            Action::ReadRepo | Action::ReadFleet => "role read, write or admin",
            Action::WriteRepo => "role write or admin",
            Action::AdminRepo => "role admin",
            Action::Administer => "role admin and no limit to repositories",
            Action::ReadMetrics => "role metrics or admin",
            Action::Work => "role worker",
        };
        Refusal::forbidden(format!("This needs a token with {need} (`ocelot token create`)."))
    }

    /// The repository with this handle, when the caller may do this to it.
    pub async fn repo(&self, app: &App, handle: &str, action: Action) -> Answer<Repo> {
        let Ok(name) = handle.parse::<RepoName>() else { return Err(self.not_found()) };
        let repo = app.store.find_repo(&name).await?.ok_or_else(|| self.not_found())?;
        self.check(action, &repo)?;
        Ok(repo)
    }

    /// What the caller may read: the repositories, and their ids unless these are all that there are. 401 for someone unknown
    /// when there are none.
    pub(super) async fn scope(&self, app: &App) -> Answer<(Vec<Repo>, Option<Vec<RepoId>>)> {
        let mut repos = app.store.list_repos().await?;
        let all = repos.len();
        repos.retain(|repo| self.may(Action::ReadRepo, repo));
        if repos.is_empty() && self.0 == Actor::Anonymous {
            return Err(anonymous());
        }
        let ids = (repos.len() < all).then(|| repos.iter().map(|repo| repo.id).collect());
        Ok((repos, ids))
    }

    /// The ids of what the caller may read; `None` for everything, which needs no looking.
    pub(super) async fn readable_ids(&self, app: &App) -> Answer<Option<Vec<RepoId>>> {
        if may(&self.0, Action::ReadRepo, None) {
            return Ok(None);
        }
        Ok(self.scope(app).await?.1)
    }

    /// Repositories that the caller may read. 401 for someone unknown when there are none.
    pub async fn readable(&self, app: &App) -> Answer<Vec<Repo>> {
        let mut repos = app.store.list_repos().await?;
        repos.retain(|repo| self.may(Action::ReadRepo, repo));
        if repos.is_empty() && self.0 == Actor::Anonymous {
            return Err(anonymous());
        }
        Ok(repos)
    }
}

/// 401 for a request without token and session.
pub(super) fn anonymous() -> Refusal {
    Refusal::unauthorized(
        "This needs a token: send `Authorization: Bearer TOKEN`. `ocelot token create` makes one.",
    )
}

/// Who the headers say is calling. A bearer token that does not hold is refused; a session that
/// ended is nobody's.
pub(super) async fn identify(app: &App, headers: &HeaderMap) -> Answer<Caller> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let bad = || Refusal::unauthorized("No token has this secret, or it has ended.");
        let (scheme, secret) = value.to_str().ok().and_then(|v| v.split_once(' ')).ok_or_else(bad)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::unauthorized("Send the token as `Authorization: Bearer TOKEN`."));
        }
        let token = app.store.find_token(secret.trim()).await?.ok_or_else(bad)?;
        return Ok(Caller(actor(token)));
    }
    match session_secret(app, headers) {
        Some(secret) => Ok(Caller(app.store.find_session(&secret).await?.map_or(Actor::Anonymous, actor))),
        None => Ok(Caller(Actor::Anonymous)),
    }
}

fn actor(token: Token) -> Actor {
    Actor::Token { name: token.name, role: token.role, scope: token.repos }
}

/// Signs in with a token's secret: the `Set-Cookie` header, or `None` when the secret does not hold or
/// belongs to a worker or to metrics.
pub async fn sign_in(app: &App, secret: &str) -> Answer<Option<HeaderValue>> {
    session_of(app, app.store.find_token(secret.trim()).await?).await
}

/// Signs in with the secret of a link, once.
pub async fn redeem(app: &App, secret: &str) -> Answer<Option<HeaderValue>> {
    session_of(app, app.store.redeem_sign_in_link(secret).await?).await
}

async fn session_of(app: &App, token: Option<Token>) -> Answer<Option<HeaderValue>> {
    let Some(token) = token.filter(|t| matches!(t.role, Role::Admin | Role::Write | Role::Read)) else {
        return Ok(None);
    };
    let secret = app.store.create_session(token.id, SESSION).await?;
    cookie(app, &secret, SESSION.as_secs()).map(Some)
}

/// Ends the session of the request, if it has one: the cookie that removes the browser's.
pub async fn sign_out(app: &App, headers: &HeaderMap) -> Answer<HeaderValue> {
    if let Some(secret) = session_secret(app, headers) {
        app.store.end_session(&secret).await?;
    }
    cookie(app, "", 0)
}

fn session_secret(app: &App, headers: &HeaderMap) -> Option<String> {
    CookieJar::from_headers(headers).get(cookie_name(app)).map(|cookie| cookie.value().to_owned())
}

fn is_https(app: &App) -> bool {
    app.public_url.starts_with("https://")
}

/// `__Host-` binds the cookie to this very host, but browsers take it over https only.
fn cookie_name(app: &App) -> &'static str {
    if is_https(app) { "__Host-ocelot_session" } else { "ocelot_session" }
}

/// The header that sets the cookie, or removes it with 0 seconds.
fn cookie(app: &App, value: &str, seconds: u64) -> Answer<HeaderValue> {
    let secure = if is_https(app) { "; Secure" } else { "" };
    let name = cookie_name(app);
    HeaderValue::from_str(&format!(
        "{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}"
    ))
    .map_err(Refusal::internal)
}

/// Where to go after signing in: a path of ours, or the first page.
pub fn own_path(asked: &str) -> &str {
    let own = asked.starts_with('/')
        && !asked.starts_with("//")
        && asked.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && asked.len() <= 2048;
    if own { asked } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn only_own_paths_are_gone_to() {
        for text in ["/builds/3", "/?q=a%20b&status=failed"] {
            assert_eq!(own_path(text), text);
        }
        for text in
            ["", "//evil", "/\\evil", "https:evil", "https://evil", "evil", "/a\r\nSet-Cookie: x", "/a b"]
        {
            assert_eq!(own_path(text), "/", "{text:?}");
        }
    }
}
