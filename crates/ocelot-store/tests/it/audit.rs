//! Who did what: written with the change itself, and only when something changed.

use std::collections::BTreeMap;

use ocelot_model::access::Role;
use ocelot_model::build::{Change, Happening};
use ocelot_model::cron::Cron;
use ocelot_model::secret::{Kind, Limits};
use ocelot_model::{Approvals, ForgeKind, Origin, StageId, Status, TokenId, Trust, WorkerId};
use ocelot_store::{
    AuditFilter, Build, ForgeAccess, ForgeChange, Hook, NewBuild, NewForge, NewSecret, NewTimes, Repo,
    RepoChange, StoreError,
};

use crate::bed::{Bed, new_build, new_repo};

both!(every_change_has_its_row, what_cannot_be_written_down_is_not_done, nothing_changed_nothing_written);

/// Something of each kind, so that all of it can be changed.
struct Things {
    repo: Repo,
    token: TokenId,
    enrolment: i64,
    worker: WorkerId,
    forge: ocelot_model::ForgeId,
    hook: Hook,
    secret: i64,
    schedule: i64,
    build: Build,
    log: StageId,
}

fn secret(name: &str) -> NewSecret {
    NewSecret {
        scope: "git/app".parse().unwrap(),
        name: name.to_owned(),
        kind: Kind::Env,
        fields: BTreeMap::new(),
        limits: Limits::default(),
        value: b"canary".to_vec().into(),
        by: "ann".to_owned(),
        by_admin: true,
    }
}

fn forge(name: &str) -> NewForge {
    NewForge {
        name: name.to_owned(),
        kind: ForgeKind::Gitea,
        base_url: "https://git.example".to_owned(),
        insecure_http: false,
        ca: None,
        access: None,
        hook_secret: None,
    }
}

async fn things(bed: &Bed) -> Things {
    let store = &bed.store;
    let repo = bed.repo("git/app").await;
    let over = store.create_build(&new_build(&repo, "a")).await.unwrap();
    store.advance(over.build.number, Happening::CancelRequested { reason: "x".into() }).await.unwrap();
    let trust = Trust::new(Origin::Fork, None, Approvals::Forks);
    let waits = store.create_build(&NewBuild { trust, ..new_build(&repo, "a") }).await.unwrap();
    let cron = Cron::new("@daily", "").unwrap();
    let times = NewTimes { repo: repo.id, cron: &cron, by: "ann" };
    store.add_poll(&times, &[]).await.unwrap();
    store.make_badge_key(repo.id, false, "ann").await.unwrap();
    store.pause("ann", None).await.unwrap();
    Things {
        token: bed.token("laptop").await,
        enrolment: store.create_enrolment(&BTreeMap::new(), None, None, "ann").await.unwrap().0.id,
        worker: bed.worker("w", "").await,
        forge: store.add_forge(&forge("codes"), "ann").await.unwrap().id,
        hook: store.make_hook(repo.id).await.unwrap(),
        secret: store.put_secret(&secret("A")).await.unwrap().0.id,
        schedule: store.add_schedule(&times, None).await.unwrap().id,
        log: over.jobs[0].attempts[0].stages[0].id,
        build: waits.build,
        repo,
    }
}

/// Each change once, with the row that tells of it; the last ones take away what the others need.
async fn change_all(bed: &Bed, on: &Things) -> Vec<(&'static str, Result<(), StoreError>)> {
    let (store, repo, by) = (&bed.store, on.repo.id, "bob");
    let cron = Cron::new("@hourly", "").unwrap();
    let times = NewTimes { repo, cron: &cron, by };
    let access = ForgeAccess { kind: "token".to_owned(), secret: "canary".into() };
    let kept = NewSecret { by: by.to_owned(), ..secret("B") };
    let scope = ["git/".to_owned()];
    let none = BTreeMap::new();
    let approvals = RepoChange { approvals: Some(Approvals::All), ..Default::default() };
    let public = RepoChange { public: Some(true), ..Default::default() };
    vec![
        (
            "token_created phone: role read, only git/",
            store.create_token("phone", Role::Read, &scope, None, by).await.map(drop),
        ),
        ("token_revoked laptop", store.revoke_token(on.token, by).await),
        ("worker_token_created", store.create_enrolment(&none, None, None, by).await.map(drop)),
        ("worker_token_revoked", store.revoke_enrolment(on.enrolment, by).await),
        ("worker_drained", store.drain_worker(on.worker, true, by).await),
        ("worker_resumed", store.drain_worker(on.worker, false, by).await),
        ("worker_removed", store.bar_worker(on.worker, by).await),
        ("forge_added other: https://git.example", store.add_forge(&forge("other"), by).await.map(drop)),
        (
            "forge_changed codes: credentials",
            store
                .change_forge(on.forge, &ForgeChange { access: Some(access), ..Default::default() }, by)
                .await,
        ),
        (
            "forge_changed codes: webhook secret",
            store
                .change_forge(
                    on.forge,
                    &ForgeChange { hook_secret: Some("canary".into()), ..Default::default() },
                    by,
                )
                .await,
        ),
        ("forge_removed codes", store.remove_forge(on.forge, by).await),
        (
            "repo_added git/lib: https://example.org/git/lib.git",
            store.add_repo(&new_repo("git/lib"), by).await.map(drop),
        ),
        ("repo_changed git/app: approvals all", store.change_repo(repo, approvals, by).await),
        ("repo_changed git/app: anyone may read it", store.change_repo(repo, public, by).await),
        (
            "repo_changed git/app: its badge has a new key",
            store.make_badge_key(repo, true, by).await.map(drop),
        ),
        ("repo_changed git/app: its badge has no key any more", store.remove_badge_key(repo, by).await),
        ("repo_watched git/app", store.name_hook(&on.hook.id, "7", by).await),
        ("repo_unwatched git/app", store.remove_hook(repo, by).await),
        ("poll_removed git/app", store.remove_poll(repo, by).await),
        ("poll_added git/app: @hourly", store.add_poll(&times, &[]).await.map(drop)),
        ("schedule_added git/app: @hourly", store.add_schedule(&times, None).await.map(drop)),
        ("schedule_removed git/app", store.remove_schedule(on.schedule, by).await),
        ("paused all: an upgrade", store.pause(by, Some("an upgrade")).await.map(drop)),
        ("unpaused all", store.unpause(by).await),
        (
            "build_approved",
            store.approve(on.build.number, None, by).await.map(|done: Vec<Change>| drop(done)),
        ),
        ("log_deleted", store.remove_log(on.log, "gone", by).await),
        ("secret_kept B: env made, for git/app", store.put_secret(&kept).await.map(drop)),
        ("secret_removed A: env, for git/app", store.remove_secret(on.secret, by).await),
    ]
}

