//! Who is told of a build: one row of the outbox for each place and occasion, written in the transaction that changes the
//! build. What one place has not taken yet never makes room for something newer: each occasion is told.

use jiff::Timestamp;
use ocelot_model::notify::{Rule, Target, occasions};
use ocelot_model::secret::Kind;
use ocelot_model::{BuildNumber, RepoId, Status};
use sha2::{Digest as _, Sha256};
use sqlx::FromRow;

use super::{Conn, Core, Tx, secrets};
use crate::raw::{RepoRow, from_json, maybe_time, read, time, to_json};
use crate::{FailingNotice, Notice, Repo, Secret, StoreError, secret};

/// Most bytes of a place's name: an index holds it.
const PLACE_MAX: usize = 200;
/// Most that are listed.
const LISTED_MAX: i64 = 1_000;

/// A build, as far as it matters who is told of it.
#[derive(FromRow)]
struct ToldRow {
    event: String,
    branch: String,
    rules: String,
    #[sqlx(flatten)]
    repo: RepoRow,
}

/// Writes down who is to be told that the build stands so; answers how many are.
pub(super) async fn note(tx: &mut Tx, build: BuildNumber, status: Status) -> Result<u64, StoreError> {
    let row: Option<ToldRow> = sqlx::query_as(concat!(
        "SELECT b.event, b.branch, coalesce(b.notify, r.notify) AS rules, ",
        repo_columns!(),
        " FROM builds b JOIN repos r ON r.id = b.repo_id JOIN forges f ON f.id = r.forge_id
          WHERE b.number = $1 AND (coalesce(b.notify, r.notify) <> '[]'
                                   OR EXISTS (SELECT 1 FROM secrets WHERE kind = 'notify'))"
    ))
    .bind(build.0)
    .fetch_optional(tx.conn())
    .await?;
    // Most repositories tell nobody.
    let Some(ToldRow { event, branch, rules, repo }) = row else { return Ok(0) };
    let repo = repo.into_repo()?;
    let credentials = credentials(tx.conn(), &repo).await?;
    let mut rules: Vec<Rule> = from_json(&rules)?;
    rules.extend(credentials.iter().filter_map(|one| Rule::of_credential(&one.name, &one.fields)));
    let before = before(tx.conn(), build).await?;
    let now = occasions(status, before);
    let event = read(&event)?;
    let mut noted = 0;
    for rule in rules.into_iter().filter(|rule| rule.wants(now)) {
        let credential = credentials.iter().find(|one| one.is_called(&rule.identifier));
        // Its limits say of which builds it tells.
        if credential.is_some_and(|one| one.limits.refuse_build(event, &branch).is_some()) {
            continue;
        }
        let lane = lane(&rule, credential, repo.id);
        noted += insert(tx, build, status, &repo, &lane, &Notice { rule, before, told: Vec::new() }).await?;
    }
    Ok(noted)
}

