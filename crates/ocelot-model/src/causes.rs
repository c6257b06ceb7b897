//! The words of an error and of what stands behind it.

use std::error::Error;

/// The error, what caused it, what caused that, and so on.
pub fn all<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The words of the innermost: what happened, without who passed it on.
pub fn deepest(error: &(dyn Error + 'static)) -> String {
    all(error).last().unwrap_or(error).to_string()
}

/// The words of all, `a: b: c`; what was said already is left out.
pub fn whole(error: &(dyn Error + 'static)) -> String {
    all(error).skip(1).fold(error.to_string(), |words, cause| with(words, &cause.to_string()))
}

/// `words: cause`, unless the words say it already.
pub fn with(words: String, cause: &str) -> String {
    if words.contains(cause) { words } else { format!("{words}: {cause}") }
}

#[cfg(test)]
mod tests {
    use super::{deepest, whole};

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Layer {
        words: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn each_is_said_once() {
        let of = |layers: &[&'static str]| {
            let made =
                layers.iter().rev().fold(None, |source, words| Some(Box::new(Layer { words, source })));
            let error = made.expect("a layer");
            (whole(&*error), deepest(&*error))
        };
        let check = |layers: &[&'static str], all: &str, last: &str| {
            assert_eq!(of(layers), (all.to_owned(), last.to_owned()), "{layers:?}");
        };
        check(&["refused"], "refused", "refused");
        check(&["connect", "tcp", "refused"], "connect: tcp: refused", "refused");
        check(&["no answer: refused", "refused"], "no answer: refused", "refused");
    }
}
