//! Files that were made to hurt: refused by limits that hold before the work is done.

use std::fmt::Write;

use crate::{check, check_top, problems, repeat};

#[test]
fn what_is_no_file() {
    check("", "empty@1:1");
    check("# nothing here\n", "empty@1:1");
    check("\u{feff}", "empty@1:1");
    check("---\n", "empty@1:1");
    check("{}", "empty@1:1");
    check("- image: busybox\n", "root_not_map@1:3");
    check("busybox", "root_not_map@1:1");
}

#[test]
fn what_is_no_text() {
    assert_eq!(problems(b"image: busybox\nenv: {A: \xff}\n"), "not_utf8@2:10");
    // UTF-16, with either byte first.
    assert_eq!(problems(b"\xff\xfei\x00:\x00"), "not_utf8@1:1");
    assert_eq!(problems(b"\xfe\xff\x00i\x00:"), "not_utf8@1:1");
    assert_eq!(problems(b"image: \xc3"), "not_utf8@1:8");
    assert_eq!(problems(b"image: \xed\xa0\x80"), "not_utf8@1:8");
    assert_eq!(problems("image: a\u{85}b: c\n".as_bytes()), "control_char@1:9");
    assert_eq!(problems(b"image: a\x7f\n"), "control_char@1:9");
    assert_eq!(problems(b"image: \"\x00\"\n"), "control_char@1:9");
    assert_eq!(problems(b"image: a\n# \x07\n"), "control_char@2:3");
    assert_eq!(problems(b"image: a\rb: c\n"), "control_char@1:9");
    check_top("env: {A: \"x\\0y\"}", "control_char@4:10");
    let message = ocelot_model::pipeline::parse(b"a: b\n\xff").unwrap_err()[0].message.clone();
    assert!(message.contains("byte 5"), "{message}");
}

#[test]
fn what_is_no_yaml() {
    check("image: a\nstages:\n\t- name: a\n", "syntax@3:2");
    check("image: \"a\n", "syntax@1:8");
    check("a: [b\n", "syntax@1:4");
    check("%YAML 1.2\n---\nimage: a\n", "syntax@1:1");
    check("image: a\n  b: c\n", "syntax@2:4");
}

#[test]
fn what_is_no_yaml_in_the_middle_of_a_good_file() {
    let good = "image: a\nstages:\n- name: a\n  script: [x]\n";
    check(&format!("{good}\tenv: {{}}\n"), "syntax@5:2");
    check(&format!("{good}env: {{A: b\n"), "syntax@5:6");
    check(&format!("{good}env: \"A\n"), "syntax@5:6");
    check(&format!("{good}env: @A\n"), "syntax@5:6");
    check(&format!("{good}env: `A`\n"), "syntax@5:6");
    check(&format!("{good}env: {{A: 'it's'}}\n"), "syntax@5:14");
}

#[test]
fn what_yaml_allows_and_we_do_not() {
    check("image: a\n---\nimage: b\n", "multi_document@2:1");
    check_top("user: !!python/object/apply:os.getuid []", "tag@4:7");
    check_top("env: {A: !!binary aGk=}", "tag@4:10");
    check_top("env: {A: !own x}", "tag@4:10");
    check_top("env: {A: !!float 1}", "tag@4:10");
    check_top("env: !!map {A: b}", "tag@4:6");
    check_top("env: {A: !!str b}", "tag@4:10");
    check_top("env: {? {a: b} : 1}", "type@4:10");
    check_top("env: {: x}", "null_value@4:7");
    check_top("env: {~: x}", "null_value@4:7");
    check_top("env: {<<: [[{A: b}]]}", "merge_key@4:14");
    check_top("env: {? [a, b] : 1}", "type@4:10");
    check_top("env: {A: 1, B: 2, A: 3}", "duplicate_key@4:19");
    check_top("image: other", "duplicate_key@4:1");
    check_top("env: {A: *none}", "unknown_alias@4:10");
    check_top("packages: &a [*a]", "recursive_alias@4:15");
    check_top("env: {<<: text}", "merge_key@4:11");
}

#[test]
fn size_is_bounded() {
    check(&"#".repeat(256 * 1024 + 1), "too_large@1:1");
    check(&"[".repeat(100_000), "depth@1:33");
    check(&"[".repeat(200_000), "depth@1:33");
    check(&"{a: ".repeat(20_000), "depth@1:129");
    let blocks: String = repeat(0..300, |depth| format!("{}a:\n", " ".repeat(depth)));
    check(&blocks, "depth@33:33");
    let items = "- a\n".repeat(60_000);
    assert!(problems(items.as_bytes()).starts_with("budget@"), "{}", problems(items.as_bytes()));
    check(&format!("image: {}\nstages: [{{name: a, script: x}}]\n", "a".repeat(250_000)), "field_length@1:8");
    check_top(&format!("{}: 1", "k".repeat(300)), "field_length@4:1");
}

