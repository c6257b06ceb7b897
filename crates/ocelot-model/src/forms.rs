//! The forms in which a secret may stand in a log, or in the words of a far side. Pure.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Nothing shorter is looked for.
const SHORTEST: usize = crate::secret::VALUE_MIN;

/// Hands every form of a value to `take`, some of them more than once.
pub fn each(value: &[u8], mut take: impl FnMut(&[u8])) {
    // Line feeds are passed over where they stand inside a secret.
    let mut form = |form: &[u8]| {
        let line: Vec<u8> = form.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
        if line.len() >= SHORTEST {
            take(&line);
        }
    };
    let trimmed = value.trim_ascii();
    encoded(trimmed, &mut form);
    if trimmed.len() != value.len() {
        base64(value, &mut form);
    }
    texts(trimmed, &mut form);
    // A log comes in lines, and each of them may come alone.
    if trimmed.contains(&b'\n') {
        for line in trimmed.split(|byte| *byte == b'\n') {
            texts(line.trim_ascii(), &mut form);
        }
    }
}

fn encoded(value: &[u8], form: &mut impl FnMut(&[u8])) {
    base64(value, form);
    for upper in [true, false] {
        form(&percent(value, upper, b"-_.~"));
        // As JavaScript and web forms do it.
        form(&percent(value, upper, b"-_.!~*'()"));
        form(&percent(value, upper, b"-_.*"));
        let spaces: Vec<u8> = percent(value, upper, b"-_.* ");
        form(&spaces.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }).collect::<Vec<u8>>());
    }
}

/// What stands in a line as it is, or with some signs written in another way.
fn texts(value: &[u8], form: &mut impl FnMut(&[u8])) {
    form(value);
    let Ok(text) = std::str::from_utf8(value) else { return };
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.trim_start_matches('"');
    let json = json.strip_suffix('"').unwrap_or(json);
    form(json.as_bytes());
    form(json.replace('/', "\\/").as_bytes());
    form(ascii_json(json).as_bytes());
    // Once more, for JSON inside of JSON.
    form(json.replace('\\', "\\\\").replace('"', "\\\"").as_bytes());
    for quote in ["'\\''", "'\"'\"'"] {
        form(text.replace('\'', quote).as_bytes());
    }
    form(
        backslashed(text, |c| !(c.is_ascii_alphanumeric() || "_-./:=@%+,^~".contains(c) || !c.is_ascii()))
            .as_bytes(),
    );
    form(
        backslashed(text, |c| !(c.is_ascii_alphanumeric() || "_-./:=@%+".contains(c) || !c.is_ascii()))
            .as_bytes(),
    );
    form(backslashed(text, |c| "\"$`\\".contains(c)).as_bytes());
    let marks = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&apos;")];
    form(marks.iter().fold(text.to_owned(), |text, (sign, code)| text.replace(*sign, code)).as_bytes());
    // As `$'…'`.
    form(backslashed(text, |c| "'\\".contains(c)).replace('\n', "\\n").replace('\t', "\\t").as_bytes());
}

fn backslashed(text: &str, escape: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if escape(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Other signs than ASCII as `\u00e9`.
fn ascii_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// `%2F` for all but letters, digits and `plain`.
fn percent(value: &[u8], upper: bool, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        if byte.is_ascii_alphanumeric() || plain.contains(byte) {
            out.push(*byte);
        } else if upper {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.extend_from_slice(format!("%{byte:02x}").as_bytes());
        }
    }
    out
}

/// What of the value's base64 does not depend on what stands before and after it, wherever it begins in a group of three
/// bytes. And what remains of it from the next group on, where a line may begin.
fn base64(value: &[u8], form: &mut impl FnMut(&[u8])) {
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for before in 0..3_usize {
            let bytes = [&[0; 2][..before], value].concat();
            let text = engine.encode(&bytes);
            let begin = (before * 8).div_ceil(6);
            let end = bytes.len() * 8 / 6;
            form(text.as_bytes().get(begin..end).unwrap_or_default());
            // Where nothing follows.
            form(text.as_bytes().get(begin..).unwrap_or_default());
            if before > 0 {
                form(text.as_bytes().get(4..end).unwrap_or_default());
            }
        }
    }
}
