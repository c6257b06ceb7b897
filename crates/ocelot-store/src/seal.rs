//! Secrets are sealed before they go into the database, with a key that lies in a file beside it and in no backup.
//!
//! Each sealed value is bound to the place it was made for, so that one cannot be put in another's place. The file may hold
//! several keys: the first one seals, all of them open.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::SecretSlice;
use sha2::{Digest as _, Sha256};

use crate::{StoreError, secret};

/// Stands before every sealed value, for another form some day.
const FORM: u8 = 1;
const ID: usize = 4;
const NONCE: usize = 24;

/// The keys of a server.
pub(crate) struct Keys(Vec<Key>);

struct Key {
    id: [u8; ID],
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| secret::hex(&key.id))).finish()
    }
}

impl Key {
    fn new(line: &str) -> Option<Key> {
        let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(line).ok()?.try_into().ok()?;
        let digest = Sha256::digest(bytes);
        let id = digest.first_chunk::<ID>().copied().unwrap_or_default();
        Some(Key { id, cipher: XChaCha20Poly1305::new(&bytes.into()) })
    }
}

impl Keys {
    /// The keys in a file; `None` when there is no file.
    pub(crate) fn read(file: &Path) -> Result<Option<Keys>, StoreError> {
        let failed = |words: String| StoreError::Conflict(format!("{}: {words}", file.display()));
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let open =
            fs::metadata(file).map_err(|error| failed(error.to_string()))?.permissions().mode() & 0o077;
        if open != 0 {
            return Err(failed("others may read the key of all secrets; run chmod 600 on it".to_owned()));
        }
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let words = format!("line {} is no key (43 letters, digits, `-` and `_`)", number + 1);
            keys.push(Key::new(line.trim()).ok_or_else(|| failed(words))?);
        }
        if keys.is_empty() {
            return Err(failed("it holds no key".to_owned()));
        }
        Ok(Some(Keys(keys)))
    }

    /// Makes the file, with a new key. Nothing is there before.
    pub(crate) fn make(file: &Path) -> Result<(), StoreError> {
        let failed = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", file.display()));
        let mut out =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
        writeln!(out, "{}", secret::random_text()).and_then(|()| out.sync_all()).map_err(failed)
    }

    /// Puts a new key before those in the file: from then on it seals, and the others open.
    pub(crate) fn add(file: &Path) -> Result<(), StoreError> {
        change(file, |lines| format!("{}\n{lines}", secret::random_text()))
    }

    /// Leaves only the key that seals in the file.
    pub(crate) fn drop_old(file: &Path) -> Result<(), StoreError> {
        change(file, |lines| {
            format!("{}\n", lines.lines().find(|line| !line.trim().is_empty()).unwrap_or_default())
        })
    }

    /// Whether the value was sealed with the key that seals now.
    pub(crate) fn is_newest(&self, sealed: &[u8]) -> bool {
        self.0.first().is_some_and(|key| sealed.get(1..=ID) == Some(&key.id[..]))
    }

    /// Names of the keys, first the one that seals.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.0.iter().map(|key| secret::hex(&key.id)).collect()
    }

    /// Seals `plain` for `place`.
    pub(crate) fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let key = self.0.first().ok_or_else(|| StoreError::Corrupt("no key for secrets".to_owned()))?;
        let nonce = secret::random::<NONCE>();
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let sealed = key
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| StoreError::Corrupt("a secret is too long to be sealed".to_owned()))?;
        Ok([&[FORM], &key.id[..], &nonce, &sealed].concat())
    }

    /// What was sealed for `place`.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Result<SecretSlice<u8>, StoreError> {
        let broken = || StoreError::Corrupt(format!("the sealed {place}"));
        let (&form, rest) = sealed.split_first().ok_or_else(broken)?;
        let (id, rest) = rest.split_first_chunk::<ID>().ok_or_else(broken)?;
        let (&nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or_else(broken)?;
        if form != FORM {
            return Err(broken());
        }
        let key = self.0.iter().find(|key| key.id == *id).ok_or_else(|| {
            StoreError::Conflict(format!(
                "the {place} is sealed with the key {}, which is not here",
                secret::hex(id)
            ))
        })?;
        let payload = Payload { msg: rest, aad: place.as_bytes() };
        let plain = key.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| broken())?;
        Ok(plain.into())
    }
}

/// Writes the file anew: whoever reads it, and a machine that stops, finds the one or the other.
fn change(file: &Path, lines: impl FnOnce(&str) -> String) -> Result<(), StoreError> {
    let changed = || {
        let text = lines(&fs::read_to_string(file)?);
        let new = file.with_extension("new");
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&new, file)?;
        fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    changed().map_err(|error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn what_is_sealed_opens_only_in_its_place_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret-key");
        assert!(Keys::read(&file).unwrap().is_none());
        Keys::make(&file).unwrap();
        assert!(Keys::make(&file).is_err());
        let keys = Keys::read(&file).unwrap().unwrap();
        let sealed = keys.seal("secret 1", b"hunter2").unwrap();
        assert_eq!(keys.open("secret 1", &sealed).unwrap().expose_secret(), b"hunter2");
        assert!(keys.open("secret 2", &sealed).is_err());
        assert_ne!(sealed, keys.seal("secret 1", b"hunter2").unwrap());
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 1;
            assert!(keys.open("secret 1", &other).is_err(), "byte {at}");
            assert!(keys.open("secret 1", &sealed[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn an_older_key_opens_what_it_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret-key");
        Keys::make(&file).unwrap();
        let old = Keys::read(&file).unwrap().unwrap();
        let sealed = old.seal("secret 1", b"hunter2").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{}\n{text}", secret::random_text())).unwrap();
        let both = Keys::read(&file).unwrap().unwrap();
        assert_eq!(both.open("secret 1", &sealed).unwrap().expose_secret(), b"hunter2");
        assert!(old.open("secret 1", &both.seal("secret 1", b"x").unwrap()).is_err());
    }

    #[test]
    fn bad_files_are_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret-key");
        let check = |text: &str, mode: u32, want: &str| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let error = Keys::read(&file).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        };
        check("\n", 0o600, "holds no key");
        check(&format!("{}\nabc\n", secret::random_text()), 0o600, "line 2 is no key");
        check(&secret::random_text(), 0o644, "chmod 600");
    }
}
