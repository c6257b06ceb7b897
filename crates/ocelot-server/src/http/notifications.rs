//! Notifications: what could not be sent, and trying whether something arrives.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use futures_util::future::join_all;
use ocelot_api::body as api;
use ocelot_model::access::Action;
use ocelot_model::notify::{Medium, Rule, Target};
use ocelot_model::secret::{Kind, Scope};
use ocelot_model::{AuditAction, EventKind};
use ocelot_store::{FailingNotice, Repo, Secret};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Caller;
use super::extract::{self, NoQuery, PageQuery, Query};
use super::problem::{Answer, Refusal};
use super::secrets::visible;
use crate::App;
use crate::audit;
use crate::notify::{self, NotifyError, Sent};

/// Which to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Handle of a repository.
    repo: Option<String>,
    /// Rows, 1 to 500; default 50.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists notifications that could not be sent so far, those of the newest builds first; at most 1000. Where to and why is for
/// those who administer the repository.
#[utoipa::path(get, path = "/api/v1/notifications", tag = "notifications", params(Filter),
    responses((status = 200, body = api::Page<api::Notification>), (status = 404, description = "There is no such repository")))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(asked): Query<Filter>,
) -> Answer<Json<api::Page<api::Notification>>> {
    let readable = caller.readable(&app).await?;
    let repo = match &asked.repo {
        None => None,
        Some(handle) => {
            let found = readable.iter().find(|repo| repo.name.to_string() == *handle);
            Some(found.ok_or_else(|| caller.not_found())?.id)
        }
    };
    let ids: Vec<_> = readable.iter().map(|repo| repo.id).collect();
    let rows = app.store.failing_notices(repo, &ids).await?.into_iter();
    let administers = |row: &FailingNotice| {
        readable.iter().any(|repo| repo.name == row.repo && caller.may(Action::AdminRepo, repo))
    };
    let rows = rows.map(|row| body(notify::notice_for(administers(&row), row)));
    let page = PageQuery { limit: asked.limit, cursor: asked.cursor };
    Ok(Json(page.page(rows.collect())?))
}

fn body(row: FailingNotice) -> api::Notification {
    api::Notification {
        build: row.build.0,
        repo: row.repo.to_string(),
        status: row.status,
        kind: row.kind.as_str().to_owned(),
        place: row.place,
        error: row.error,
        tries: row.tries,
        since: row.since,
        again_at: row.again_at,
    }
}

/// Sends a test, once and at once, to every place that is told of a repository's builds, or with one credential; says what
/// was sent and what the far side answered.
#[utoipa::path(post, path = "/api/v1/notifications/test", tag = "notifications", request_body = api::NewNotifyTest,
    responses((status = 200, body = api::NotifyTests), (status = 404, description = "There is no such repository or credential"),
        (status = 409, description = "Nobody is told of the repository's builds")))]
pub(super) async fn test(
    State(app): State<App>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(asked): extract::Json<api::NewNotifyTest>,
) -> Answer<Json<api::NotifyTests>> {
    let by = caller.name();
    let (about, items) = match (asked.repo, asked.credential) {
        (Some(handle), None) if asked.scope.is_empty() => {
            let repo = caller.repo(&app, &handle, Action::AdminRepo).await?;
            (handle, of_repo(&app, &repo, &by).await?)
        }
        (None, Some(name)) => {
            let scope: Scope =
                asked.scope.parse().map_err(|error| Refusal::bad_request(format!("scope: {error}")))?;
            let all = visible(&app, &caller, Some(Kind::Notify)).await?;
            let found = all.into_iter().find(|one| one.scope == scope && one.is_called(&name));
            (name, vec![of_credential(&app, &found.ok_or_else(|| caller.not_found())?, &by).await])
        }
        _ => return Err(Refusal::bad_request("give either `repo` or `credential` (with its `scope`)")),
    };
    let (sent, failed) =
        (count(&items, |one| one.answer.is_some()), count(&items, |one| one.error.is_some()));
    let detail = format!("{sent} sent, {failed} failed, of {}", items.len());
    audit::note(&app, &by, AuditAction::NotifyTested, &about, &detail).await;
    Ok(Json(api::NotifyTests { items }))
}

fn count(items: &[api::NotifyTest], is: fn(&api::NotifyTest) -> bool) -> usize {
    items.iter().filter(|one| is(one)).count()
}

