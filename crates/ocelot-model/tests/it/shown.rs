//! What people read: hints, drawings, the list of what is missing, the schema.

use ocelot_model::pipeline::{NOT_SUPPORTED_YET, json_schema, parse, render};

use crate::{check, check_stage, check_top};

#[track_caller]
fn check_hint(text: &str, want: &str) {
    let problems = parse(text.as_bytes()).unwrap_err();
    let hints: Vec<&str> = problems.iter().filter_map(|problem| problem.hint.as_deref()).collect();
    assert!(hints.contains(&want), "{hints:?}\n{text}");
}

#[test]
fn hints() {
    let stage = |key: &str| format!("image: a\nstages: [{{name: a, {key}: x}}]\n");
    check_hint(&stage("scirpt"), "did you mean `script`?");
    check_hint(&stage("Script"), "did you mean `script`?");
    check_hint(&stage("commands"), "did you mean `script`?");
    check_hint(&stage("environment"), "did you mean `env`?");
    check_hint(&stage("jobs"), "it is a key of the file");
    check_hint("image: a\nsteps: []\n", "did you mean `stages`?");
    check_hint("image: a\nscript: [x]\n", "it is a key of a stage");
    check_hint("jobs:\n  linux: {depends_on: [x]}\n", "did you mean `needs`?");
    check_hint("jobs:\n  linux: {needs: [linnux]}\n", "did you mean `linux`?");
    check_hint("timeout: 60\n", "write `60m`, `1h30m` or `90s`");
    check_hint("branches: ['release/*', '*']\n", "`.*` stands for any text, as in `release/.*`");
    check_hint("always: yes\n", "write `true` or `false`, without quotes");
}

#[test]
fn a_drawing() {
    let text = "image: busybox\nstages:\n  - name: test\n    scirpt: [echo hello]\n";
    let problems = parse(text.as_bytes()).unwrap_err();
    let misspelt: Vec<_> = problems.iter().filter(|problem| problem.code == "unknown_key").cloned().collect();
    let want = "\
error[unknown_key]: `scirpt` is no key of a stage
 --> ocelot.yml:4:5
  |
4 |     scirpt: [echo hello]
  |     ^^^^^^
  |
  = help: did you mean `script`?";
    assert_eq!(render("ocelot.yml", text, &misspelt, false), want);
    assert!(render("ocelot.yml", text, &misspelt, true).contains('\u{1b}'));
}

/// The carets, counted in columns of a terminal, stand below the text in question.
#[test]
fn carets_stand_right_below_wide_text_tabs_and_carriage_returns() {
    let check = |line: &str, drawn: &str, columns: std::ops::Range<usize>| {
        for end in ["\n", "\r\n"] {
            let text = format!("image: a{end}stages: [{{name: a, script: x}}]{end}{line}{end}");
            let problems = parse(text.as_bytes()).unwrap_err();
            let shown = render("ocelot.yml", &text, &problems[..1], false);
            let lines: Vec<&str> = shown.lines().collect();
            let carets = format!("{}{}", " ".repeat(columns.start), "^".repeat(columns.len()));
            assert_eq!(lines[3..5], [format!("3 | {drawn}"), format!("  | {carets}")], "{shown}");
        }
    };
    let same = |line: &str, columns| check(line, line, columns);
    same("imag: b", 0..4);
    same("env: {A: \"日本語\", 日: x}", 19..21);
    same("env: {A: \"🚀\", CI: x}", 15..17);
    same("env: {A: e\u{301}, CI: x}", 12..14);
    check("env: {A:\tb, CI: x}", "env: {A:    b, CI: x}", 15..17);
}

#[test]
fn any_problem_can_be_drawn() {
    for text in ["", "\u{feff}imag: ä\n", "a: [", "image: \"a\n\n\n", "ä: ö\r\nü: é\r\n", &"x".repeat(10_000)]
    {
        let problems = parse(text.as_bytes()).unwrap_err();
        let drawn = render("ocelot.yml", text, &problems, false);
        let at = format!("ocelot.yml:{}:{}", problems[0].line, problems[0].column);
        assert!(drawn.contains(&at), "{drawn}");
    }
    let bytes = b"image: a\nenv: {A: \xff}\n";
    let drawn = render("ocelot.yml", &String::from_utf8_lossy(bytes), &parse(bytes).unwrap_err(), false);
    assert!(drawn.contains("ocelot.yml:2:10"), "{drawn}");
}

#[test]
fn problems_are_json() {
    let json = serde_json::to_value(parse(b"").unwrap_err()).unwrap();
    assert_eq!((&json[0]["code"], &json[0]["line"]), (&"empty".into(), &1.into()));
}