#[test]
fn aliases_are_counted_unfolded() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(9);
        writeln!(laughs, "a{level}: &a{level} [{before}]").unwrap();
    }
    assert!(problems(laughs.as_bytes()).starts_with("budget@"), "{}", problems(laughs.as_bytes()));
    let long = format!("packages: [&x {}{}]\n", "y".repeat(100_000), ", *x".repeat(2_000));
    assert!(problems(long.as_bytes()).starts_with("budget@"), "{}", problems(long.as_bytes()));
    let deep: String = repeat(1..30, |level| format!("k{level}: &a{level} [[*a{}]]\n", level - 1));
    assert!(problems(format!("k0: &a0 [x]\n{deep}").as_bytes()).contains("depth@"));
}

#[test]
fn an_answer_is_never_large() {
    let many: String = repeat(0..2_000, |n| format!("key{n}: 1\n"));
    let answer = ocelot_model::pipeline::parse(many.as_bytes()).unwrap_err();
    assert_eq!(answer.len(), 100);
    let rude = format!("\"{}\": 1\n", "\u{202e}x".repeat(50));
    let answer = ocelot_model::pipeline::parse(rude.as_bytes()).unwrap_err();
    assert!(
        answer
            .iter()
            .all(|problem| problem.message.chars().count() < 200 && !problem.message.contains('\u{202e}'))
    );
}

#[test]
fn patterns_are_bounded() {
    check_top("branches: ['(x{1000}){1000}']", "regex_limit@4:12");
    check_top(&format!("branches: ['{}']", "x".repeat(501)), "regex_limit@4:12");
    let many: String = repeat(0..101, |n| format!("b{n}, "));
    assert!(problems(format!("branches: [{many}]\n").as_bytes()).contains("regex_limit@1:"));
    let glob = "**/".repeat(300);
    check(
        &format!("image: a\nstages:\n- {{name: a, script: x, artifacts: ['{glob}']}}\n"),
        "not_supported@3:24 glob_limit@3:36",
    );
    check_top("matrix: {a: [1, 2, 3, 4], b: [1, 2, 3, 4]}", "not_supported@4:1");
    let axis = format!("[{}]", "1, ".repeat(50));
    check_top(&format!("matrix: {{a: {axis}, b: {axis}, c: {axis}}}"), "not_supported@4:1 matrix_limit@4:10");
}

#[test]
fn counts_are_bounded() {
    let stages = |from: usize, to: usize| repeat(from..to, |n| format!("{{name: s{n}, script: x}}, "));
    check(&format!("image: a\nstages: [{}]\n", stages(0, 1_000)), "");
    check(&format!("image: a\nstages: [{}]\n", stages(0, 1_001)), "stage_limit@2:1");
    let two = format!(
        "image: a\njobs:\n  a: {{stages: [{}]}}\n  b: {{stages: [{}]}}\n",
        stages(0, 600),
        stages(0, 401)
    );
    check(&two, "stage_limit@2:1");
    let jobs: String = repeat(0..1_001, |n| format!("  j{n}: {{stages: &s [{{name: a, script: x}}]}}\n"));
    check(&format!("image: a\njobs:\n{jobs}"), "stage_limit@2:1 job_limit@3:3");
    let sides: String = repeat(0..101, |n| format!("s{n}: {{image: a}}, "));
    check_top(&format!("services: {{{sides}}}"), "not_supported@4:1 services_limit@4:12");
}

#[test]
fn defaults_are_counted_for_every_job() {
    let jobs = repeat(0..900, |n| format!("  j{n}: {{stages: [{{name: a, script: x}}]}}\n"));
    let many = repeat(0..1_000, |n| format!("A{n}: x, "));
    check(&format!("image: a\nenv: {{{many}}}\njobs:\n{jobs}"), "budget@2:1");
    let long = "x".repeat(60_000);
    check(&format!("image: a\nenv: {{A: {long}, B: {long}}}\njobs:\n{jobs}"), "budget@2:1");
    check(&format!("image: a\nenv: {{A: b}}\njobs:\n{jobs}"), "");
}
