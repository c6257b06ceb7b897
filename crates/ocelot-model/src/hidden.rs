//! Hides what a request carried in the words that came back: mail servers, forges and receivers of webhooks repeat what they were
//! sent, and their words are stored, logged and shown. Pure. Hide first and cut afterwards: half a secret is not found.

use memchr::memmem;

use crate::forms;

/// Stands in place of a secret.
const STARS: &str = "***";

/// What must not be said again.
#[derive(Default)]
pub struct Hidden {
    forms: Vec<Vec<u8>>,
}

impl Hidden {
    /// With this secret too, in all forms that far sides give it.
    #[must_use]
    pub fn value(mut self, secret: &str) -> Hidden {
        forms::each(secret.as_bytes(), |form| self.forms.push(form.to_vec()));
        self
    }

    /// With a user's password too, also as HTTP (`user:password`) and SMTP (both after zero bytes) send the two in base64.
    #[must_use]
    pub fn login(self, user: &str, password: &str) -> Hidden {
        self.value(password).value(&format!("{user}:{password}")).value(&format!("\0{user}\0{password}"))
    }

    /// The words without any of it.
    pub fn hide(&self, words: &str) -> String {
        let bytes = words.as_bytes();
        let mut secret = vec![false; bytes.len()];
        for form in &self.forms {
            let finder = memmem::Finder::new(form);
            let mut from = 0;
            // Also where it overlaps itself.
            while let Some(at) = finder.find(&bytes[from..]) {
                secret[from + at..from + at + form.len()].fill(true);
                from += at + 1;
            }
        }
        let mut said = Vec::with_capacity(bytes.len());
        for (at, byte) in bytes.iter().enumerate() {
            if !secret[at] {
                said.push(*byte);
            } else if at == 0 || !secret[at - 1] {
                said.extend_from_slice(STARS.as_bytes());
            }
        }
        // Forms are whole characters, so what is left is text.
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden(***)")
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn what_a_far_side_says_back() {
        let hidden = Hidden::default().login("ci", "s3cr&t/é").value("token-1");
        let code = |text: &str| BASE64_STANDARD.encode(text);
        let check = |said: &str, want: &str| assert_eq!(hidden.hide(said), want, "{said}");
        check("no login for ci with s3cr&t/é!", "no login for ci with ***!");
        check("at /x?p=s3cr%26t%2F%C3%A9&q=1", "at /x?p=***&q=1");
        check("bad \"s3cr&t\\/é\", <s3cr&amp;t/é>", "bad \"***\", <***>");
        check(&format!("Basic {}.", code("ci:s3cr&t/é")), "Basic ***.");
        check(&format!("AUTH PLAIN {}: no", code("\0ci\0s3cr&t/é")), "AUTH PLAIN ***==: no");
        check(&format!("PASS {}", code("s3cr&t/é")), "PASS ***");
        check("token-1token-1 and token-2", "*** and token-2");
        check("ötoken-1ö", "ö***ö");
        assert_eq!(Hidden::default().hide("words"), "words");
        assert_eq!(format!("{hidden:?}"), "Hidden(***)");
    }

    #[test]
    fn a_secret_that_overlaps_itself_is_hidden_whole() {
        assert_eq!(Hidden::default().value("abab").hide("xababab"), "x***");
    }
}
