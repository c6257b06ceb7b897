//! Numbers as people type them. What is none is said in words, not in those of a parser.

use std::str::FromStr;

/// The number of a build.
pub(crate) fn build(text: &str) -> Result<i64, String> {
    one(text).ok_or_else(|| format!("`{text}` is no number of a build; `ocelot summary` lists builds"))
}

/// The number of something else, as a list of them shows it.
pub(crate) fn id(text: &str) -> Result<i64, String> {
    one(text).ok_or_else(|| format!("`{text}` is no number, as the list shows it"))
}

/// How many, at least one.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    one(text).ok_or_else(|| format!("`{text}` is no number from 1 on"))
}

/// Lines of a log; none is a number, too.
pub(crate) fn lines(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is no number of lines"))
}

/// Rows of a list.
pub(crate) fn rows(text: &str) -> Result<u32, String> {
    one(text).filter(|rows| *rows <= 500).ok_or_else(|| format!("`{text}` is no number from 1 to 500"))
}

fn one<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number| *number >= T::from(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_type_them() {
        assert_eq!((build("12"), rows("500"), count("501")), (Ok(12), Ok(500), Ok(501)));
        for text in ["", "abc", "0", "-1", "1.5", "9223372036854775808"] {
            for said in
                [build(text).map(drop), id(text).map(drop), count(text).map(drop), rows(text).map(drop)]
            {
                assert!(said.expect_err(text).starts_with(&format!("`{text}` is no number")), "{text}");
            }
        }
        assert_eq!(rows("501"), Err("`501` is no number from 1 to 500".to_owned()));
    }
}
