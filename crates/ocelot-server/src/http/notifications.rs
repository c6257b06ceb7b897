//! Notifications: what could not be sent, and trying whether something arrives.

use axum::Json;
use axum::extract::State;
use futures_util::future::join_all;
use ocelot_api::body as api;
use ocelot_model::access::Action;
use ocelot_model::notify::{Medium, Rule, Target};
use ocelot_model::secret::{Kind, Scope};
use ocelot_store::{FailingNotice, Repo, Secret};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Caller;
use super::extract::{self, NoQuery, PageQuery, Query};
use super::problem::{Answer, Refusal};
use super::secrets::visible;
use crate::App;
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

/// Lists notifications that could not be sent so far, those of the newest builds first; at most 1000.
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
    let readable: Vec<_> = readable.iter().map(|repo| repo.id).collect();
    let rows = app.store.failing_notices(repo, &readable).await?;
    let page = PageQuery { limit: asked.limit, cursor: asked.cursor };
    Ok(Json(page.page(rows.into_iter().map(body).collect())?))
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
    let items = match (asked.repo, asked.credential) {
        (Some(handle), None) if asked.scope.is_empty() => {
            let repo = caller.repo(&app, &handle, Action::AdminRepo).await?;
            of_repo(&app, &repo, &by).await?
        }
        (None, Some(name)) => {
            let scope: Scope =
                asked.scope.parse().map_err(|error| Refusal::bad_request(format!("scope: {error}")))?;
            let all = visible(&app, &caller, Some(Kind::Notify)).await?;
            let found = all.into_iter().find(|one| one.scope == scope && one.is_called(&name));
            vec![of_credential(&app, &found.ok_or_else(|| caller.not_found())?, &by).await]
        }
        _ => return Err(Refusal::bad_request("give either `repo` or `credential` (with its `scope`)")),
    };
    Ok(Json(api::NotifyTests { items }))
}

async fn of_repo(app: &App, repo: &Repo, by: &str) -> Answer<Vec<api::NotifyTest>> {
    let mut rules = app.store.repo_rules(repo.id).await?;
    let reach = app.store.secrets_in_reach(repo.id, &repo.name).await?;
    let notify = reach.iter().filter(|one| one.kind == Kind::Notify);
    rules.extend(notify.filter_map(|one| Rule::of_credential(&one.name, &one.fields)));
    if rules.is_empty() {
        return Err(Refusal::conflict(format!(
            "nobody is told of the builds of {}: its default branch's newest file that was built has no `notify`, and no \
             credential of kind notify in its reach has an `on`",
            repo.name
        )));
    }
    let about = repo.name.to_string();
    let tests = rules.iter().map(async |rule| {
        let tried = match notify::find(app, repo, &rule.identifier).await {
            Ok(credential) => limited(app, &credential, rule, &about, by).await,
            Err(error) => Err(error),
        };
        tested(rule, tried)
    });
    Ok(join_all(tests).await)
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
    tested(&rule, limited(app, credential, &rule, &about, by).await)
}

/// Somebody waits for it.
async fn limited(
    app: &App,
    credential: &Secret,
    rule: &Rule,
    about: &str,
    by: &str,
) -> Result<Sent, NotifyError> {
    let sent = notify::test(app, credential, rule, about, by);
    tokio::time::timeout(app.config.patience.send, sent)
        .await
        .unwrap_or_else(|_| Err(NotifyError::Unavailable("no answer in time".to_owned())))
}

fn tested(rule: &Rule, tried: Result<Sent, NotifyError>) -> api::NotifyTest {
    let (sent, answer, error) = match tried {
        Ok(Sent { what, answer }) => (Some(what), Some(answer), None),
        Err(error) => (None, None, Some(error.to_string())),
    };
    api::NotifyTest { kind: rule.medium().as_str().to_owned(), place: rule.place(), sent, answer, error }
}
