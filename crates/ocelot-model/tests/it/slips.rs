//! Conditions that are wrong or made to hurt: what is answered, and where it points.

use ocelot_model::pipeline::{Facts, Files, decide, parse};

use crate::conditions::{facts, truth, when};
use crate::{check, check_stage, repeat};

/// Of a stage whose `when` stands in single quotes: the quote in column 30.
#[track_caller]
fn check_when(text: &str, want: &str) {
    check_stage(&format!("{{name: a, script: x, when: '{text}'}}"), want);
}

/// Of a stage whose only line of `triggers` stands in single quotes: the quote in column 35.
#[track_caller]
fn check_trigger(line: &str, want: &str) {
    check_stage(&format!("{{name: a, script: x, triggers: ['{line}']}}"), want);
}

#[test]
fn slips_in_when_are_found_where_they_stand() {
    check_when("branch == \"main\"", "");
    check_when("brnch == \"main\"", "condition_name@3:31");
    check_when("branch == main", "condition_name@3:41");
    check_when("branch = \"main\"", "condition@3:38");
    check_when("branch == \"main\" & true", "condition@3:48");
    check_when("branch == feature/x", "condition@3:48");
    check_when("branch == \"main", "condition@3:41");
    check_when("branch", "condition_type@3:30");
    check_when("event", "condition_type@3:30");
    check_when("\"main\"", "condition_type@3:30");
    check_when("true and branch", "condition_type@3:40");
    check_when("not \"x\"", "condition_type@3:35");
    check_when("\"a\" == \"b\"", "condition_type@3:30");
    check_when("changed(\"x\") == true", "condition_type@3:31");
    check_when("event == \"pull-request\"", "condition_type@3:40");
    check_when("event == branch", "condition_type@3:40");
    check_when("event =~ \"p\"", "condition_type@3:37");
    check_when("author_id == 42", "condition_type@3:44");
    check_when("author == \"ann\"", "condition_name@3:31");
    check_when("\"x\" in [\"x\"]", "condition_type@3:31");
    check_when("branch in \"main\"", "condition@3:41");
    check_when("branch in", "condition@3:38");
    check_when("branch in []", "condition@3:42");
    check_when("branch in [\"a\" \"b\"]", "condition@3:46");
    check_when("branch in [\"a\"", "condition@3:45");
    check_when("(branch == \"a\"", "condition@3:31");
    check_when("branch == \"a\")", "condition@3:44");
    check_when("branch == \"a\" branch == \"b\"", "condition@3:45");
    check_when("and true", "condition@3:31");
    check_when("true and", "condition@3:39");
    check_when("", "condition@3:30");
    check_when("chnged(\"x\")", "condition_name@3:31");
    check_when("changed()", "condition@3:39");
    check_when("changed(branch)", "condition_type@3:39");
    check_when("changed(\"/x\")", "path@3:39");
    check_when("changed(\"a\", \"../x\")", "path@3:44");
    check_when("changed(\"src/\")", "glob@3:39");
    check_when("changed(\"[\")", "glob@3:39");
    check_when("branch =~ \"(\"", "regex@3:41");
    check_when("branch =~ \"\"", "regex@3:41");
    check_when("branch =~ \"(x{1000}){1000}\"", "regex_limit@3:41");
    check_when("branch =~ main", "condition@3:41");
    check_when("env == \"x\"", "condition_name@3:31");
    check_when("env.CI == \"x\"", "condition@3:31");
    check_when("env. == \"x\"", "condition@3:31");
    // Two faults of one condition that do not hide each other.
    check_when("branch =~ \"(\" or changed(\"../x\")", "regex@3:41 path@3:56");
    // A quote that YAML doubles, and other lines.
    check_when("branch == ''a'' or nme == ''b''", "condition_name@3:50");
    check(
        "image: a\nstages:\n- name: a\n  script: x\n  when: |\n    branch == \"a\"\n    and brnch == \"b\"\n",
        "condition_name@7:9",
    );
    check(
        "image: a\nstages:\n- name: a\n  script: x\n  when: >-\n    branch == \"a\"\n    and brnch == \"b\"\n",
        "condition_name@7:9",
    );
    check(
        "image: a\nstages:\n- name: a\n  script: x\n  when: \"branch == \\\"a\\\" or x == 'b'\"\n",
        "condition_name@5:29",
    );
}

