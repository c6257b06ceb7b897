//! Forges with their sealed credentials, and webhooks.

use ocelot_model::ForgeKind;
use ocelot_store::{ForgeAccess, ForgeChange, NewForge, Store, StoreError};
use secrecy::ExposeSecret as _;

use crate::bed::Bed;

both!(
    forges_keep_their_secrets_sealed,
    a_repository_has_one_webhook,
    a_server_with_another_key_does_not_start
);

fn forge(name: &str) -> NewForge {
    NewForge {
        name: name.to_owned(),
        kind: ForgeKind::Gitea,
        base_url: "https://git.example".to_owned(),
        insecure_http: false,
        ca: None,
        access: Some(ForgeAccess { kind: "token".to_owned(), secret: "canary-access".into() }),
        hook_secret: Some("canary-hook".into()),
    }
}

async fn forges_keep_their_secrets_sealed(bed: Bed) {
    let made = bed.store.add_forge(&forge("codes"), "tests").await.unwrap();
    assert_eq!((made.kind, made.access_kind.as_deref()), (ForgeKind::Gitea, Some("token")));
    let access = bed.store.load_forge_access(made.id).await.unwrap().unwrap();
    assert_eq!(access.expose_secret(), "canary-access");
    let hook_secret = bed.store.load_forge_hook_secret(made.id).await.unwrap().unwrap();
    assert_eq!(hook_secret.expose_secret(), "canary-hook");
    assert!(matches!(bed.store.add_forge(&forge("codes"), "tests").await, Err(StoreError::Conflict(_))));

    let other = ForgeAccess { kind: "token".to_owned(), secret: "canary-other".into() };
    bed.store
        .change_forge(made.id, &ForgeChange { access: Some(other), ..Default::default() }, "tests")
        .await
        .unwrap();
    let changed = bed.store.find_forge("codes").await.unwrap().unwrap();
    assert!(changed.version > made.version);
    assert_eq!(bed.store.load_forge_access(made.id).await.unwrap().unwrap().expose_secret(), "canary-other");

    let mut backup = Vec::new();
    Store::back_up(&bed.options, true, &mut backup).await.unwrap();
    let text = String::from_utf8(zstd::decode_all(&backup[..]).unwrap()).unwrap();
    assert!(text.contains("codes") && !text.contains("canary"), "{text}");

    bed.store.remove_forge(made.id, "tests").await.unwrap();
    assert!(bed.store.find_forge("codes").await.unwrap().is_none());
    let git = bed.store.find_forge("git").await.unwrap().unwrap();
    assert!(matches!(bed.store.remove_forge(git.id, "tests").await, Err(StoreError::Conflict(_))));
}

async fn a_repository_has_one_webhook(bed: Bed) {
    let repo = bed.repo("git/app").await.id;
    assert!(bed.store.find_hook_of(repo).await.unwrap().is_none());
    let (one, two) = tokio::join!(bed.store.make_hook(repo), bed.store.make_hook(repo));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((&one.id, one.secret.expose_secret()), (&two.id, two.secret.expose_secret()));
    bed.store.name_hook(&one.id, "77", "tests").await.unwrap();
    let found = bed.store.find_hook(&one.id).await.unwrap().unwrap();
    assert_eq!((found.repo, found.remote_id.as_deref()), (repo, Some("77")));
    assert_eq!(bed.store.list_hooks().await.unwrap().len(), 1);
    bed.store.remove_hook(repo, "tests").await.unwrap();
    assert!(bed.store.find_hook(&one.id).await.unwrap().is_none());
}

async fn a_server_with_another_key_does_not_start(bed: Bed) {
    bed.store.add_forge(&forge("codes"), "tests").await.unwrap();
    bed.store.close().await;
    let key = bed.options.data.join("secret-key");
    let right = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let error = Store::open(&bed.options).await.unwrap_err().to_string();
    assert!(error.contains("bring the key file"), "{error}");
    std::fs::write(&key, right).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    Store::open(&bed.options).await.unwrap();
}
