use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::*;

fn masked_in(patterns: &Arc<Patterns>, pieces: &[&[u8]]) -> Vec<u8> {
    let mut mask = Mask::new(Some(Arc::clone(patterns)));
    let mut log = Vec::new();
    for piece in pieces {
        mask.take(piece, |bytes| log.extend_from_slice(bytes));
    }
    mask.end(|bytes| log.extend_from_slice(bytes));
    log
}

fn patterns(secrets: &[&str]) -> Arc<Patterns> {
    Patterns::of(secrets.iter().map(|secret| secret.as_bytes())).unwrap()
}

/// What comes out must not depend on how the bytes come in pieces.
fn check(secrets: &[&str], text: &str, want: &str) {
    let patterns = patterns(secrets);
    for step in 1..=text.len().max(1) {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(step).collect();
        let log = masked_in(&patterns, &pieces);
        assert_eq!(String::from_utf8_lossy(&log), want, "{secrets:?} {text:?} in pieces of {step}");
    }
}

#[test]
fn nothing_to_hide_changes_nothing() {
    let mut mask = Mask::new(Patterns::of([]));
    let mut log = Vec::new();
    mask.take(b"a\x1b[1mb\n", |bytes| log.extend_from_slice(bytes));
    assert_eq!(log, b"a\x1b[1mb\n");
    check(&["hunter2"], "", "");
    check(
        &["hunter2"],
        "hunter1 \x1b[31mred\x1b[0m\r\nhunt\n\x1b",
        "hunter1 \x1b[31mred\x1b[0m\r\nhunt\n\x1b",
    );
}

#[test]
fn secrets_in_every_place() {
    check(&["hunter2"], "hunter2", "***");
    check(&["hunter2"], "a hunter2 b\nhunter2\nhunterhunter2", "a *** b\n***\nhunter***");
    check(&["hunter2"], "hunter2hunter2", "***");
    check(&["hunter2", "hunter23"], "hunter2 hunter23", "*** ***");
}

#[test]
fn secrets_that_overlap() {
    check(&["abcabc", "abcd"], "abcabcd", "***");
    check(&["abcd", "cdef", "efgh"], "xabcdefghx", "x***x");
    check(&["abab"], "ababab", "***");
    check(&["aaaa"], &"a".repeat(99), "***");
    check(&["abcd", "xabcdefz"], "xabcdefy", "x***efy");
}

#[test]
fn lines_of_a_long_value() {
    let key = "-----BEGIN KEY-----\nc2VjcmV0IGtleQ\nxy\nqqqq\n-----END KEY-----\n";
    check(&[key], "c2VjcmV0IGtleQ", "***");
    check(&[key], "a: qqqq\r\nxy\n", "a: ***\r\nxy\n");
}

#[test]
fn colours_inside() {
    check(&["hunter2"], "hun\x1b[31mter\x1b[0m2!", "***\x1b[31m\x1b[0m!");
    check(&["hunter2"], "hun\x1b]0;title\x07ter\x1b]8;;x\x1b\\2!", "***\x1b]0;title\x07\x1b]8;;x\x1b\\!");
    check(&["hunter2"], "hun\x1b(Bter2", "***\x1b(B");
    check(&["hunter2"], "hun\x1b[31mted", "hun\x1b[31mted");
    // What only looks like a sequence is text.
    check(&["hunter2"], "\x1b[hunter2", "\x1b[hunter2");
    check(&["hunter2"], "\x1b]\nhunter2", "\x1b]\n***");
}

#[test]
fn base64_wherever_it_begins() {
    let secret = "p/ss+w?rd>1";
    for before in 0..7 {
        for after in 0..7 {
            let text = format!("{}{secret}{}", "x".repeat(before), "y".repeat(after));
            for engine in [&STANDARD, &URL_SAFE] {
                let code = engine.encode(&text);
                let log = String::from_utf8(masked_in(&patterns(&[secret]), &[code.as_bytes()])).unwrap();
                let stars = log.find("***").unwrap_or_else(|| panic!("{code} {log}"));
                // What is left says at most the bits beside the secret's own.
                let (left, right) = (stars, log.len() - stars - 3);
                assert!(left * 6 < before * 8 + 6 && right * 6 < after * 8 + 24, "{code} {log}");
            }
        }
    }
}

