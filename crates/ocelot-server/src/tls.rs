//! The server's certificate and key, from files that are read again when they change: certificates end, and whoever
//! renews them should not have to restart anything.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::Tls;

/// How often it looks whether a file has changed; SIGHUP makes it look at once.
const LOOK: Duration = Duration::from_secs(2);

/// What is shown to clients now.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: Tls,
    current: Mutex<Arc<ServerConfig>>,
}

/// Tells one state of a file from another.
type Stamp = Option<(i64, i64, u64, u64)>;

impl Certificates {
    /// Reads the files.
    pub(crate) fn load(files: &Tls) -> Result<Arc<Certificates>> {
        let current = Mutex::new(Arc::new(read(files)?));
        Ok(Arc::new(Certificates { files: files.clone(), current }))
    }

    /// For a new connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
    }

    /// What cannot be read leaves everything as it is: an old certificate is better than none.
    fn read_again(&self) {
        match read(&self.files) {
            Ok(new) => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                tracing::info!(cert = %self.files.cert.display(), "the certificate was read again");
            }
            Err(error) => tracing::error!("the certificate stays as it was: {error:#}"),
        }
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

fn read(files: &Tls) -> Result<ServerConfig> {
    let (chain, key) = (chain(&files.cert)?, key(&files.key)?);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| misfit(files, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
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
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>().with_context(what)?;
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
        Err(error) => Err(error).with_context(|| format!("--tls-key: {} cannot be read", path.display())),
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
    }
}
