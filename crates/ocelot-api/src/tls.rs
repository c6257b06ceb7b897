//! Trust in a server's certificate, the same for the worker and the commands: which authorities are believed, and what
//! to do when a certificate is refused. There is no way to believe any.

use std::error::Error;
use std::path::Path;

use ocelot_model::causes;
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};

/// The certificate authorities in a PEM file. An error is a sentence for people.
pub fn read_ca(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| format!("the CA file {shown} cannot be read: {error}"))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(text),
        Ok(_) => Err(format!(
            "the CA file {shown} has no certificate in it; it must begin with -----BEGIN CERTIFICATE-----"
        )),
        Err(error) => Err(format!("the CA file {shown} cannot be read: {}", pem_words(&error))),
    }
}

/// What is wrong with a PEM file, in words.
pub fn pem_words(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it is cut off: a line -----END … is missing".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a line -----BEGIN … in it is damaged".to_owned(),
        pem::Error::Base64Decode(_) => "what stands between its lines BEGIN and END is damaged".to_owned(),
        other => other.to_string(),
    }
}

/// What to do about a connection that failed for its TLS; `None` when it failed for something else.
pub fn advice(error: &(dyn Error + 'static)) -> Option<String> {
    Some(match find(error)? {
        rustls::Error::InvalidCertificate(fault) => about_certificate(fault),
        rustls::Error::InvalidMessage(_) => {
            "the other side does not speak TLS: its address may begin with http://".to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("the other side ended the handshake: {alert:?}"),
        _ => return None,
    })
}

fn about_certificate(fault: &CertificateError) -> String {
    match fault {
        CertificateError::UnknownIssuer => {
            "no authority that is trusted here has signed the server's certificate: give the certificate of the one that \
             has with --ca-cert FILE (OCELOT_CA_CERT)"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it there (the server reads its file again by itself), or set \
             this machine's clock right"
                .to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: is this machine's clock right?".to_owned()
        }
        CertificateError::NotValidForName => NAMES.to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("{NAMES}; it is for {}", presented.join(", "))
        }
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server shows the certificate of an authority itself: make one for the server that this authority has \
             signed"
                .to_owned()
        }
        other => format!("the server's certificate is refused: {other}"),
    }
}

const NAMES: &str = "the server's certificate is for other names than the one in the address: use one of them, or make a \
                     certificate for this one";

/// The fault of TLS below an error. `io::Error` hides what it was made of from `source`.
fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    causes::all(error).find_map(|at| {
        let inner = at.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        at.downcast_ref::<rustls::Error>().or_else(|| inner.and_then(|inner| find(inner)))
    })
}
