//! `subscriptions`: both spellings, and aliases that overwrite nothing.

use ocelot_model::pipeline::{Subscription, variable_names};

use crate::{check, check_top, load};

/// What the block means, on one line for each subscription.
#[track_caller]
fn means(block: &str, want: &[&str]) {
    let pipeline = load(&format!("image: a\nstages: [{{name: a, script: x}}]\nsubscriptions: {block}\n"));
    let line = |one: &Subscription| {
        let branches: Vec<String> =
            one.branches.iter().map(|(there, here)| format!("{there}:{here}")).collect();
        let forge = one.forge.as_deref().unwrap_or("-");
        format!("{forge} {} {} {}", one.acct_repo, one.alias, branches.join(","))
    };
    assert_eq!(pipeline.subscriptions.iter().map(line).collect::<Vec<_>>(), want, "{block}");
}

#[test]
fn both_spellings_of_the_map() {
    // As the original's flow has it.
    means(
        "\n- acctRepo: level11consulting/pogo\n  alias: pogo\n  branchQueueMap: [master:master, develop:develop]",
        &["- level11consulting/pogo pogo develop:develop,master:master"],
    );
    means("[{acctRepo: a/b, acctVcsType: bitbucket, alias: b, branches: ['x:y']}]", &["bitbucket a/b b x:y"]);
    means("[{acctRepo: a/b, alias: b, branches: {x: y, '1.0': 1.0}}]", &["- a/b b 1.0:1.0,x:y"]);
    means("[{acctRepo: a/b, alias: b, branchQueueMap: {feature/x: main}}]", &["- a/b b feature/x:main"]);
    means(
        "[{acctRepo: b, acctVcsType: git, alias: b_2, branches: [m:m]}, {acctRepo: g/s/b, acctVcsType: gitlab, alias: c, branches: [m:m, d:m]}]",
        &["git b b_2 m:m", "gitlab g/s/b c d:m,m:m"],
    );
    means("[]", &[]);
}

#[test]
fn what_is_no_subscription() {
    check_top("subscriptions: [{alias: a, branches: {a: b}}]", "missing_key@4:18");
    check_top("subscriptions: [{acctRepo: a/b, branches: {a: b}}]", "missing_key@4:18");
    check_top("subscriptions: [{acctRepo: a/b, alias: a}]", "missing_key@4:18");
    check_top("subscriptions: [{acctRepo: a/b, alias: a, branches: {}}]", "empty_value@4:53");
    check_top("subscriptions: [{acctRepo: a/b, alias: a, branches: []}]", "empty_value@4:53");
    check_top("subscriptions: [{acctRepo: a/b, alias: a, branches: [m]}]", "type@4:54");
    check_top("subscriptions: [{acctRepo: a/b, alias: a, branches: ['m:m:m']}]", "type@4:54");
    check_top("subscriptions: [{acctRepo: a/b, alias: a, branches: [m:m, m:n]}]", "duplicate_key@4:59");
    check_top("subscriptions: [{acctRepo: a/b, alias: a, branches: {m: m, m: n}}]", "duplicate_key@4:60");
    check_top(
        "subscriptions: [{acctRepo: a/b, alias: a, branches: [m:m], branchQueueMap: [m:m]}]",
        "conflict@4:18",
    );
    let map = |map: &str, want: &str| {
        check_top(&format!("subscriptions: [{{acctRepo: a/b, alias: a, branches: {map}}}]"), want);
    };
    // What git would call no branch never passes.
    for name in [
        "*",
        "feature/*",
        "a b",
        " m",
        "a..b",
        "a~1",
        "a\\b",
        "a/",
        "a.lock",
        ".a",
        "refs/heads/m",
        "@",
        "a@{1}",
    ] {
        map(&format!("{{'{name}': m}}"), "branch_name@4:54");
        map(&format!("{{m: '{name}'}}"), "branch_name@4:57");
    }
    map("['m : m']", "branch_name@4:54");
    map("[m:refs/heads/m]", "branch_name@4:54");
    map("[m: m]", "type@4:54");
    for name in ["feature/x", "-x", "--upload-pack=x", "$(id)", "<script>", "é", "a.b", "@a", "1.0"] {
        map(&format!("{{'{name}': '{name}'}}"), "");
    }
    for repo in ["''", "a//b", "../b", "a b/c", "-x/y", "https://example.org/a/b"] {
        check_top(&format!("subscriptions: [{{acctRepo: {repo}, alias: a, branches: [m:m]}}]"), "repo@4:28");
    }
    check_top("subscriptions: [{acctRepo: a/b, acctVcsType: a/b, alias: a, branches: [m:m]}]", "forge@4:46");
    check_top("subscriptions: {acctRepo: a/b}", "type@4:17");
}

#[test]
fn an_alias_begins_variables_and_overwrites_none() {
    let alias = |alias: &str, want: &str| {
        check_top(&format!("subscriptions: [{{acctRepo: a/b, alias: {alias}, branches: [m:m]}}]"), want);
    };
    for good in ["pogo", "POGO", "_", "po_go2", "ocelots", "git", "ci", &"x".repeat(100)] {
        alias(good, "");
    }
    for bad in ["a-b", "2a", "''", "a.b", "ä", "a b", &"x".repeat(101)] {
        alias(bad, "alias@4:40");
    }
    for ours in ["ocelot", "OCELOT", "Ocelot_x"] {
        alias(ours, "reserved_env@4:40");
    }
    let two = |one: &str, other: &str| {
        format!(
            "subscriptions: [{{acctRepo: a/b, alias: {one}, branches: [m:m]}}, {{acctRepo: a/c, alias: {other}, branches: [m:m]}}]"
        )
    };
    check_top(&two("a", "b"), "");
    check_top(&two("a", "a"), "duplicate_alias@4:84");
    check_top(&two("a", "A"), "duplicate_alias@4:84");
    let set = |by: &str, want: &str| {
        let block = "subscriptions: [{acctRepo: a/b, alias: pogo, branches: [m:m]}]";
        check(&format!("image: a\n{block}\n{by}\n"), want);
    };
    let stages = "stages: [{name: a, script: x}]";
    set(&format!("{stages}\nenv: [POGO_GIT_HASH=x]"), "reserved_env@2:40");
    set(&format!("{stages}\nenv: {{POGO_BUILD_ID: x}}"), "reserved_env@2:40");
    set("stages: [{name: a, script: x, env: {POGO_GIT_BRANCH: x}}]", "reserved_env@2:40");
    set("stages: [{name: a, script: x, secrets: [POGO_GIT_HASH_SHORT]}]", "reserved_env@2:40");
    set(&format!("{stages}\nsecrets: [POGO_GIT_HASH]"), "reserved_env@2:40");
    set(&format!("{stages}\nenv: {{POGO_GIT: x, pogo_git_hash: y}}"), "");
}

#[test]
fn names_of_variables() {
    let want = ["POGO_GIT_HASH", "POGO_GIT_HASH_SHORT", "POGO_GIT_BRANCH", "POGO_BUILD_ID"];
    assert_eq!(variable_names("pogo"), want);
}
