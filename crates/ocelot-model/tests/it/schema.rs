//! The JSON Schema says what the parser says. The cases are JSON, which is YAML too, so both read the same text.

use ocelot_model::pipeline::{json_schema, parse};
use regex::Regex;
use serde_json::Value;

/// Whether `value` holds against `schema`: the keywords that ours uses, and no other.
fn holds(root: &Value, schema: &Value, value: &Value) -> bool {
    let all = |list: &Value| list.as_array().unwrap().iter().all(|schema| holds(root, schema, value));
    let count =
        |list: &Value| list.as_array().unwrap().iter().filter(|schema| holds(root, schema, value)).count();
    let size = |limit: &Value| usize::try_from(limit.as_u64().unwrap()).unwrap();
    let (text, map, list) = (value.as_str(), value.as_object(), value.as_array());
    let matches = |pattern: &Value, text: &str| Regex::new(pattern.as_str().unwrap()).unwrap().is_match(text);
    schema.as_object().unwrap().iter().all(|(keyword, rule)| match keyword.as_str() {
        "$schema" | "$defs" | "title" | "description" | "then" => true,
        "$ref" => holds(root, root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
        "type" => match rule {
            Value::Array(kinds) => kinds.iter().any(|kind| is(kind, value)),
            kind => is(kind, value),
        },
        "enum" => rule.as_array().unwrap().contains(value),
        "const" => rule == value,
        "allOf" => all(rule),
        "anyOf" => count(rule) > 0,
        "oneOf" => count(rule) == 1,
        "not" => !holds(root, rule, value),
        "if" => !holds(root, rule, value) || holds(root, &schema["then"], value),
        "pattern" => text.is_none_or(|text| matches(rule, text)),
        "maxLength" => text.is_none_or(|text| text.chars().count() <= size(rule)),
        "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().unwrap()),
        "maximum" => value.as_i64().is_none_or(|number| number <= rule.as_i64().unwrap()),
        "items" => list.is_none_or(|list| list.iter().all(|item| holds(root, rule, item))),
        "minItems" => list.is_none_or(|list| list.len() >= size(rule)),
        "maxItems" => list.is_none_or(|list| list.len() <= size(rule)),
        "minProperties" => map.is_none_or(|map| map.len() >= size(rule)),
        "maxProperties" => map.is_none_or(|map| map.len() <= size(rule)),
        "required" => map.is_none_or(|map| {
            rule.as_array().unwrap().iter().all(|key| map.contains_key(key.as_str().unwrap()))
        }),
        "properties" => map.is_none_or(|map| {
            map.iter().all(|(key, value)| rule.get(key).is_none_or(|schema| holds(root, schema, value)))
        }),
        "propertyNames" => {
            map.is_none_or(|map| map.keys().all(|key| holds(root, rule, &key.as_str().into())))
        }
        "additionalProperties" => map.is_none_or(|map| {
            let others = map.iter().filter(|(key, _)| schema["properties"].get(key).is_none());
            others
                .into_iter()
                .all(|(_, value)| if rule.is_object() { holds(root, rule, value) } else { rule == true })
        }),
        other => panic!("the test knows no keyword `{other}`"),
    })
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        other => panic!("the test knows no type `{other}`"),
    }
}

/// The parser and the schema must both say this; what is only not supported yet is good for the schema.
#[track_caller]
fn check(text: &str, good: bool) {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let problems = parse(text.as_bytes()).err().map_or_else(Vec::new, |problems| problems.0);
    let bad: Vec<_> = problems.iter().filter(|problem| problem.code != "not_supported").collect();
    assert_eq!(bad.is_empty(), good, "the parser: {bad:?}\n{text}");
    let schema = json_schema();
    assert_eq!(holds(&schema, &schema, &value), good, "the schema\n{text}");
}

