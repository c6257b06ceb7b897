//! The server's certificate and key, from files that are read again when they change: certificates end, and whoever
//! renews them should not have to restart anything.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use ocelot_api::tls::pem_words;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::Tls;

/// How often it looks whether a file has changed; SIGHUP makes it look at once.
const LOOK: Duration = Duration::from_secs(2);

/// What is shown to clients now.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: Tls,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// When clients believe it.
    from: Timestamp,
    until: Timestamp,
}

impl Current {
    /// What is wrong with its time, if anything.
    fn fault(&self, now: Timestamp) -> Option<String> {
        if now > self.until {
            Some(format!("it ended on {}", self.until))
        } else if now < self.from {
            Some(format!("it begins only on {}; is this machine's clock right?", self.from))
        } else {
            None
        }
    }
}

/// Tells one state of a file from another.
type Stamp = Option<(i64, i64, u64, u64)>;

impl Certificates {
    /// Reads the files.
    pub(crate) fn load(files: &Tls) -> Result<Arc<Certificates>> {
        let current = read(files)?;
        if let Some(fault) = current.fault(Timestamp::now()) {
            tracing::error!(cert = %files.cert.display(), "clients will refuse the certificate: {fault}");
        }
        Ok(Arc::new(Certificates { files: files.clone(), current: Mutex::new(current) }))
    }

    /// For a new connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current.config))
    }

    /// What cannot be read, or would be refused by clients, leaves everything as it is: a certificate that still holds is
    /// better.
    fn read_again(&self) {
        let cert = self.files.cert.display();
        let new = match read(&self.files) {
            Ok(new) => new,
            Err(error) => return tracing::error!("the certificate stays as it was: {error:#}"),
        };
        let now = Timestamp::now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match new.fault(now) {
            Some(fault) if current.fault(now).is_none() => {
                let until = current.until;
                tracing::error!(
                    "the certificate stays as it was, good until {until}: clients would refuse the one in {cert}: {fault}"
                );
                return;
            }
            Some(fault) => tracing::error!("clients will refuse the certificate in {cert}: {fault}"),
            None => {
                tracing::info!("the certificate in {cert} was read again, it is good until {}", new.until);
            }
        }
        *current = new;
    }

    fn stamps(&self) -> [Stamp; 2] {
        [stamp(&self.files.cert), stamp(&self.files.key)]
    }
}

/// Reads the files again whenever they have changed. Runs until the server stops.
pub(crate) async fn watch(certificates: Arc<Certificates>, shutdown: CancellationToken) -> Result<()> {
    let mut asked = signal(SignalKind::hangup())?;
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = certificates.stamps();
    loop {
        let now = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = asked.recv() => true,
            _ = look.tick() => false,
        };
        let stamps = certificates.stamps();
        if now || stamps != seen {
            seen = stamps;
            certificates.read_again();
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let about = std::fs::metadata(path).ok()?;
    Some((about.mtime(), about.mtime_nsec(), about.len(), about.ino()))
}

fn read(files: &Tls) -> Result<Current> {
    let (chain, key) = (chain(&files.cert)?, key(&files.key)?);
    let (from, until) = validity(&files.cert, chain.first())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| misfit(files, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Current { config: Arc::new(config), from, until })
}

/// When the server's own certificate holds. One that names no server is refused: so do all clients.
fn validity(path: &Path, own: Option<&CertificateDer<'_>>) -> Result<(Timestamp, Timestamp)> {
    let read = own.and_then(|own| X509Certificate::from_der(own).ok());
    let Some((_, own)) = read else {
        bail!("--tls-cert: the first certificate in {} is damaged", path.display());
    };
    if !own.subject_alternative_name().is_ok_and(|names| names.is_some()) {
        bail!(
            "--tls-cert: the first certificate in {} has no name in it (subjectAltName), so no client would believe it; \
             the server's own certificate comes first there, made for the name in its address",
            path.display()
        );
    }
    let time = |seconds: i64| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    let validity = own.validity();
    Ok((time(validity.not_before.timestamp()), time(validity.not_after.timestamp())))
}

fn misfit(files: &Tls, error: &rustls::Error) -> anyhow::Error {
    let (cert, key) = (files.cert.display(), files.key.display());
    match error {
        rustls::Error::InconsistentKeys(_) => anyhow::anyhow!(
            "--tls-key: {key} is not the key of the first certificate in {cert}; the server's own certificate comes first \
             there, then those that signed it"
        ),
        other => anyhow::anyhow!("--tls-cert: {cert} and {key} cannot be used: {other}"),
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let what = || format!("--tls-cert: {} cannot be read", path.display());
    let text = std::fs::read(path).with_context(what)?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| anyhow::anyhow!(pem_words(&error))).with_context(what)?;
    if chain.is_empty() {
        bail!(
            "--tls-cert: {} has no certificate in it; it must begin with -----BEGIN CERTIFICATE-----",
            path.display()
        );
    }
    Ok(chain)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let text =
        std::fs::read(path).with_context(|| format!("--tls-key: {} cannot be read", path.display()))?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => bail!(
            "--tls-key: {} has no private key in it that can be used. One with a password cannot be: \
             `openssl pkey -in FILE -out NEW` takes it away",
            path.display()
        ),
        Err(error) => bail!("--tls-key: {} cannot be read: {}", path.display(), pem_words(&error)),
    }
}

