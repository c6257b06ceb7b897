//! Is this a Docker image reference? By grammar only; whether the image exists is for the engine to say.

use super::problem::{Fault, quote};

const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// Checks `[host[:port]/]path[:tag][@algorithm:hex]`.
pub(super) fn check(text: &str) -> Result<(), Fault> {
    let wrong = |why: &str| Err(Fault::new("image_ref", format!("{} is no image: {why}", quote(text))));
    if text.contains("${{") {
        return wrong("`${{ … }}` is not filled in here, as `matrix` is not supported yet");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon after the last slash begins the tag; one before it belongs to the host's port.
    let path_start = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[path_start..].split_once(':') {
        Some((last, tag)) => (&rest[..path_start + last.len()], Some(tag)),
        None => (rest, None),
    };
    if name.len() > MAX_NAME {
        return wrong("its name is longer than 255 characters");
    }
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return wrong("a digest is written `@sha256:` and 64 hexadecimal digits");
    }
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return wrong(
            "a tag has letters, digits, `_`, `.` and `-`, at most 128, and begins with a letter or digit",
        );
    }
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), path),
        _ => (None, name),
    };
    if host.is_some_and(|host| !is_host(host)) {
        return wrong("the part before the first `/` is no host");
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase())
        && path.split('/').all(|part| is_part(&part.to_lowercase()))
    {
        return wrong("names of images are lower case");
    }
    if !path.split('/').all(is_part) {
        return wrong("a name has lower-case letters and digits, joined by `.`, `_`, `-` and `/`");
    }
    if host.is_none() && path.len() == 64 && path.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return wrong("64 hexadecimal digits alone are the id of an image on one machine only");
    }
    Ok(())
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        let lengths = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return false,
        };
        hex.len() == lengths && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, "1"));
    let label = |part: &str| {
        !(part.is_empty() || part.starts_with('-') || part.ends_with('-'))
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.split('.').all(label) && port.parse::<u16>().is_ok() && !port.starts_with('+')
}

/// Lower-case words joined by one `.`, one or two `_`, or any number of `-`.
fn is_part(part: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let edges = bytes.first().is_some_and(word) && bytes.last().is_some_and(word);
    edges
        && bytes.split(word).all(|joint| match joint {
            [] | [b'.' | b'_'] | [b'_', b'_'] => true,
            joint => joint.iter().all(|byte| *byte == b'-'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        for good in [
            "busybox",
            "rust:1.95",
            "acme/app",
            "registry.example.org:5000/acme/app_1:v1.0-rc",
            "localhost/x",
            "localhost:5000/a/b/c__d:latest",
            "a.b--c/d",
            &format!("busybox@{digest}"),
            &format!("ghcr.io/acme/app:1@{digest}"),
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "--privileged",
            "a b;id",
            "Busybox",
            "acme//app",
            "/app",
            "app:",
            "app:.x",
            "app:-x",
            "a___b",
            "a.-b",
            "http://example.org/app",
            "example.org:port/app",
            "app@sha256:abc",
            "app@",
            "rust:${{ matrix.rust }}",
            "busybox\nx",
            "büsybox",
            &"ab".repeat(32),
            &"x".repeat(256),
            &format!("busybox@{}", &digest[..digest.len() - 1]),
        ] {
            assert_eq!(check(bad).map_err(|fault| fault.code), Err("image_ref"), "{bad}");
        }
    }
}