#[test]
fn slips_in_triggers_are_found_where_they_stand() {
    check_trigger(r"\branch main", "");
    check_trigger("main", "directive@3:35");
    check_trigger("branch main", "directive@3:36");
    check_trigger(r"\brnch main", "directive@3:36");
    check_trigger("", "directive@3:35");
    check_trigger(r"\branch", "directive@3:35");
    check_trigger(r"\text a and", "directive@3:47");
    check_trigger(r"and \text a", "directive@3:36");
    check_trigger(r"\text a and or \text b", "directive@3:48");
    check_trigger(r"\text sand and gravel", "directive@3:51");
    check_trigger(r"\branch a \text b", "directive@3:46");
    check_trigger(r"\branch a \filpath b", "directive@3:46");
    check_trigger(r"\text a||b && c", "directive@3:47");
    check_trigger(r"\text || a", "directive@3:42");
    check_trigger(r"\text a ||", "directive@3:44");
    check_trigger(r"\text a || || b", "directive@3:47");
    check_trigger("\\text \"a", "condition@3:42");
    check_trigger("\\text \"a\"b", "directive@3:45");
    check_trigger(r"(\text a", "directive@3:36");
    check_trigger(r"(\text a) b", "directive@3:46");
    check_trigger(r"not", "directive@3:39");
    check_trigger(r"\branch a||(", "regex@3:47");
    check_trigger("\\branch \"\"", "regex@3:44");
}

#[test]
fn slips_have_hints() {
    let hint = |stage: &str| {
        let text = format!("image: a\nstages:\n- name: a\n  script: x\n{stage}\n");
        parse(text.as_bytes()).unwrap_err()[0].hint.clone().unwrap_or_default()
    };
    assert_eq!(hint("  when: brnch == \"main\""), "did you mean `branch`?");
    assert_eq!(hint("  when: autor_id == \"1\""), "did you mean `author_id`?");
    assert_eq!(hint("  when: event == \"pullrequest\""), "did you mean \"pull_request\"?");
    assert!(hint("  when: branch == develop").starts_with("text stands in quotes"));
    assert_eq!(hint("  when: branch == feature/x"), "put text into quotes, as in `branch == \"feature/x\"`");
    assert_eq!(hint("  when: chaged(\"x\")"), "did you mean `changed`?");
    assert_eq!(hint("  when: changed(\"src/\")"), "write `src/**` for all files below it");
    assert_eq!(hint("  when: branch"), "compare it, as in `branch != \"\"`");
    assert_eq!(hint("  triggers: ['\\fliepath x']"), "did you mean `\\filepath`?");
    assert_eq!(hint("  triggers: ['\\branch a \\text b']"), "write `and \\text`");
}

#[test]
fn conditions_are_bounded() {
    let stage = |when: &str| format!("image: a\nstages:\n- name: a\n  script: x\n  when: '{when}'\n");
    check(&stage(&format!("{}true{}", "(".repeat(32), ")".repeat(32))), "");
    check(&stage(&format!("{}true{}", "(".repeat(33), ")".repeat(33))), "condition_limit@5:43");
    check(&stage(&format!("{}true", "!".repeat(4_000))), "condition_limit@5:43");
    check(&stage(&"x".repeat(4_097)), "field_length@5:9");
    let line = format!("{}\\text a", "not ".repeat(33));
    check(
        &format!("image: a\nstages:\n- name: a\n  script: x\n  triggers: ['{line}']\n"),
        "condition_limit@5:146",
    );
    let list = |n: usize| format!("branch in [{}]", "\"a\",".repeat(n));
    let stages = |n: usize| repeat(0..n, |n| format!("- {{name: s{n}, script: x, when: *w}}\n"));
    let text = |n: usize| {
        format!("image: a\nstages:\n- {{name: a, script: x, when: &w '{}'}}\n{}", list(100), stages(n))
    };
    check(&text(49), "");
    // Said once, where the condition stands.
    check(&text(50), "condition_limit@3:33");
    let globs = repeat(0..101, |n| format!("\"g{n}\","));
    check(&stage(&format!("changed({globs})")), "regex_limit@5:608");
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'p>(&mut self, pieces: &[&'p str]) -> &'p str {
        pieces[self.roll(pieces.len())]
    }
}