async fn of_repo(app: &App, repo: &Repo, by: &str) -> Answer<Vec<api::NotifyTest>> {
    let mut rules = app.store.repo_rules(repo.id).await?;
    let reach = app.store.secrets_in_reach(repo.id, &repo.name).await?;
    let notify: Vec<&Secret> = reach.iter().filter(|one| one.kind == Kind::Notify).collect();
    rules.extend(notify.iter().filter_map(|one| Rule::of_credential(&one.name, &one.fields)));
    if rules.is_empty() {
        return Err(Refusal::conflict(format!(
            "nobody is told of the builds of {}: its default branch's newest file that was built has no `notify`, and no \
             credential of kind notify in its reach has an `on`",
            repo.name
        )));
    }
    let about = repo.name.to_string();
    let tests = once(rules, &notify).into_iter().map(async |rule| {
        let credential = match notify::find(app, repo, &rule.identifier).await {
            Ok(credential) => credential,
            Err(error) => return tested(&rule, Err(error)),
        };
        match not_told(&credential, &repo.default_branch) {
            Some(skipped) => api::NotifyTest { skipped: Some(skipped), ..untested(&rule) },
            None => {
                let tried = limited(app, &credential, &rule, (&about, by)).await;
                api::NotifyTest { note: notify::unused_address(&credential, &rule), ..tested(&rule, tried) }
            }
        }
    });
    Ok(join_all(tests).await)
}

/// One rule for each place, by whatever name of its credential, as a build tells each place once.
fn once(rules: Vec<Rule>, credentials: &[&Secret]) -> Vec<Rule> {
    let mut seen = HashSet::new();
    let mut place = |rule: &Rule| {
        let credential = credentials.iter().find(|one| one.is_called(&rule.identifier));
        let identifier = credential.map_or(&rule.identifier, |one| &one.name).clone();
        // With an address of its own, a credential leads to one place.
        let to = match &rule.to {
            Target::Webhook(_) if credential.is_some_and(|one| one.fields.contains_key("url")) => {
                Target::Webhook(None)
            }
            to => to.clone(),
        };
        seen.insert(Rule { identifier, to, on: Vec::new() }.place())
    };
    rules.into_iter().filter(|rule| place(rule)).collect()
}

/// Why a credential tells nobody of the builds of this branch.
fn not_told(credential: &Secret, branch: &str) -> Option<String> {
    let event = credential.limits.events.first().copied().unwrap_or(EventKind::Push);
    let why = credential.limits.refuse_build(event, branch)?;
    Some(format!("the credential {} {why}", credential.name))
}

async fn of_credential(app: &App, credential: &Secret, by: &str) -> api::NotifyTest {
    let fields = &credential.fields;
    let to = match Medium::of(fields) {
        Some(Medium::Slack) | None => Target::Slack(fields.get("channel").cloned()),
        Some(Medium::Webhook) => Target::Webhook(None),
        Some(Medium::Email) => Target::Email(Vec::new()),
    };
    let rule = Rule { identifier: credential.name.clone(), to, on: Vec::new() };
    let about = match &credential.scope {
        Scope::All => "all repositories".to_owned(),
        scope @ (Scope::Owner(_) | Scope::Repo(_)) => scope.to_string(),
    };
    tested(&rule, limited(app, credential, &rule, (&about, by)).await)
}

/// Somebody waits for it.
async fn limited(
    app: &App,
    credential: &Secret,
    rule: &Rule,
    (about, by): (&str, &str),
) -> Result<Sent, NotifyError> {
    let sent = notify::test(app, credential, rule, about, by);
    tokio::time::timeout(app.config.patience.send, sent)
        .await
        .unwrap_or_else(|_| Err(NotifyError::Unavailable("no answer in time".to_owned())))
}

fn tested(rule: &Rule, tried: Result<Sent, NotifyError>) -> api::NotifyTest {
    match tried {
        Ok(Sent { what, answer, partly }) => api::NotifyTest {
            sent: Some(what),
            answer: Some(answer),
            error: partly.map(|partly| partly.words),
            ..untested(rule)
        },
        Err(error) => api::NotifyTest { error: Some(error.to_string()), ..untested(rule) },
    }
}

fn untested(rule: &Rule) -> api::NotifyTest {
    api::NotifyTest {
        kind: rule.medium().as_str().to_owned(),
        place: rule.place(),
        ..api::NotifyTest::default()
    }
}
