//! The original's forms of credentials: `POST /api/v1/creds/vcs` and its like, onto the same rows as `/credentials`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ocelot_api::body as api;
use ocelot_model::ForgeKind;
use ocelot_model::secret::{Kind, Scope};
use serde::Deserialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::extract::{self, NoQuery, PageQuery, Query, Segments};
use super::problem::{Answer, Refusal};
use super::secrets::{body, forget, keep, visible};
use crate::App;

/// What the original takes. Which of these belong to a kind, the answer says when one is missing.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Form {
    /// The account: all of its repositories get it.
    acct_name: String,
    /// `GITHUB`, `BITBUCKET`, … for vcs; `NEXUS`, `DOCKER`, `MINIO` for repo.
    #[serde(alias = "subType")]
    r#type: Option<String>,
    identifier: Option<String>,
    config_id: Option<String>,
    client_id: Option<String>,
    #[schema(value_type = Option<String>)]
    client_secret: Option<api::Hidden>,
    #[serde(alias = "tokenURL")]
    token_url: Option<String>,
    username: Option<String>,
    #[schema(value_type = Option<String>)]
    password: Option<api::Hidden>,
    repo_url: Option<String>,
    helm_url: Option<String>,
    #[schema(value_type = Option<String>)]
    k8s_contents: Option<api::Hidden>,
    #[schema(value_type = Option<String>)]
    private_key: Option<api::Hidden>,
    #[schema(value_type = Option<String>)]
    env_value: Option<api::Hidden>,
    detail_url_base: Option<String>,
}

/// Credentials of a kind of the original, without their values.
#[utoipa::path(get, path = "/api/v1/creds/{kind}", tag = "secrets", params(PageQuery,
    ("kind" = String, Path, description = "vcs, repo, k8s, ssh, notify, env or generic")),
    responses((status = 200, body = api::Page<api::Secret>), (status = 422, description = "There is no such kind")))]
pub(super) async fn list_original(
    State(app): State<App>,
    caller: Caller,
    Segments(kind): Segments<String>,
    Query(page): Query<PageQuery>,
) -> Answer<Json<api::Page<api::Secret>>> {
    let kinds = kinds(&kind)?;
    let mut rows = visible(&app, &caller, None).await?;
    rows.retain(|row| kinds.contains(&row.kind));
    Ok(Json(page.page(rows.into_iter().map(body).collect())?))
}

/// Keeps a credential as the original wrote it: for all repositories of an account.
#[utoipa::path(post, path = "/api/v1/creds/{kind}", tag = "secrets", request_body = Form,
    params(("kind" = String, Path, description = "vcs, repo, k8s, ssh, notify, env or generic")),
    responses((status = 201, body = api::Secret), (status = 200, description = "There was one: it is changed", body = api::Secret),
        (status = 422, description = "There is no such kind, or the body cannot be understood")))]
pub(super) async fn add_original(
    State(app): State<App>,
    caller: Caller,
    Segments(kind): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(form): extract::Json<Form>,
) -> Answer<(StatusCode, Json<api::Secret>)> {
    let kind = of(&kind, &form)?;
    let forge = forge(&app, &form).await?;
    keep(&app, &caller, form.into_secret(kind, &forge)?).await
}

/// Which of several of one name.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct SubType {
    /// `NEXUS`, `DOCKER`, `MINIO`, `HELM_REPO` or `ENV`; default: whichever has the name.
    sub_type: Option<String>,
}

/// Forgets a credential of an account, by the name that the original has for it.
#[utoipa::path(delete, path = "/api/v1/creds/{kind}/{account}/{identifier}", tag = "secrets",
    params(("kind" = String, Path, description = "vcs, repo, k8s, ssh, notify, env or generic"),
        ("account" = String, Path, description = "The account"), ("identifier" = String, Path, description = "Its name"), SubType),
    responses((status = 204), (status = 422, description = "There is no such kind"),
        (status = 409, description = "There are several: say the `subType`, or use /api/v1/credentials/{id}")))]