#[cfg(test)]
mod tests {
    use ocelot_testkit::Authority;

    use super::*;

    #[test]
    fn files_that_cannot_be_used_change_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Tls { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let write = |cert: &str, key: &str| {
            std::fs::write(&files.cert, cert).expect("a file");
            std::fs::write(&files.key, key).expect("a file");
        };
        let authority = Authority::new("ours");
        let (cert, key) = authority.sign(&["localhost"]);
        write(&cert, &key);
        let certificates = Certificates::load(&files).expect("good files");
        let shown = || Arc::clone(certificates.acceptor().config());
        let first = shown();
        // A renewal that is half done, one that went wrong, and one that is whole.
        let (new, new_key) = authority.sign(&["localhost"]);
        for (cert, key, same) in
            [(&new, &key, true), (&String::new(), &new_key, true), (&new, &new_key, false)]
        {
            write(cert, key);
            certificates.read_again();
            assert_eq!(Arc::ptr_eq(&first, &shown()), same, "{cert}");
        }
        // One that has ended does not replace a good one; when the one that is shown has ended too, it does.
        let second = shown();
        let (ended, key) = authority.sign_expired(&["localhost"]);
        write(&ended, &key);
        certificates.read_again();
        assert!(Arc::ptr_eq(&second, &shown()));
        let certificates =
            Certificates::load(&files).expect("one that has ended is shown when there is no other");
        let (other, key) = authority.sign_expired(&["localhost"]);
        let before = Arc::clone(certificates.acceptor().config());
        write(&other, &key);
        certificates.read_again();
        assert!(!Arc::ptr_eq(&before, certificates.acceptor().config()));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Tls { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let (cert, key) = Authority::new("ours").sign(&["localhost"]);
        let (nameless, other) = Authority::new("ours").sign(&[]);
        let check = |cert: &str, key: &str, want: &str| {
            std::fs::write(&files.cert, cert).expect("a file");
            std::fs::write(&files.key, key).expect("a file");
            let error = format!("{:#}", read(&files).expect_err("they are of no use"));
            assert!(error.contains(want), "{error}");
        };
        check(&cert[..cert.len() / 2], &key, "cert.pem cannot be read: it is cut off");
        check(&cert, &key[..key.len() / 2], "key.pem cannot be read: it is cut off");
        check(&cert.replacen("MII", "!!!", 1), &key, "is damaged");
        check(&nameless, &other, "has no name in it");
    }
}
