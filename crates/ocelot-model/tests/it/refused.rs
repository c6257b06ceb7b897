//! Good YAML that means nothing good: every problem at its place, with its code.

use crate::{check, check_stage, check_top};

#[test]
fn types() {
    check("image: [a]\nstages:\n- {name: a, script: x}\n", "type@1:9");
    check("image: a\nstages: text\n", "type@2:9");
    check_top("env: text", "type@4:6");
    check_top("clone: [a]", "type@4:9");
    check_top("always: yes", "type@4:9");
    check_top("always: \"true\"", "type@4:9");
    check_top("priority: high", "type@4:11");
    check_top("priority: 1001", "range@4:11");
    check_top("clone: {depth: -1}", "range@4:16");
    check_top("pull: sometimes", "choice@4:7");
    check_top("env: {N: ~}", "null_value@4:10");
    check_top("env:\n  N:\n", "null_value@5:3");
    check_top("timeout:", "null_value@4:1");
    check_stage("{name: a, script: [x, ~]}", "null_value@3:25");
    check_stage("{name: a, script: {b: c}}", "type@3:22");
    check_stage("{name: a, script: x, allow_failure: [0]}", "range@3:40");
    check_stage("{name: a, script: x, allow_failure: maybe}", "type@3:39");
}

#[test]
fn times_and_amounts() {
    check_top("timeout: -5", "range@4:10");
    check_top("timeout: 0", "range@4:10");
    check_top("timeout: 99999999999999999999", "range@4:10");
    check_top("timeout: 60", "type@4:10");
    check_top("timeout: 8d", "range@4:10");
    check_top("timeout: soon", "type@4:10");
    for odd in ["1e3", "0x10", ".inf", "1_000s", "1.5h", "-1s", "\"\"", "[1m]"] {
        check_top(&format!("timeout: {odd}"), if odd == "[1m]" { "type@4:11" } else { "type@4:10" });
    }
    check_top("retry: {script: 1.0}", "type@4:17");
    check_top("retry: {script: 11}", "range@4:17");
    check_top("retry: {script: \"1\"}", "type@4:17");
    check_top("resources: {cpu: 0, memory: 4}", "range@4:18 type@4:29");
    check_top("user: root", "user@4:7");
    check_top("concurrency: {limit: 2}", "missing_key@4:15");
    check_top("concurrency: {group: a, limit: 0}", "range@4:32");
    check_top("concurrency: {group: \" \"}", "group_name@4:22");
    check_top("concurrency: {group: \"${{ matrix.rust }}\"}", "group_name@4:22");
}

#[test]
fn keys() {
    check_top("stage: []", "unknown_key@4:1");
    check_top("jobs: {}\n", "conflict@2:1 missing_key@4:1");
    check_stage("{name: a, scirpt: [x]}", "unknown_key@3:13");
    for key in ["privileged: true", "volumes: ['/var/run/docker.sock:/s']", "network_mode: host", "pid: host"]
    {
        check_top(key, "not_allowed@4:1");
        check_stage(&format!("{{name: a, script: x, {key}}}"), "not_allowed@3:24");
    }
    for key in ["ipc", "devices", "cap_add", "security_opt"] {
        check(
            &format!("jobs:\n  a:\n    image: b\n    {key}: c\n    stages: [{{name: a, script: x}}]\n"),
            "not_allowed@4:5",
        );
    }
}

#[test]
fn images() {
    let image =
        |image: &str, want: &str| check(&format!("image: {image}\nstages: [{{name: a, script: x}}]\n"), want);
    image("--privileged", "image_ref@1:8");
    image("a b;id", "image_ref@1:8");
    image(&format!("busybox@sha256:{}", "a".repeat(63)), "image_ref@1:8");
    check("stages: [{name: a, script: x}]\n", "missing_image@1:1");
    check("image: a\nmachineTag: b\nstages: [{name: a, script: x}]\n", "conflict@2:1");
    check("image: a\nlabels: {executor: host}\nstages: [{name: a, script: x}]\n", "conflict@2:1");
    check("machineTag: a\nlabels: {executor: docker}\nstages: [{name: a, script: x}]\n", "conflict@1:1");
    check("machineTag: a\nstages: [{name: a, script: x, image: b}]\n", "conflict@2:31");
    check("jobs:\n  a: {stages: [{name: a, script: x}]}\n", "missing_image@2:3");
}

#[test]
fn variables() {
    for name in
        ["LD_PRELOAD", "BASH_ENV", "ENV", "CI", "OCELOT_JOB", "BUILD_ID", "WORKSPACE", "GIT_HASH_SHORT"]
    {
        check_top(&format!("env: {{{name}: x}}"), "reserved_env@4:7");
        check_top(&format!("env: [{name}=x]"), "reserved_env@4:7");
    }
    check_top("env: {\"A=B\": x}", "env_name@4:7");
    check_top("env: {\"\": x}", "env_name@4:7");
    check_top("env: {-x: x}", "env_name@4:7");
    check_top("env: [nothing]", "env_name@4:7");
    check_top("env: [=x]", "env_name@4:7");
    check_top("env: [\"A B=x\"]", "env_name@4:7");
    check_top("env: [{A: b}]", "type@4:8");
    check_top("env: {А: cyrillic}", "env_name@4:7");
    check_top("env: [A=1, A=2]", "duplicate_key@4:12");
    check_stage("{name: a, script: x, env: {OCELOT: x}}", "reserved_env@3:30");
}

