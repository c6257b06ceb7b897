//! Names of variables: what a user may set, and what belongs to Ocelot or to the loader of programs.

use thiserror::Error;

/// Variables that Ocelot sets itself.
const OURS: &[&str] = &[
    "CI",
    "OCELOT",
    "GIT_HASH",
    "GIT_HASH_SHORT",
    "GIT_BRANCH",
    "BUILD_ID",
    "WORKSPACE",
    "GIT_PREVIOUS_SUCCESSFUL_COMMIT",
];

/// Variables that make another program load or read a file before the script begins.
const LOADING: &[&str] = &["LD_PRELOAD", "LD_AUDIT", "BASH_ENV", "ENV"];

const LONGEST: usize = 255;

/// Why a variable cannot have this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EnvNameError {
    /// Not `[A-Za-z_][A-Za-z0-9_]*`, or longer than 255 characters.
    #[error("a variable's name has letters, digits and `_`, and does not begin with a digit")]
    Invalid,
    /// Ocelot sets it.
    #[error("this variable is set by Ocelot and cannot be changed")]
    Ours,
    /// It changes what programs load.
    #[error("this variable would change what every program loads")]
    Loading,
}

impl EnvNameError {
    /// The code of the [`Problem`](super::Problem) that it makes.
    pub fn code(self) -> &'static str {
        match self {
            EnvNameError::Invalid => "env_name",
            EnvNameError::Ours | EnvNameError::Loading => "reserved_env",
        }
    }
}

/// Names that nobody may set, beside those that begin with `OCELOT_`.
pub(super) fn reserved_names() -> impl Iterator<Item = &'static str> {
    OURS.iter().chain(LOADING).copied()
}

/// Whether a user may set a variable of this name.
pub fn check_env_name(name: &str) -> Result<(), EnvNameError> {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let valid = name.len() <= LONGEST
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit());
    if !valid {
        return Err(EnvNameError::Invalid);
    }
    if OURS.contains(&name) || name.starts_with("OCELOT_") {
        return Err(EnvNameError::Ours);
    }
    if LOADING.contains(&name) {
        return Err(EnvNameError::Loading);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |name: &str, want| assert_eq!(check_env_name(name), want, "{name:?}");
        for good in ["PATH", "a", "_", "CI_X", "A1", "GIT_HASHES", "ENVIRONMENT", "ocelot"] {
            check(good, Ok(()));
        }
        for bad in ["", "-x", "A=B", "1A", "A B", "Ä", "A\0", "A.B", &"A".repeat(256)] {
            check(bad, Err(EnvNameError::Invalid));
        }
        for ours in ["CI", "OCELOT", "OCELOT_JOB", "OCELOT_ANYTHING", "BUILD_ID", "WORKSPACE", "GIT_HASH"] {
            check(ours, Err(EnvNameError::Ours));
        }
        for loading in ["LD_PRELOAD", "BASH_ENV", "ENV"] {
            check(loading, Err(EnvNameError::Loading));
        }
    }
}