#[test]
fn base64_in_lines() {
    let secret = "a long secret that is more than one line when it is encoded, and even more than that";
    for before in 0..60 {
        for (width, end) in [(76, "\n"), (64, "\r\n")] {
            let code = STANDARD.encode(format!("{}{secret}zzz", "x".repeat(before)));
            let lines: Vec<&str> =
                code.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
            let text = lines.join(end);
            let log = String::from_utf8(masked_in(&patterns(&[secret]), &[text.as_bytes()])).unwrap();
            assert!(log.len() < before * 4 / 3 + 24, "{before}: {text}\n{log}");
        }
    }
}

#[test]
fn other_ways_of_writing() {
    let secret = "a b/c\"d\\e'f$é";
    check(&[secret], "a%20b%2Fc%22d%5Ce%27f%24%C3%A9", "***");
    check(&[secret], "a%20b%2fc%22d%5ce%27f%24%c3%a9", "***");
    check(&[secret], "a+b%2Fc%22d%5Ce%27f%24%C3%A9", "***");
    check(&[secret], "{\"k\":\"a b/c\\\"d\\\\e'f$é\"}", "{\"k\":\"***\"}");
    check(&[secret], "a b\\/c\\\"d\\\\e'f$é", "***");
    check(&[secret], "a b/c\\\"d\\\\e'f$\\u00e9", "***");
    check(&[secret], "'a b/c\"d\\e'\\''f$é'", "'***'");
    check(&[secret], "a\\ b/c\\\"d\\\\e\\'f\\$é", "***");
    check(&[secret], "\"a b/c\\\"d\\\\e'f\\$é\"", "\"***\"");
    check(&["one\ntwo three"], "one\\ntwo three", "***");
}

#[test]
fn what_is_said_once_is_seen_at_once() {
    let patterns = patterns(&["hunter2"]);
    let check = |text: &str, want: &str| {
        let mut mask = Mask::new(Some(Arc::clone(&patterns)));
        let mut log = Vec::new();
        mask.take(text.as_bytes(), |bytes| log.extend_from_slice(bytes));
        assert_eq!(String::from_utf8_lossy(&log), want, "{text:?}");
    };
    check("Password: ", "Password: ");
    check("catch\n", "catch\n");
    check("hunter2", "***");
    check("hunter2\n", "***\n");
    check("hun", "");
    check("hun\n", "hun\n");
}

#[test]
fn what_is_held_back_is_bounded() {
    let mut mask = Mask::new(Some(patterns(&["hunter2"])));
    mask.take(b"hunter", |_| ());
    for _ in 0..100_000 {
        mask.take(b"\x1b[31m\n", |_| ());
        assert!(mask.held.len() < BETWEEN_MAX + 100);
    }
}

/// By looking at every place for every pattern.
fn brute_force(secrets: &[&str], text: &str) -> String {
    let mut forms = Vec::new();
    for secret in secrets {
        forms::each(secret.as_bytes(), |form| forms.push(form.to_vec()));
    }
    let bytes = text.as_bytes();
    let mut hide = vec![false; bytes.len()];
    for at in 0..bytes.len() {
        for form in forms.iter().filter(|form| bytes[at..].starts_with(form)) {
            hide[at..at + form.len()].fill(true);
        }
    }
    let mut out = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        if !hide[at] {
            out.push(*byte);
        } else if at == 0 || !hide[at - 1] {
            out.extend_from_slice(STARS);
        }
    }
    String::from_utf8(out).unwrap()
}

/// Small numbers that look random, the same ones every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn word(&mut self, length: usize) -> String {
        (0..length).map(|_| ["a", "b", "c", " "][self.below(4)]).collect()
    }
}

#[test]
fn as_brute_force_on_random_texts_and_splits() {
    let mut dice = Dice(7);
    for round in 0..20_000 {
        let secrets: Vec<String> = (0..=dice.below(4))
            .map(|_| {
                let length = 4 + dice.below(5);
                format!("a{}b", dice.word(length - 2))
            })
            .collect();
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let mut text = String::new();
        while text.len() < 60 {
            match dice.below(3) {
                0 => text.push_str(secrets[dice.below(secrets.len())]),
                1 => text.push_str(&secrets[dice.below(secrets.len())][..3]),
                _ => {
                    let length = dice.below(4);
                    text.push_str(&dice.word(length));
                }
            }
        }
        let (mut pieces, mut rest) = (Vec::new(), text.as_bytes());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + dice.below(12)).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let log = String::from_utf8(masked_in(&patterns(&secrets), &pieces)).unwrap();
        assert_eq!(log, brute_force(&secrets, &text), "round {round}: {secrets:?} in {text:?}");
    }
}
