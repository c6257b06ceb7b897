//! Secrets: sealed at rest, the nearest scope wins.

use std::collections::BTreeMap;

use ocelot_model::AuditAction;
use ocelot_model::secret::{Kind, Limits};
use ocelot_store::{AuditFilter, NewSecret, Repo, Store, StoreError};
use secrecy::ExposeSecret as _;

use crate::bed::Bed;

both!(
    the_nearest_scope_wins,
    a_value_is_nowhere_in_clear,
    a_value_opens_in_its_own_row_only,
    everything_gets_another_key,
    a_lost_key
);

fn new(scope: &str, name: &str, value: &str) -> NewSecret {
    NewSecret {
        scope: scope.parse().unwrap(),
        name: name.to_owned(),
        kind: Kind::Env,
        fields: BTreeMap::new(),
        limits: Limits::default(),
        value: value.as_bytes().to_vec().into(),
        by: "ada".to_owned(),
        by_admin: true,
    }
}

/// `NAME=value` of all that a repository may have.
async fn seen(store: &Store, repo: &Repo) -> Vec<String> {
    let reach = store.secrets_in_reach(repo.id, &repo.name).await.unwrap();
    let ids: Vec<i64> = reach.iter().map(|secret| secret.id).collect();
    let values: BTreeMap<i64, String> = store
        .open_secrets(&ids)
        .await
        .unwrap()
        .into_iter()
        .map(|(id, value)| (id, String::from_utf8(value.expose_secret().to_vec()).unwrap()))
        .collect();
    reach.iter().map(|secret| format!("{}={}", secret.name, values[&secret.id])).collect()
}

async fn the_nearest_scope_wins(bed: Bed) {
    let app = bed.repo("git/acme/app").await;
    let other = bed.repo("git/acme/other").await;
    let far = bed.repo("git/acme2/app").await;
    for (scope, name, value) in [
        ("", "ALL", "all"),
        ("", "TOKEN", "of all"),
        ("git/acme/", "TOKEN", "of acme"),
        ("git/", "TOKEN", "of git"),
        ("git/acme/app", "TOKEN", "of app"),
    ] {
        assert!(bed.store.put_secret(&new(scope, name, value)).await.unwrap().1);
    }
    assert_eq!(seen(&bed.store, &app).await, ["ALL=all", "TOKEN=of app"]);
    assert_eq!(seen(&bed.store, &other).await, ["ALL=all", "TOKEN=of acme"]);
    assert_eq!(seen(&bed.store, &far).await, ["ALL=all", "TOKEN=of git"]);
    let (changed, made) = bed.store.put_secret(&new("git/acme/app", "TOKEN", "new")).await.unwrap();
    assert!(!made);
    assert_eq!((changed.scope.to_string(), changed.changed_by.as_str()), ("git/acme/app".into(), "ada"));
    assert_eq!(seen(&bed.store, &app).await, ["ALL=all", "TOKEN=new"]);
    let nowhere = bed.store.put_secret(&new("git/none", "TOKEN", "text")).await;
    assert!(matches!(nowhere, Err(StoreError::NotFound(_))), "{nowhere:?}");
    bed.store.remove_secret(changed.id, "tests").await.unwrap();
    assert!(matches!(bed.store.remove_secret(changed.id, "tests").await, Err(StoreError::NotFound(_))));
    assert_eq!(seen(&bed.store, &app).await, ["ALL=all", "TOKEN=of acme"]);
    // What belongs to a repository goes with it, and is not there for another one of its name.
    bed.store.put_secret(&new("git/acme/app", "TOKEN", "old")).await.unwrap();
    bed.store.remove_repo(app.id, "tests").await.unwrap();
    let again = bed.repo("git/acme/app").await;
    assert_eq!(seen(&bed.store, &again).await, ["ALL=all", "TOKEN=of acme"]);
}

async fn a_value_is_nowhere_in_clear(bed: Bed) {
    bed.store.put_secret(&new("", "TOKEN", "canary-value")).await.unwrap();
    let mut backup = Vec::new();
    Store::back_up(&bed.options, true, &mut backup).await.unwrap();
    let text = String::from_utf8(zstd::decode_all(&backup[..]).unwrap()).unwrap();
    assert!(text.contains("TOKEN") && !text.contains("canary"), "{text}");
    assert!(!format!("{:?}", new("", "A", "canary")).contains("canary"));
}