#[test]
fn stages() {
    check("image: a\n", "missing_key@1:1");
    check("image: a\nstages: []\n", "missing_key@2:9");
    check_stage("{script: x}", "missing_key@3:4");
    check_stage("{name: a}", "missing_key@3:4");
    check_stage("{name: a, script: []}", "missing_key@3:13");
    check_stage("{name: a, script: \" \"}", "missing_key@3:13");
    check_stage("{name: a, command: []}", "missing_key@3:13");
    check_stage("{name: a, script: x, command: [y]}", "conflict@3:24");
    check_stage("{name: a, shell: bash, command: [y]}", "conflict@3:13");
    check_stage("{name: setup, script: x}", "reserved_name@3:10");
    check_stage("{name: \"\", script: x}", "name@3:10");
    check_stage("{name: \"a\\u202Eb\", script: x}", "name@3:10");
    check_stage(&format!("{{name: {}, script: x}}", "ä".repeat(101)), "name@3:10");
    check_stage("{name: a, script: x}\n- {name: a, script: x}", "duplicate_stage@4:10");
    check_stage("{name: a, script: x, workdir: /etc}", "path@3:33");
    check_stage("{name: a, script: x, workdir: a/../../b}", "path@3:33");
    check_stage("{name: a, script: x, trigger: {branches: ['(']}}", "regex@3:45");
    check_top("branches: ['*']", "regex@4:12");
}

/// `jobs:` with these lines, from line 2 on; each has an image and a stage.
#[track_caller]
fn check_jobs(jobs: &[(&str, &str)], want: &str) {
    let lines = jobs
        .iter()
        .map(|(name, rest)| format!("  {name}: {{{rest}image: a, stages: [{{name: a, script: x}}]}}\n"));
    check(&format!("jobs:\n{}", lines.collect::<String>()), want);
}

#[test]
fn jobs() {
    check_jobs(&[("a", ""), ("a", "")], "duplicate_key@3:3");
    check_jobs(&[("A b", "")], "name@2:3");
    check_jobs(&[("-a", "")], "name@2:3");
    check_jobs(&[("a", "needs: [b], "), ("b", "needs: [a], ")], "cycle@3:15");
    check_jobs(&[("a", "needs: [a], ")], "cycle@2:15");
    check_jobs(&[("a", "needs: [nobody], ")], "unknown_job@2:15");
    check_jobs(&[("a", "needs: [b, c], "), ("b", "needs: c, "), ("c", "")], "");
    check("jobs: {}\n", "missing_key@1:1");
    check("jobs:\n  a:\n", "null_value@2:3");
}

#[test]
fn the_path_of_a_cycle_is_named() {
    let path = |jobs: &[(&str, &str)], want: &str| {
        let lines = jobs.iter().map(|(name, needs)| format!("  {name}: {{needs: [{needs}]}}\n"));
        let answer =
            ocelot_model::pipeline::parse(format!("jobs:\n{}", lines.collect::<String>()).as_bytes());
        let answer = answer.unwrap_err();
        let cycle = answer.iter().find(|problem| problem.code == "cycle").unwrap();
        assert!(cycle.message.ends_with(want), "{}", cycle.message);
    };
    path(&[("a", "b"), ("b", "a")], ": a -> b -> a");
    path(&[("a", "a")], ": a -> a");
    path(&[("x", "a"), ("a", "b"), ("b", "c"), ("c", "a")], ": a -> b -> c -> a");
    let ring: Vec<(String, String)> =
        (0..900).map(|n| (format!("j{n}"), format!("j{}", (n + 1) % 900))).collect();
    let ring: Vec<(&str, &str)> = ring.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    path(&ring, " -> … -> j0");
}

#[test]
fn everything_is_said_at_once() {
    check(
        "imag: busybox\ntimeout: 60\nstages:\n- {name: setup, script: x, env: {CI: y}}\n- {nam: b}\n",
        "unknown_key@1:1 type@2:10 reserved_name@4:10 reserved_env@4:34 \
         unknown_key@5:4 missing_key@5:4",
    );
}

#[test]
fn who_is_told() {
    check_top("notify: {slack: {chanel: x, identifier: b}}", "unknown_key@4:18");
    check_top("notify: {slack: {channel: '#a'}}", "missing_key@4:18");
    check_top("notify: {slack: {identifier: b, on: [SOMETIMES]}}", "choice@4:38");
    check_top("notify: {slack: {identifier: 'a b'}}", "name@4:30");
    check_top("notify: {slack: {identifier: b, channel: \"a\\nb\"}}", "name@4:42");
    check_top("notify: {pigeon: {}}", "unknown_key@4:10");
    check_top("notify: {slack: [text]}", "type@4:18");
    for bad in ["example.org", "ftp://x", "file:///etc/passwd", "https://", "'https://a b'", "https:///x"] {
        check_top(&format!("notify: {{webhook: {{identifier: b, url: {bad}}}}}"), "url@4:40");
    }
    for bad in ["https://me:pw@example.org/x", "https://token@example.org", "'http://a:b@h?c'"] {
        check_top(&format!("notify: {{webhook: {{identifier: b, url: {bad}}}}}"), "url@4:40");
    }
    check_top("notify: {slack: {identifier: b, on: []}}", "range@4:37");
    check_top("notify: {email: [{identifier: b}, {identifier: c, on: []}]}", "range@4:55");
    for bad in ["me", "a@", "'a@b, c@d'", "'a@b <c@d>'", "\"a@b\\nBcc: c@d\""] {
        check_top(&format!("notify: {{email: {{identifier: b, to: {bad}}}}}"), "mail@4:37");
    }
    let many = ["{identifier: b}"; 11].join(", ");
    check_top(&format!("notify: {{slack: [{many}]}}"), "range@4:19");
}