#[track_caller]
fn top(rest: &str, good: bool) {
    check(&format!(r#"{{"image": "a", "stages": [{{"name": "a", "script": "x"}}], {rest}}}"#), good);
}

#[track_caller]
fn stage(stage: &str, good: bool) {
    check(&format!(r#"{{"image": "a", "stages": [{stage}]}}"#), good);
}

#[test]
fn both_know_what_stands_together() {
    let stages = r#""stages": [{"name": "a", "script": "x"}]"#;
    let file = |rest: &str, good| check(&format!("{{{rest}}}"), good);
    file(&format!(r#""image": "a", {stages}"#), true);
    file(&format!(r#""machineTag": "a", {stages}"#), true);
    file(&format!(r#""labels": {{"executor": "host"}}, {stages}"#), true);
    file(&format!(r#""jobs": {{"a": {{"image": "b", {stages}}}}}"#), true);
    file(&format!(r#""image": "b", "jobs": {{"a": {{{stages}}}}}"#), true);
    file(&format!(r#""image": "a", "jobs": {{"a": {{"machineTag": "b", {stages}}}}}"#), true);
    file(r#""image": "a""#, false);
    file(r#""image": "a", "stages": []"#, false);
    file(stages, false);
    file(&format!(r#""labels": {{"executor": "docker"}}, {stages}"#), false);
    file(&format!(r#""image": "a", "machineTag": "b", {stages}"#), false);
    file(&format!(r#""image": "a", "jobs": {{"a": {{{stages}}}}}, {stages}"#), false);
    file(r#""image": "a", "jobs": {}"#, false);
    file(r#""image": "a", "jobs": {"a": {}}"#, false);
    file(&format!(r#""jobs": {{"a": {{"image": "b", "machineTag": "c", {stages}}}}}"#), false);
}

#[test]
fn both_know_stages() {
    for good in [
        r#"{"name": "a b", "script": ["x", ""]}"#,
        r#"{"name": "a", "command": ["x", ""]}"#,
        r#"{"name": 7, "script": 1, "workdir": 2024, "env": {"A": 3.10, "B": true, "C": ""}}"#,
        r#"{"name": "a", "script": "x", "shell": "bash -eu", "allow_failure": [1, 255], "timeout": "1h30m"}"#,
        r#"{"name": "a", "script": "x", "triggers": ["\\branch a", "(not \\text b)"], "when": "branch == \"a\""}"#,
        r#"{"name": "a", "script": "x", "when": true}"#,
        r#"{"name": "a", "script": "x", "trigger": {"branches": "main"}, "image": "h.example:5000/a/b:1.0"}"#,
    ] {
        stage(good, true);
    }
    for bad in [
        r#"{"name": "a"}"#,
        r#"{"script": "x"}"#,
        r#"{"name": "a", "script": []}"#,
        r#"{"name": "a", "script": " "}"#,
        r#"{"name": "a", "command": []}"#,
        r#"{"name": "a", "script": "x", "command": ["y"]}"#,
        r#"{"name": "a", "command": ["y"], "shell": "bash"}"#,
        r#"{"name": "a", "script": "x", "when": " "}"#,
        r#"{"name": "a", "script": "x", "triggers": ["branch a"]}"#,
        r#"{"name": "a", "script": "x", "triggers": "\\branch a"}"#,
        r#"{"name": "Setup", "script": "x"}"#,
        r#"{"name": " a", "script": "x"}"#,
        r#"{"name": "", "script": "x"}"#,
        r#"{"name": "a", "scirpt": "x"}"#,
        r#"{"name": "a", "script": {"b": "c"}}"#,
        r#"{"name": "a", "script": "x", "workdir": "/etc"}"#,
        r#"{"name": "a", "script": "x", "workdir": "a/../b"}"#,
        r#"{"name": "a", "script": "x", "artifacts": ["/etc/passwd"]}"#,
        r#"{"name": "a", "script": "x", "reports": {"junit": "../x"}}"#,
        r#"{"name": "a", "script": "x", "timeout": ""}"#,
        r#"{"name": "a", "script": "x", "timeout": 60}"#,
        r#"{"name": "a", "script": "x", "timeout": "1m1h"}"#,
        r#"{"name": "a", "script": "x", "allow_failure": [0]}"#,
        r#"{"name": "a", "script": "x", "env": {"CI": "x"}}"#,
        r#"{"name": "a", "script": "x", "env": ["OCELOT_X=y"]}"#,
        r#"{"name": "a", "script": "x", "env": {"A": null}}"#,
        r#"{"name": "a", "script": "x", "image": "--privileged"}"#,
        r#"{"name": "a", "script": "x", "image": "a@sha256:abc"}"#,
    ] {
        stage(bad, false);
    }
}

#[test]
fn both_know_the_keys_of_the_top() {
    for good in [
        r#""user": 1000"#,
        r#""user": "0:0""#,
        r#""env": {"CIX": "x", "GIT_HASHES": 1}"#,
        r#""env": ["A=", "CI_X=y"]"#,
        r#""labels": {"arch": "amd64", "disk": 1}"#,
        r#""resources": {"cpu": 0.5, "memory": "4 GiB"}"#,
        r#""clone": {"depth": 0, "tags": false}"#,
        r#""pull": "always", "priority": -3, "always": true, "retry": {"script": 1}"#,
        r#""matrix": {"rust": ["1.94", "1.95"], "exclude": [], "include": []}"#,
        r#""services": {"db": {"image": "postgres:17", "ports": [5432]}}"#,
        r##""notify": {"slack": {"channel": "#a", "identifier": "b-c", "on": ["PASS", "fixed"]}}"##,
        r#""notify": {"webhook": [{"url": "https://h/x", "identifier": "b"}], "email": {"to": ["a@b"], "identifier": "c"}}"#,
        r#""cache": [{"key": "a", "paths": ["target", "~/.cargo"]}], "secrets": ["NPM_TOKEN"]"#,
        r#""params": {"env": {"type": "choice", "options": ["a", "b"], "default": "a"}}"#,
        r#""schedule": [{"cron": "0 3 * * *", "branch": "main"}], "branches": "ALL""#,
        r#""subscriptions": [{"acctRepo": "a/b", "acctVcsType": "git", "alias": "b2", "branchQueueMap": ["m:m"]}]"#,
        r#""subscriptions": [{"acctRepo": "b", "alias": "b", "branches": {"m": "m/n", "é": 1.0}}]"#,
    ] {
        top(good, true);
    }
    for bad in [
        r#""user": "root""#,
        r#""cache": [{"key": "a", "paths": ["../x"]}]"#,
        r#""env": {"1A": "x"}"#,
        r#""env": {"LD_PRELOAD": "x"}"#,
        r#""env": ["A"]"#,
        r#""env": "A=b""#,
        r#""labels": {"a b": "c"}"#,
        r#""resources": {"memory": 4}"#,
        r#""priority": 1001"#,
        r#""always": "true""#,
        r#""pull": "sometimes""#,
        r#""volumes": []"#,
        r#""branches": [""]"#,
        r#""packages": [" "]"#,
        r#""services": {"db": {}}"#,
        r#""secrets": ["A-B"]"#,
        r#""concurrency": {"limit": 1}"#,
        r#""subscriptions": [{"acctRepo": "a/b", "alias": "b"}]"#,
        r#""subscriptions": [{"acctRepo": "a/b", "alias": "b", "branches": {}}]"#,
        r#""subscriptions": [{"acctRepo": "a/b", "alias": "b", "branches": []}]"#,
        r#""subscriptions": [{"acctRepo": "a/b", "alias": "b", "branches": ["m"]}]"#,
        r#""subscriptions": [{"acctRepo": "a/b", "alias": "b", "branches": ["m : m"]}]"#,
        r#""subscriptions": [{"acctRepo": "a/b", "alias": "b", "branches": {"m/*": "m"}}]"#,
        r#""subscriptions": [{"acctRepo": "a/b", "alias": "b", "branches": {"m": "[m]"}}]"#,
        r#""schedule": [{"cron": "@daily", "branch": "m*"}]"#,
        r#""subscriptions": [{"acctRepo": "a/b", "alias": "b", "branches": ["m:m"], "branchQueueMap": ["m:m"]}]"#,
        r#""subscriptions": [{"acctRepo": "a/b", "alias": "ocelot_x", "branches": ["m:m"]}]"#,
        r#""subscriptions": [{"acctRepo": "a/b", "alias": "a-b", "branches": ["m:m"]}]"#,
        r#""subscriptions": [{"acctRepo": "a//b", "alias": "b", "branches": ["m:m"]}]"#,
        r##""notify": {"slack": {"channel": "#a"}}"##,
        r#""notify": {"slack": {"identifier": "a b"}}"#,
        r#""notify": {"webhook": {"identifier": "b", "url": "ftp://x"}}"#,
        r#""notify": {"email": {"identifier": "b", "to": "me"}}"#,
        r#""notify": {"email": {"identifier": "b", "on": ["sometimes"]}}"#,
    ] {
        top(bad, false);
    }
}