pub(super) async fn remove_original(
    State(app): State<App>,
    caller: Caller,
    Segments((kind, account, identifier)): Segments<(String, String, String)>,
    Query(SubType { sub_type }): Query<SubType>,
) -> Answer<StatusCode> {
    let kinds = match sub_type {
        Some(sub_type) => vec![of(&kind, &Form { r#type: Some(sub_type), ..Form::default() })?],
        None => kinds(&kind)?.to_vec(),
    };
    let (name, end) = (named(&identifier), format!("/{account}/"));
    let mut rows = visible(&app, &caller, None).await?;
    rows.retain(|row| {
        let of_account = matches!(&row.scope, Scope::Owner(prefix) if format!("/{prefix}").ends_with(&end));
        of_account && row.name == name && kinds.contains(&row.kind)
    });
    match &rows[..] {
        [] => Err(Refusal::not_found()),
        [one] => forget(&app, &caller, &one.id.to_string()).await,
        _ => Err(Refusal::conflict(format!(
            "{account} has several credentials {name}; say the `subType`, or remove one by its id: DELETE /api/v1/credentials/ID"
        ))),
    }
}

/// The kinds behind a word of the original.
fn kinds(word: &str) -> Answer<&'static [Kind]> {
    match word {
        "vcs" => Ok(&[Kind::Vcs]),
        "repo" => Ok(&[Kind::Maven, Kind::Docker, Kind::S3]),
        "k8s" => Ok(&[Kind::Kubeconfig]),
        "ssh" => Ok(&[Kind::Ssh]),
        "notify" => Ok(&[Kind::Notify]),
        "env" => Ok(&[Kind::Env]),
        "generic" => Ok(&[Kind::Env, Kind::Helm]),
        _ => {
            let words = format!(
                "`{word}` is no kind of credential; one of vcs, repo, k8s, ssh, notify, env, generic"
            );
            Err(Refusal::unprocessable("unknown_kind", words))
        }
    }
}

fn of(word: &str, form: &Form) -> Answer<Kind> {
    let kinds = kinds(word)?;
    let kind = form.r#type.as_deref().unwrap_or_default().to_ascii_uppercase();
    let named = match kind.as_str() {
        "NEXUS" | "MAVEN" => Some(Kind::Maven),
        "DOCKER" => Some(Kind::Docker),
        "MINIO" => Some(Kind::S3),
        "HELM_REPO" => Some(Kind::Helm),
        "ENV" => Some(Kind::Env),
        _ => None,
    };
    match (kinds, named) {
        ([one], _) => Ok(*one),
        (several, Some(named)) if several.contains(&named) => Ok(named),
        _ => {
            Err(Refusal::bad_request("type: say NEXUS, MAVEN, DOCKER or MINIO; for generic ENV or HELM_REPO"))
        }
    }
}

/// The forge of the account: the named one, else the only one that has repositories of it here.
async fn forge(app: &App, form: &Form) -> Answer<String> {
    let kind = form.r#type.as_deref().and_then(|word| word.to_ascii_lowercase().parse::<ForgeKind>().ok());
    let forges = app.store.list_forges().await?;
    let mut names: Vec<String> = match kind {
        Some(kind) => forges.into_iter().filter(|forge| forge.kind == kind).map(|forge| forge.name).collect(),
        None => {
            let repos = app.store.list_repos().await?.into_iter();
            repos.filter(|repo| repo.name.owner == form.acct_name).map(|repo| repo.name.forge).collect()
        }
    };
    names.sort_unstable();
    names.dedup();
    match (&names[..], kind) {
        ([one], _) => Ok(one.clone()),
        // Their usual short names.
        ([], Some(kind)) => Ok(kind.as_str().to_owned()),
        ([], None) => Err(Refusal::bad_request(
            "acctName: there is no repository of this account yet; say the forge with `type`, or use /api/v1/credentials",
        )),
        _ => Err(Refusal::bad_request(
            "acctName: it is on several forges; use /api/v1/credentials with a `scope`",
        )),
    }
}

impl Form {
    fn into_secret(self, kind: Kind, forge: &str) -> Answer<api::NewSecret> {
        if self.acct_name.is_empty() {
            return Err(Refusal::bad_request("acctName: say whose repositories get it"));
        }
        let id = self.identifier.or(self.config_id);
        let r#type = self.r#type;
        let name = match (&id, kind) {
            (Some(id), _) => named(id),
            (None, Kind::Vcs) => named(&format!(
                "{}_{}",
                r#type.as_deref().unwrap_or("VCS").to_ascii_uppercase(),
                self.acct_name
            )),
            (None, _) => return Err(Refusal::bad_request("identifier: name it")),
        };
        // What others call it where that is no name of ours.
        let id = id.filter(|id| *id != name && kind.fields().iter().any(|field| field.name == "id"));
        let value = self
            .client_secret
            .or(self.password)
            .or(self.k8s_contents)
            .or(self.private_key)
            .or(self.env_value)
            .or_else(|| self.helm_url.clone().filter(|_| kind == Kind::Helm).map(api::Hidden));
        // GitHub's tokens come with any word here.
        let has_url = self.token_url.as_deref().is_some_and(|url| !url.is_empty());
        let user = self.client_id.filter(|_| has_url).or(self.username);
        let known = [
            ("url", self.repo_url.or(self.helm_url)),
            ("username", user),
            ("token_url", self.token_url),
            ("type", r#type.map(|word| word.to_ascii_lowercase())),
            ("detail_url", self.detail_url_base),
            ("id", id),
        ];
        let takes = |name: &str| kind.fields().iter().any(|field| field.name == name);
        let fields: BTreeMap<String, String> = known
            .into_iter()
            .filter(|(name, _)| takes(name))
            .filter_map(|(name, value)| Some((name.to_owned(), value.filter(|value| !value.is_empty())?)))
            .collect();
        Ok(api::NewSecret {
            name,
            scope: format!("{forge}/{}/", self.acct_name),
            kind,
            value,
            value_base64: None,
            fields,
            events: Vec::new(),
            branches: Vec::new(),
            stages: Vec::new(),
        })
    }
}

/// A name of ours out of one of the original, which may have `-` and `.` in it.
fn named(id: &str) -> String {
    id.replace(['-', '.'], "_")
}