/// Makes the rules of the file those of the repository.
pub(super) async fn replace(tx: &mut Tx, repo: RepoId, rules: &[Rule]) -> Result<(), StoreError> {
    sqlx::query("UPDATE repos SET notify = $1 WHERE id = $2 AND notify <> $1")
        .bind(to_json(rules)?)
        .bind(repo.0)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// How the build before it ended, of those that said something of a commit.
async fn before(conn: &mut Conn, build: BuildNumber) -> Result<Option<Status>, StoreError> {
    let status: Option<String> = sqlx::query_scalar(concat!(
        "SELECT o.status FROM builds b JOIN builds o ON ",
        same_history!(),
        " AND o.number < b.number AND o.status IN ('passed', 'failed', 'error', 'timed_out')
          WHERE b.number = $1 ORDER BY o.number DESC LIMIT 1"
    ))
    .bind(build.0)
    .fetch_optional(conn)
    .await?;
    status.as_deref().map(read).transpose()
}

/// What is for one place waits for no other.
fn lane(rule: &Rule, credential: Option<&Secret>, repo: RepoId) -> String {
    match (credential, &rule.to) {
        (None, _) => format!("notify:none:{repo}"),
        // The file says where, and each of its places is one of its own.
        (Some(credential), Target::Webhook(Some(url))) if !credential.fields.contains_key("url") => {
            format!("notify:{}:{}", credential.id, short_hash(url))
        }
        (Some(credential), _) => format!("notify:{}", credential.id),
    }
}

fn short_hash(text: &str) -> String {
    secret::hex(&Sha256::digest(text.as_bytes())[..8])
}

/// The place in words, and never the same for two.
fn place(rule: &Rule) -> String {
    let whole = rule.place();
    if whole.len() <= PLACE_MAX {
        return whole;
    }
    let end = (0..=PLACE_MAX - 20).rev().find(|end| whole.is_char_boundary(*end)).unwrap_or(0);
    format!("{}… ({})", &whole[..end], short_hash(&whole))
}

async fn insert(
    tx: &mut Tx,
    build: BuildNumber,
    status: Status,
    repo: &Repo,
    lane: &str,
    notice: &Notice,
) -> Result<u64, StoreError> {
    let now = tx.now;
    // A build may be blocked more than once; what is not sent yet says it already.
    let noted = sqlx::query(
        "INSERT INTO outbox (lane, kind, repo_id, subject, context, build, status, mark, due_at, notice)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (kind, repo_id, subject, context) DO UPDATE
         SET version = outbox.version + 1, due_at = excluded.due_at, tries = 0, failing_since = NULL, error = NULL,
             notice = excluded.notice
         WHERE outbox.due_at IS NULL",
    )
    .bind(lane)
    .bind(notice.rule.medium().as_str())
    .bind(repo.id.0)
    .bind(format!("build {build} {status}"))
    .bind(place(&notice.rule))
    .bind(build.0)
    .bind(status.as_str())
    .bind(secret::hex(&secret::random::<16>()))
    .bind(now)
    .bind(to_json(notice)?)
    .execute(tx.conn())
    .await?;
    Ok(noted.rows_affected())
}

async fn credentials(conn: &mut Conn, repo: &Repo) -> Result<Vec<Secret>, StoreError> {
    let mut all = secrets::in_reach(conn, repo.id, &repo.name).await?;
    all.retain(|one| one.kind == Kind::Notify);
    Ok(all)
}

/// What a credential's place did not take is tried again at once when the credential changes; what was given up is past.
/// What named one that was not there may have meant this one.
pub(super) async fn try_again(tx: &mut Tx, credential: i64) -> Result<(), StoreError> {
    let now = tx.now;
    let lane = format!("notify:{credential}");
    let again = sqlx::query(
        "UPDATE outbox SET due_at = $1 WHERE due_at > $1 AND error IS NOT NULL
         AND (lane = $2 OR substr(lane, 1, length($3)) = $3 OR substr(lane, 1, 12) = 'notify:none:')",
    )
    .bind(now)
    .bind(&lane)
    .bind(format!("{lane}:"))
    .execute(tx.conn())
    .await?;
    if again.rows_affected() > 0 {
        tx.wake(crate::Wake::Outbox);
    }
    Ok(())
}

#[derive(FromRow)]
struct FailingRow {
    build: i64,
    status: String,
    kind: String,
    context: String,
    error: String,
    tries: i64,
    failing_since: Option<i64>,
    due_at: Option<i64>,
    #[sqlx(flatten)]
    repo: RepoRow,
}

impl Core {
    /// The rules of the default branch's newest file.
    pub(crate) async fn repo_rules(&self, repo: RepoId) -> Result<Vec<Rule>, StoreError> {
        let rules: Option<String> = sqlx::query_scalar("SELECT notify FROM repos WHERE id = $1")
            .bind(repo.0)
            .fetch_optional(&self.pools.read)
            .await?;
        rules.as_deref().map_or(Ok(Vec::new()), from_json)
    }

    /// The rules by which a build is told of.
    pub(crate) async fn build_rules(&self, build: BuildNumber) -> Result<Vec<Rule>, StoreError> {
        let rules: Option<String> = sqlx::query_scalar(
            "SELECT coalesce(b.notify, r.notify) FROM builds b JOIN repos r ON r.id = b.repo_id WHERE b.number = $1",
        )
        .bind(build.0)
        .fetch_optional(&self.pools.read)
        .await?;
        rules.as_deref().map_or(Ok(Vec::new()), from_json)
    }

    pub(crate) async fn failing_notices(
        &self,
        repo: Option<RepoId>,
        readable: &[RepoId],
    ) -> Result<Vec<FailingNotice>, StoreError> {
        let readable: Vec<i64> = readable.iter().map(|repo| repo.0).collect();
        let rows: Vec<FailingRow> = sqlx::query_as(concat!(
            "SELECT o.build, o.status, o.kind, o.context, o.error, o.tries, o.failing_since, o.due_at, ",
            repo_columns!(),
            " FROM outbox o JOIN repos r ON r.id = o.repo_id JOIN forges f ON f.id = r.forge_id
              WHERE o.error IS NOT NULL AND o.notice IS NOT NULL AND ($1 = 0 OR o.repo_id = $1) AND o.repo_id IN ",
            ids!("$2"),
            " ORDER BY o.build DESC, o.id DESC LIMIT $3"
        ))
        .bind(repo.map_or(0, |repo| repo.0))
        .bind(to_json(&readable)?)
        .bind(LISTED_MAX)
        .fetch_all(&self.pools.read)
        .await?;
        let row = |row: FailingRow| {
            let since: Option<Timestamp> = row.failing_since.map(time).transpose()?;
            Ok(FailingNotice {
                build: BuildNumber(row.build),
                repo: row.repo.into_repo()?.name,
                status: read(&row.status)?,
                kind: read(&row.kind)?,
                place: row.context,
                error: row.error,
                tries: row.tries as u32,
                since,
                again_at: maybe_time(row.due_at)?,
            })
        };
        rows.into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_fit_into_an_index_and_differ() {
        let long = |end: &str| Rule {
            identifier: "m".to_owned(),
            to: Target::Email(vec![format!("{}@{end}", "ä".repeat(150))]),
            on: Vec::new(),
        };
        let (one, other) = (place(&long("a")), place(&long("b")));
        assert!(one != other && one.len() <= PLACE_MAX + 5 && one.starts_with("m ää"), "{one}");
        let short = Rule { to: Target::Slack(Some("#ci".into())), ..long("a") };
        assert_eq!(place(&short), "m #ci");
    }
}
