//! Bodies that real forges sent, where a folder `shared/fixtures` lies beside this repository or above it. Without it
//! the bodies that are made by hand prove the same (`webhooks`), and this test says that it read none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ocelot_forge::Verified;
use ocelot_model::ForgeKind;
use serde_json::Value;

use crate::webhooks::class;

fn folder() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .map(|folder| folder.join("shared/fixtures"))
        .find(|folder| folder.join("MANIFEST.tsv").is_file())
}

/// The class that a body must have, by what the manifest says that it shows.
fn wanted(shows: &str, body: &Value) -> &'static str {
    let words = [
        ("UNUSUAL minimal/stub payload", "refused"),
        ("push to branch", "branch moved"),
        ("new branch (push event)", "branch created"),
        ("tag push (new tag)", "tag created"),
        ("tag delete (push event)", "tag deleted"),
        ("PR opened", "Opened"),
        ("PR synchronize", "Updated"),
        ("PR closed (merged)", "Merged"),
        ("PR closed", "Closed"),
        ("PR reopened", "Reopened"),
        ("ping", "ping"),
    ];
    if shows.starts_with("PR edited") && body.pointer("/changes/title").is_some() {
        return "TitleEdited";
    }
    words.iter().find(|(begin, _)| shows.contains(begin)).map_or("ignored", |(_, class)| class)
}

#[test]
fn every_real_body_has_its_class() {
    let Some(folder) = folder() else {
        println!("fixtures: read 0 bodies: there is no folder shared/fixtures");
        return;
    };
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let mut counts = BTreeMap::new();
    let (mut read, mut elsewhere) = (0, 0);
    for line in manifest.lines().filter(|line| line.starts_with("webhooks/")) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (file, forge, header, shows) = (columns[0], columns[1], columns[2], columns[3]);
        let Some((name, event)) = header.split_once(": ").filter(|(name, _)| name.starts_with("X-")) else {
            continue;
        };
        let kind = match (forge, name) {
            ("github", _) => ForgeKind::Github,
            ("gitlab", _) => ForgeKind::Gitlab,
            ("gitea" | "forgejo", _) => ForgeKind::Gitea,
            ("bitbucket-cloud", _) => ForgeKind::Bitbucket,
            _ => {
                elsewhere += 1;
                continue;
            }
        };
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        let got = match Verified::stored(kind, event, "1", &bytes).parse() {
            Ok(event) => class(&event),
            Err(error) => {
                println!("{file}: {error}");
                "refused".to_owned()
            }
        };
        assert_eq!(got, wanted(shows, &body), "{file}: {shows}");
        read += 1;
        *counts.entry(format!("{kind} {got}")).or_insert(0) += 1;
    }
    println!("fixtures: read {read} bodies; {elsewhere} of forges that are not spoken were left out");
    for (class, count) in counts {
        println!("  {count:3} {class}");
    }
    assert!(read > 0);
}
