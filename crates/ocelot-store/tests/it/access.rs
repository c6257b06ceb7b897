//! Tokens, sessions, sign-in links: only hashes are kept.

use std::time::Duration;

use ocelot_model::access::Role;
use ocelot_store::StoreError;

use crate::bed::{Bed, LONG};

both!(
    tokens,
    the_last_admin_stays,
    two_admins_who_revoke_each_other,
    sessions,
    links,
    no_secret_is_in_the_files
);

async fn tokens(bed: Bed) {
    let scope = ["git/app".to_owned()];
    let (made, secret) = bed.store.create_token("ci", Role::Write, &scope, None, "tests").await.unwrap();
    assert_eq!((secret.len(), &secret[..4]), (47, "ocl_"));
    assert_eq!((made.role, made.repos.as_slice(), made.last_used_at), (Role::Write, scope.as_slice(), None));
    let again = bed.store.create_token("ci", Role::Read, &[], None, "tests").await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));
    assert_eq!(bed.store.find_token(&secret).await.unwrap(), Some(made.clone()));
    let used = bed.store.find_token(&secret).await.unwrap().unwrap().last_used_at;
    assert!(used.is_some());
    assert_eq!(bed.store.find_token(&secret).await.unwrap().unwrap().last_used_at, used);
    assert_eq!(bed.store.find_token("ocl_wrong").await.unwrap(), None);
    let (_, short) =
        bed.store.create_token("b", Role::Read, &[], Some(Duration::ZERO), "tests").await.unwrap();
    assert_eq!(bed.store.find_token(&short).await.unwrap(), None);
    let names: Vec<String> =
        bed.store.list_tokens().await.unwrap().into_iter().map(|token| token.name).collect();
    assert_eq!(names, ["b", "ci"]);
    bed.store.revoke_token(made.id, "tests").await.unwrap();
    assert!(matches!(bed.store.revoke_token(made.id, "tests").await, Err(StoreError::NotFound(_))));
    assert_eq!(bed.store.find_token(&secret).await.unwrap(), None);
    // The name is free again, under another id.
    assert_ne!(bed.store.create_token("ci", Role::Read, &[], None, "tests").await.unwrap().0.id, made.id);
}

async fn the_last_admin_stays(bed: Bed) {
    let scope = ["git/app".to_owned()];
    let make = |name: &'static str, role, repos: &[String], life| {
        let (store, repos) = (bed.store.clone(), repos.to_vec());
        async move { store.create_token(name, role, &repos, life, "tests").await.unwrap().0.id }
    };
    let ann = make("ann", Role::Admin, &[], None).await;
    let over = make("over", Role::Admin, &[], Some(Duration::ZERO)).await;
    let limited = make("limited", Role::Admin, &scope, None).await;
    let write = make("write", Role::Write, &[], None).await;
    let last = bed.store.revoke_token(ann, "tests").await;
    assert!(matches!(&last, Err(StoreError::Conflict(why)) if why.contains("last")), "{last:?}");
    for other in [over, limited, write] {
        bed.store.revoke_token(other, "tests").await.unwrap();
    }
    let bob = make("bob", Role::Admin, &[], None).await;
    bed.store.revoke_token(ann, "tests").await.unwrap();
    assert!(matches!(bed.store.revoke_token(bob, "tests").await, Err(StoreError::Conflict(_))));
}

async fn two_admins_who_revoke_each_other(bed: Bed) {
    let (ann, _) = bed.store.create_token("ann", Role::Admin, &[], None, "tests").await.unwrap();
    let (bob, _) = bed.store.create_token("bob", Role::Admin, &[], None, "tests").await.unwrap();
    let (one, two) =
        tokio::join!(bed.store.revoke_token(ann.id, "tests"), bed.store.revoke_token(bob.id, "tests"));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert_eq!(bed.store.list_tokens().await.unwrap().len(), 1);
}

async fn sessions(bed: Bed) {
    let (token, _) = bed.store.create_token("ann", Role::Write, &[], None, "tests").await.unwrap();
    let one = bed.store.create_session(token.id, LONG).await.unwrap();
    let two = bed.store.create_session(token.id, LONG).await.unwrap();
    assert_eq!(bed.store.find_session(&one).await.unwrap().unwrap().id, token.id);
    bed.store.end_session(&one).await.unwrap();
    assert_eq!(bed.store.find_session(&one).await.unwrap(), None);
    let over = bed.store.create_session(token.id, Duration::ZERO).await.unwrap();
    assert_eq!(bed.store.find_session(&over).await.unwrap(), None);
    assert!(bed.store.find_session(&two).await.unwrap().is_some());
    bed.store.revoke_token(token.id, "tests").await.unwrap();
    assert_eq!(bed.store.find_session(&two).await.unwrap(), None);
    let none = bed.store.create_session(token.id, LONG).await;
    assert!(matches!(none, Err(StoreError::NotFound(_))));
}

async fn links(bed: Bed) {
    let (token, _) = bed.store.create_token("ann", Role::Admin, &[], None, "tests").await.unwrap();
    let link = bed.store.create_sign_in_link(token.id, LONG).await.unwrap();
    let (one, two) = tokio::join!(bed.store.redeem_sign_in_link(&link), bed.store.redeem_sign_in_link(&link));
    let ids: Vec<_> = [one.unwrap(), two.unwrap()].into_iter().flatten().map(|found| found.id).collect();
    assert_eq!(ids, [token.id]);
    assert_eq!(bed.store.redeem_sign_in_link(&link).await.unwrap(), None);
    let over = bed.store.create_sign_in_link(token.id, Duration::ZERO).await.unwrap();
    assert_eq!(bed.store.redeem_sign_in_link(&over).await.unwrap(), None);
}

async fn no_secret_is_in_the_files(bed: Bed) {
    let (token, secret) = bed.store.create_token("ann", Role::Admin, &[], None, "tests").await.unwrap();
    let session = bed.store.create_session(token.id, LONG).await.unwrap();
    let link = bed.store.create_sign_in_link(token.id, LONG).await.unwrap();
    let needles = [secret, session, link];
    if bed.is_shared() {
        search_tables(&bed.options.database_url, &needles).await;
        return;
    }
    bed.store.close().await;
    let mut searched = 0;
    for file in ["ocelot.db", "ocelot.db-wal", "data/logs.db"] {
        let Ok(bytes) = std::fs::read(bed.folder.path().join(file)) else { continue };
        searched += bytes.len();
        for needle in &needles {
            assert!(!bytes.windows(needle.len()).any(|at| at == needle.as_bytes()), "{file}");
        }
    }
    assert!(searched > 10_000);
}

/// The files of PostgreSQL are not ours to read: its tables as text tell the same.
async fn search_tables(url: &str, needles: &[String]) {
    let mut conn = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap();
    let names = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
    let tables: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut conn).await.unwrap();
    assert!(tables.len() > 10);
    for table in tables {
        let sql = sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
        let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut conn).await.unwrap();
        assert!(!rows.iter().any(|row| needles.iter().any(|needle| row.contains(needle))), "{table}");
    }
}