/// `action subject: detail` of each row of this actor, oldest first.
async fn rows(bed: &Bed, actor: &str) -> Vec<String> {
    let filter = AuditFilter { actor: Some(actor.to_owned()), ..AuditFilter::default() };
    let rows = bed.store.list_audit(&filter, 100).await.unwrap();
    let told = rows.iter().rev().map(|row| match row.detail.as_str() {
        "" => format!("{} {}", row.action, row.subject),
        detail => format!("{} {}: {detail}", row.action, row.subject),
    });
    told.collect()
}

async fn every_change_has_its_row(bed: Bed) {
    let on = things(&bed).await;
    let done = change_all(&bed, &on).await;
    let told = rows(&bed, "bob").await;
    assert_eq!(told.len(), done.len(), "{told:#?}");
    for ((want, result), row) in done.into_iter().zip(&told) {
        result.unwrap_or_else(|error| panic!("{want}: {error}"));
        assert!(row.starts_with(want), "`{row}` is not `{want}`");
        assert!(!row.contains("canary"), "{row}");
    }
    bed.store.advance(on.build.number, Happening::CancelRequested { reason: "x".into() }).await.unwrap();
    bed.store.remove_repo(on.repo.id, "bob").await.unwrap();
    assert_eq!(rows(&bed, "bob").await.last().unwrap(), "repo_removed git/app");
}

/// All that [`change_all`] changes, as text.
async fn picture(bed: &Bed, on: &Things) -> String {
    let store = &bed.store;
    let build = store.find_build(on.build.number).await.unwrap().unwrap();
    assert_eq!(build.status, Status::Blocked);
    let mut tokens = store.list_tokens().await.unwrap();
    tokens.iter_mut().for_each(|token| token.last_used_at = None);
    let workers: Vec<_> = store
        .list_workers()
        .await
        .unwrap()
        .into_iter()
        .map(|one| (one.id, one.name, one.drained_by))
        .collect();
    let (enrolments, forges) = (store.list_enrolments().await.unwrap(), store.list_forges().await.unwrap());
    let (repos, badge) =
        (store.list_repos().await.unwrap(), store.find_badge_key(on.repo.id).await.unwrap().is_some());
    let (hooks, polls) = (store.list_watched().await.unwrap(), store.list_polls().await.unwrap());
    let (schedules, secrets) = (store.list_schedules().await.unwrap(), store.list_secrets().await.unwrap());
    let (paused, log) = (store.paused().await.unwrap(), store.log_state(on.log).await.unwrap());
    format!(
        "{tokens:#?}{workers:#?}{enrolments:#?}{forges:#?}{repos:#?}{badge:#?}{hooks:#?}{polls:#?}{schedules:#?}\
         {secrets:#?}{paused:#?}{log:#?}"
    )
}

async fn what_cannot_be_written_down_is_not_done(bed: Bed) {
    let on = things(&bed).await;
    let before = picture(&bed, &on).await;
    bed.execute("ALTER TABLE audit RENAME TO elsewhere").await;
    for (what, result) in change_all(&bed, &on).await {
        assert!(result.is_err(), "{what} was done without a row");
    }
    assert!(bed.store.remove_repo(on.repo.id, "bob").await.is_err());
    assert_eq!(picture(&bed, &on).await, before);
}

async fn nothing_changed_nothing_written(bed: Bed) {
    let (store, repo) = (&bed.store, bed.repo("git/app").await);
    let same = RepoChange { approvals: Some(repo.approvals), public: Some(repo.public) };
    store.change_repo(repo.id, same, "bob").await.unwrap();
    store.remove_badge_key(repo.id, "bob").await.unwrap();
    store.remove_hook(repo.id, "bob").await.unwrap();
    store.unpause("bob").await.unwrap();
    store.make_badge_key(repo.id, false, "ann").await.unwrap();
    store.make_badge_key(repo.id, false, "bob").await.unwrap();
    let git = store.find_forge("git").await.unwrap().unwrap();
    store.change_forge(git.id, &ForgeChange::default(), "bob").await.unwrap();
    assert!(store.remove_poll(repo.id, "bob").await.is_err());
    assert!(store.remove_secret(4711, "bob").await.is_err());
    assert_eq!(rows(&bed, "bob").await, [""; 0]);
}
