//! Who this worker is to the server: a token that others may have too, or a secret of its own.
//!
//! The secret is made here and is on the disk before the server hears of it. So whenever the worker is killed, it
//! asks again with the same secret, and an enrolment token loses one use for it, not two.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// A token that is for enrolment begins so.
const ENROLMENT: &str = "oce_";
/// A worker's own secret is this and 64 hexadecimal digits.
const OWN: &str = "ocw_";
/// A file with the beginning of a hash.
const KNOWN_BY: &str = "known-by";

/// What a worker comes with.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Goes into every call.
    pub(crate) secret: SecretString,
    /// The secret is the worker's own.
    pub(crate) own: bool,
    /// Makes the own secret known to the server when it is not.
    pub(crate) enrolment: Option<SecretString>,
}

/// Where the worker's own secret is.
pub fn file(data: &Path) -> PathBuf {
    data.join("identity")
}

/// What a worker with this folder comes with. A token that is not for enrolment goes before a secret of its own; without
/// any token it must have one.
pub(crate) fn of(data: &Path, token: &SecretString) -> io::Result<Option<Identity>> {
    let text = token.expose_secret();
    if !text.is_empty() && !text.starts_with(ENROLMENT) {
        return Ok(Some(Identity { secret: token.clone(), own: false, enrolment: None }));
    }
    let enrolment = (!text.is_empty()).then(|| token.clone());
    let secret = match (read(data)?, &enrolment) {
        (Some(secret), _) => secret,
        (None, Some(_)) => make(data)?,
        (None, None) => return Ok(None),
    };
    Ok(Some(Identity { secret, own: true, enrolment }))
}

/// A name for this process that no other one has.
pub(crate) fn process() -> io::Result<String> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

/// What this worker came with when the server last took it in, in words that say nothing of it.
fn mark(identity: &Identity) -> String {
    let hash = Sha256::digest(identity.secret.expose_secret());
    hash.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// False when the server knew the worker with this folder by something else: then it would take away what that one runs.
pub(crate) fn is_as_before(data: &Path, identity: &Identity) -> bool {
    fs::read_to_string(data.join(KNOWN_BY)).map_or(true, |known| known.trim() == mark(identity))
}

/// The server has taken the worker in.
pub(crate) fn remember(data: &Path, identity: &Identity) -> io::Result<()> {
    if data.join(KNOWN_BY).exists() && is_as_before(data, identity) {
        return Ok(());
    }
    fs::write(data.join(KNOWN_BY), mark(identity))
}

fn read(data: &Path) -> io::Result<Option<SecretString>> {
    match fs::read_to_string(file(data)) {
        Ok(text) if is_secret(text.trim()) => Ok(Some(text.trim().into())),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is damaged; delete it, and the worker enrols again", file(data).display()),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_secret(text: &str) -> bool {
    let digits = text.strip_prefix(OWN).unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whole or not at all, durable, and for this user alone.
fn make(data: &Path) -> io::Result<SecretString> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let secret = bytes.iter().fold(OWN.to_owned(), |text, byte| text + &format!("{byte:02x}"));
    let new = data.join("identity.new");
    crate::folder::remove_if_there(&new)?;
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(out, "{secret}")?;
    out.sync_all()?;
    fs::rename(&new, file(data))?;
    File::open(data)?.sync_all()?;
    Ok(secret.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn secret(data: &Path, token: &str) -> Option<(String, bool, bool)> {
        let identity = of(data, &token.to_owned().into()).unwrap()?;
        Some((identity.secret.expose_secret().to_owned(), identity.own, identity.enrolment.is_some()))
    }

    #[test]
    fn a_secret_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        assert_eq!(secret(data, ""), None);
        assert_eq!(secret(data, "ocl_a"), Some(("ocl_a".into(), false, false)));
        assert!(!file(data).exists());
        let (own, ..) = secret(data, "oce_a").unwrap();
        assert!(own.starts_with(OWN) && own.len() == 68, "{own}");
        assert_eq!(fs::metadata(file(data)).unwrap().permissions().mode() & 0o777, 0o600);
        // Also when the token is another one, or gone.
        assert_eq!(secret(data, "oce_b"), Some((own.clone(), true, true)));
        assert_eq!(secret(data, ""), Some((own, true, false)));
        assert_eq!(secret(data, "ocl_a"), Some(("ocl_a".into(), false, false)));
    }

    #[test]
    fn a_damaged_secret_is_said_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "ocw_", &format!("ocw_{}\nocw_{}", "a".repeat(64), "b".repeat(64))] {
            fs::write(file(dir.path()), text).unwrap();
            let error = of(dir.path(), &"oce_a".to_owned().into()).unwrap_err().to_string();
            assert!(error.contains("delete it"), "{error}");
            assert_eq!(fs::read_to_string(file(dir.path())).unwrap(), text);
        }
    }
}