async fn a_value_opens_in_its_own_row_only(bed: Bed) {
    let app = bed.repo("git/app").await;
    bed.store.put_secret(&new("git/app", "A", "value of a")).await.unwrap();
    bed.store.put_secret(&new("", "B", "value of b")).await.unwrap();
    // Somebody who can write to the database gives a repository what is another's.
    bed.execute("UPDATE secrets SET repo_id = NULL, prefix = 'git/' WHERE name = 'A'").await;
    let reach = bed.store.secrets_in_reach(app.id, &app.name).await.unwrap();
    let moved = reach.iter().find(|secret| secret.name == "A").unwrap();
    assert!(matches!(bed.store.open_secrets(&[moved.id]).await, Err(StoreError::Corrupt(_))));
}

fn key_file(bed: &Bed) -> std::path::PathBuf {
    bed.options.data.join("secret-key")
}

async fn everything_gets_another_key(bed: Bed) {
    let none = Store::rotate_key(&bed.options, "tests").await.unwrap_err().to_string();
    assert!(none.contains("nothing is sealed yet"), "{none}");
    let app = bed.repo("git/app").await;
    bed.store.put_secret(&new("git/app", "A", "value of a")).await.unwrap();
    bed.store.put_secret(&new("", "B", "value of b")).await.unwrap();
    bed.store.put_secret(&new("git/", "C", "value of c")).await.unwrap();
    let hook = bed.store.make_hook(app.id).await.unwrap();
    let badge = bed.store.make_badge_key(app.id, false, "tests").await.unwrap();
    let old = std::fs::read_to_string(key_file(&bed)).unwrap();

    assert_eq!(Store::rotate_key(&bed.options, "tests").await.unwrap(), 5);
    let new_key = std::fs::read_to_string(key_file(&bed)).unwrap();
    assert!(new_key != old && new_key.lines().count() == 1, "{new_key}");
    // A server that was there before goes on, and one that starts now finds all.
    let all = ["A=value of a", "B=value of b", "C=value of c"];
    for store in [&bed.store, &bed.second().await] {
        assert_eq!(seen(store, &app).await, all);
        let found = store.find_hook(&hook.id).await.unwrap().unwrap();
        assert_eq!(found.secret.expose_secret(), hook.secret.expose_secret());
        let found = store.find_badge_key(app.id).await.unwrap().unwrap();
        assert_eq!(found.expose_secret(), badge.expose_secret());
    }
    // One that was stopped after it had made the new key goes on with that one.
    let third = "012345678901234567890123456789012345678901A";
    std::fs::write(key_file(&bed), format!("{third}\n{new_key}")).unwrap();
    bed.store.put_secret(&new("", "B", "value of b")).await.unwrap();
    assert_eq!(seen(&bed.store, &app).await, all);
    assert_eq!(Store::rotate_key(&bed.options, "tests").await.unwrap(), 4);
    assert_eq!(std::fs::read_to_string(key_file(&bed)).unwrap(), format!("{third}\n"));
    assert_eq!(seen(&bed.second().await, &app).await, all);
    assert_eq!(told(&bed.store, AuditAction::KeyRotated).await, 2);
}

async fn told(store: &Store, action: AuditAction) -> usize {
    let filter = AuditFilter { action: Some(action), ..AuditFilter::default() };
    store.list_audit(&filter, 100).await.unwrap().len()
}

async fn a_lost_key(bed: Bed) {
    let app = bed.repo("git/app").await;
    for scope in ["", "git/", "git/app"] {
        bed.store.put_secret(&new(scope, "A", "value of a")).await.unwrap();
    }
    bed.store.make_hook(app.id).await.unwrap();
    std::fs::remove_file(key_file(&bed)).unwrap();
    assert!(Store::open(&bed.options).await.is_err());
    let mut lost = Store::forget_sealed(&bed.options, "tests").await.unwrap();
    lost.sort();
    let want = [
        "env secret A of all repositories",
        "env secret A of git/",
        "env secret A of git/app",
        "webhook of git/app",
    ];
    assert_eq!(lost, want);
    // A server that ran meanwhile remembers the lost key, and no other ever will.
    bed.store.put_secret(&new("git/app", "B", "value of b")).await.unwrap();
    let store = Store::open(&bed.options).await.unwrap();
    assert_eq!(seen(&store, &app).await, ["B=value of b"]);
    store.remove_secret(store.list_secrets().await.unwrap()[0].id, "tests").await.unwrap();
    assert_eq!(told(&store, AuditAction::KeyReset).await, 1);
    assert!(store.list_secrets().await.unwrap().is_empty());
    assert!(store.put_secret(&new("", "A", "another value")).await.unwrap().1);
}