/// Each key that is refused for now, in a use that is well formed.
const LATER: &[(&str, &str)] = &[
    ("cache", "cache: [{key: a, paths: [target, ~/.cargo]}]"),
    ("clone.lfs", "clone: {lfs: true}"),
    ("clone.submodules", "clone: {submodules: true}"),
    ("matrix", "matrix: {rust: ['1.94', '1.95'], exclude: [{rust: '1.94'}], include: []}"),
    ("params", "params: {env: {type: choice, options: [a, b], default: a}}"),
    ("pull_request", "pull_request: merge"),
    ("services", "services: {db: {image: postgres:17, env: {A: b}, ready: x, ports: [5432]}}"),
    ("stages.artifacts", "artifacts: [target/release/app]"),
    ("stages.needs", "needs: [other stage]"),
    ("stages.reports", "reports: {junit: 'target/junit/*.xml'}"),
];

#[test]
fn what_is_missing_says_so() {
    let names: Vec<&str> = LATER.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, NOT_SUPPORTED_YET);
    for (name, text) in LATER {
        let file = if name.starts_with("stages.") {
            format!("image: a\nstages:\n- {{name: a, script: x, {text}}}\n")
        } else {
            format!("image: a\nstages: [{{name: a, script: x}}]\n{text}\n")
        };
        let problems = parse(file.as_bytes()).unwrap_err();
        let said: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(said, [format!("`{name}` is not supported yet")], "{text}");
    }
}

#[test]
fn what_is_missing_is_checked_all_the_same() {
    for path in ["/etc/passwd", "../x", "a/../../x", "\"\""] {
        check_stage(&format!("{{name: a, script: x, artifacts: [{path}]}}"), "not_supported@3:24 path@3:36");
        check_stage(
            &format!("{{name: a, script: x, reports: {{junit: {path}}}}}"),
            "not_supported@3:24 path@3:41",
        );
    }
    check_top("cache: [{key: a, paths: [~/.cargo, /var/cache/apt]}]", "not_supported@4:1");
    check_top("cache: [{key: a, paths: [../x]}]", "not_supported@4:1 path@4:26");
    check("image: a\nmatrix: {a: b}\nstages: [{name: a, script: x}]\n", "not_supported@2:1 type@2:13");
}

#[test]
fn the_schema_knows_every_key_of_the_contract() {
    let schema = json_schema();
    let has = |table: &str, keys: &[&str]| {
        let properties = match table {
            "file" => &schema["properties"],
            table => &schema["$defs"][table]["properties"],
        };
        for key in keys {
            assert!(properties[key]["description"].is_string(), "{table}.{key}");
        }
    };
    let job = [
        "image",
        "machineTag",
        "user",
        "pull",
        "labels",
        "priority",
        "always",
        "approval",
        "matrix",
        "timeout",
        "retry",
        "services",
        "cache",
        "resources",
        "stages",
        "env",
        "secrets",
        "allow_failure",
    ];
    has("file", &job);
    has("job", &job);
    has("job", &["needs"]);
    has(
        "file",
        &["buildTool", "packages", "branches", "clone", "jobs", "notify", "subscriptions", "concurrency"],
    );
    has("file", &["cancel_superseded", "params", "schedule", "pull_request"]);
    has(
        "stage",
        &["name", "image", "isolated", "needs", "script", "shell", "command", "workdir", "env", "secrets"],
    );
    has(
        "stage",
        &["when", "timeout", "allow_failure", "always", "artifacts", "reports", "trigger", "triggers"],
    );
    has("clone", &["depth", "submodules", "lfs", "tags"]);
    has("subscription", &["acctRepo", "acctVcsType", "alias", "branchQueueMap", "branches"]);
    has("slack", &["channel", "identifier", "on"]);
    has("webhook", &["url", "identifier", "on"]);
    has("email", &["to", "identifier", "on"]);
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["$defs"]["stage"]["required"], serde_json::json!(["name"]));
}

/// What is not built yet stands in the README, and nothing else does.
#[test]
fn the_readme_lists_what_is_not_supported_yet() {
    let readme = include_str!("../../../../README.md");
    let (_, rest) = readme.split_once("<!-- not-supported-yet: begin -->").expect("where the list begins");
    let (list, _) = rest.split_once("<!-- not-supported-yet: end -->").expect("where the list ends");
    let listed: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    assert_eq!(listed, ocelot_model::pipeline::NOT_SUPPORTED_YET);
}

#[test]
fn a_colon_in_a_script_line_is_explained() {
    let yml = "image: a\nstages:\n  - name: a\n    script:\n      - echo wanted: this\n";
    let problems = ocelot_model::pipeline::parse(yml.as_bytes()).expect_err("a map");
    assert_eq!((problems[0].line, problems[0].code), (5, "type"));
    assert_eq!(problems[0].hint.as_deref(), Some("put text with `: ` in it into quotes"));
}
