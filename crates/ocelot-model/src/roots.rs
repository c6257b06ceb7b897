//! Whom a host of git repositories is believed with: git reads authorities from one file, which replaces the ones that it
//! knows by itself.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The variable that tells git of the file.
pub const CA_FILE: &str = "GIT_SSL_CAINFO";

/// The public authorities and `own` (PEM), as what stands in that file.
pub fn with_public(own: &str) -> String {
    let mut text = format!("{}\n", own.trim_end());
    for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let base64 = BASE64_STANDARD.encode(der);
        for line in base64.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_comes_besides_the_public_ones() {
        let text = with_public("-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----");
        let first =
            "-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n";
        assert!(text.starts_with(first), "{}", &text[..200]);
        let count = text.matches("-----END CERTIFICATE-----\n").count();
        assert_eq!(count, webpki_root_certs::TLS_SERVER_ROOT_CERTS.len() + 1);
    }
}