#[test]
fn any_soup_of_words_is_answered() {
    const WHEN: [&str; 32] = [
        "branch",
        "tag",
        "event",
        "message",
        "env.A",
        "author_id",
        "changed",
        "upstream",
        "(",
        ")",
        "[",
        "]",
        ",",
        "==",
        "!=",
        "=~",
        "&&",
        "||",
        "!",
        "and",
        "or",
        "not",
        "in",
        "\"push\"",
        "'a/**'",
        "\"",
        "'",
        "\\",
        "true",
        "ä",
        "7",
        "$",
    ];
    const LINE: [&str; 20] = [
        "\\branch",
        "\\text",
        "\\filepath",
        "\\upstream",
        "\\",
        "and",
        "or",
        "not",
        "(",
        ")",
        "||",
        "&&",
        "|",
        "a",
        "\"",
        "'",
        "\\)",
        "ä",
        "x.*",
        "ALL",
    ];
    let mut dice = Dice(7);
    let mut good = 0;
    for round in 0..3_000 {
        let pieces: &[&str] = if round % 2 == 0 { &WHEN } else { &LINE };
        let length = 1 + dice.roll(9);
        let soup: Vec<&str> = (0..length).map(|_| dice.pick(pieces)).collect();
        let soup = serde_json::to_string(&soup.join(dice.pick(&["", " ", " ", "  "]))).unwrap();
        let key = if round % 2 == 0 { format!("when: {soup}") } else { format!("triggers: [{soup}]") };
        let text = format!("image: a\nstages:\n- name: a\n  script: x\n  {key}\n");
        match parse(text.as_bytes()) {
            Ok(mut pipeline) => {
                good += 1;
                decide(&mut pipeline.jobs, &facts("main"));
            }
            Err(problems) => {
                let end = text.lines().nth(4).unwrap().chars().count() + 1;
                assert!(
                    problems.iter().all(|p| p.line == 5 && p.column <= end && p.end_column <= end),
                    "{text}{problems}"
                );
            }
        }
    }
    assert!(good > 30, "the soup is too wild: only {good} were good");
}

#[test]
fn logic_is_logic_even_without_knowledge() {
    const TESTS: [&str; 6] =
        ["true", "false", "branch == \"main\"", "changed(\"x\")", "changed(\"src/*\")", "event == \"tag\""];
    fn tree(dice: &mut Dice, depth: usize) -> String {
        if depth == 0 || dice.roll(4) == 0 {
            return dice.pick(&TESTS).to_owned();
        }
        let (left, right) = (tree(dice, depth - 1), tree(dice, depth - 1));
        match dice.roll(3) {
            0 => format!("!({left})"),
            1 => format!("({left}) && ({right})"),
            _ => format!("({left}) || ({right})"),
        }
    }
    let unknown = Facts { files: Files::unknown("new"), ..facts("main") };
    let mut dice = Dice(1);
    for round in 0..60 {
        let facts = if round % 2 == 0 { facts("main") } else { unknown.clone() };
        let (a, b) = (tree(&mut dice, 4), tree(&mut dice, 4));
        let same = |one: &str, other: &str| {
            assert_eq!(truth(&when(one, &facts)), truth(&when(other, &facts)), "{one}\n{other}");
        };
        same(&format!("!(({a}) && ({b}))"), &format!("!({a}) || !({b})"));
        same(&format!("!(({a}) || ({b}))"), &format!("not ({a}) and not ({b})"));
        same(&format!("!!({a})"), &a);
        same(&format!("({a}) && ({b})"), &format!("({b}) && ({a})"));
        same(&format!("({a}) || ({b}) && ({a})"), &a);
    }
}
