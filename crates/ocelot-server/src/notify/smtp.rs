//! The way of a mail to a server that speaks TLS: from the first byte (`smtps://`) or after STARTTLS (`smtp://`). Nothing of a
//! mail or a password goes over a line that is not encrypted. Whoever the server does not take keeps it from nobody else.

use std::error::Error as _;
use std::time::Duration;

use lettre::address::{Address, Envelope};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use ocelot_model::causes;
use ocelot_model::hidden::Hidden;
use url::{Host, Url};

use super::error::NotifyError;
use super::text::line;
use super::{App, reach};

const CONNECT: Duration = Duration::from_secs(10);
/// So long a server may think about its first words. One that waits for TLS never says any.
const GREETING: Duration = Duration::from_secs(20);
const WORDS_MAX: usize = 300;
/// It wants nothing more at all.
const CLOSING: u16 = 421;

/// A server of mail.
pub(super) struct MailHost {
    host: String,
    port: u16,
    /// TLS from the first byte.
    implicit: bool,
}

impl MailHost {
    pub(super) fn read(text: &str) -> Result<MailHost, String> {
        let words = || {
            "url: write smtp://HOST[:587] (STARTTLS) or smtps://HOST[:465], without user and path".to_owned()
        };
        let url = Url::parse(text).map_err(|_| words())?;
        let implicit = match url.scheme() {
            "smtps" => true,
            "smtp" => false,
            _ => return Err(words()),
        };
        let bare = url.username().is_empty() && url.password().is_none() && matches!(url.path(), "" | "/");
        let host = url.host_str().filter(|host| bare && !host.is_empty()).ok_or_else(words)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(MailHost { host, port: url.port().unwrap_or(if implicit { 465 } else { 587 }), implicit })
    }
}

/// A connection to a server that is encrypted.
pub(super) struct Session<'h> {
    connection: AsyncSmtpConnection,
    hidden: &'h Hidden,
}

/// Who got a mail.
pub(super) struct Taken {
    pub(super) answer: String,
    pub(super) by: Vec<Address>,
    /// Who did not, and the server's words.
    pub(super) refused: Vec<String>,
}

impl<'h> Session<'h> {
    pub(super) async fn open(
        app: &App,
        server: &MailHost,
        own: bool,
        hidden: &'h Hidden,
    ) -> Result<Session<'h>, NotifyError> {
        let MailHost { host, port, implicit } = server;
        let failed = |error: Error| failed(&error, hidden).at(host, *port);
        let addresses = reach::addresses(host, *port, own).await.map_err(NotifyError::Settings)?;
        let me = client_id(&app.public_url);
        let tls = tls(host).map_err(failed)?;
        let begin = implicit.then(|| tls.clone());
        let connect = AsyncSmtpConnection::connect_tokio1(&addresses[..], Some(CONNECT), &me, begin, None);
        // Before the whole sending is given up, so that these words are the ones that are said.
        let greeting = GREETING.min(app.config.patience.send / 2);
        let connection = match tokio::time::timeout(greeting, connect).await {
            Ok(Err(error)) if *implicit && speaks_no_tls(&error) => {
                return Err(NotifyError::Refused(format!(
                    "{host}:{port} does not begin with TLS, as smtps:// says: if it offers STARTTLS (as a rule at port 587), \
                     the credential's url is smtp://{host}:{port}"
                )));
            }
            Ok(connection) => connection.map_err(failed)?,
            Err(_) if *implicit => {
                return Err(NotifyError::Unavailable(format!("{host}:{port} does not answer")));
            }
            Err(_) => {
                return Err(NotifyError::Unavailable(format!(
                    "{host}:{port} does not say a word: if it speaks TLS from the first byte (as a rule at port 465), the \
                     credential's url is smtps://{host}:{port}"
                )));
            }
        };
        let mut session = Session { connection, hidden };
        if !implicit {
            if !session.connection.can_starttls() {
                session.connection.abort().await;
                let words = format!("{host} offers no STARTTLS, and nothing is sent to it in the clear");
                return Err(NotifyError::Refused(words));
            }
            session.connection.starttls(tls, &me).await.map_err(failed)?;
        }
        Ok(session)
    }

    pub(super) async fn sign_in(&mut self, user: &str, password: &str) -> Result<(), NotifyError> {
        let credentials = Credentials::new(user.to_owned(), password.to_owned());
        let signed = self.connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await;
        signed.map(drop).map_err(|error| failed(&error, self.hidden))
    }

    /// Gives the mail to those whom the server takes; an error when that is nobody.
    pub(super) async fn hand_over(mut self, envelope: &Envelope, mail: &[u8]) -> Result<Taken, NotifyError> {
        let handed = self.dialogue(envelope, mail).await;
        if handed.is_ok() {
            // It has the mail: what it says to a farewell changes nothing.
            let _ = self.connection.quit().await;
        } else {
            self.connection.abort().await;
        }
        handed
    }

    async fn dialogue(&mut self, envelope: &Envelope, mail: &[u8]) -> Result<Taken, NotifyError> {
        let hidden = self.hidden;
        let failed = |error: Error| failed(&error, hidden);
        let options = self.options(envelope, mail)?;
        self.connection.command(Mail::new(envelope.from().cloned(), options)).await.map_err(failed)?;
        let (mut by, mut refused, mut all_later) = (Vec::new(), Vec::new(), true);
        for address in envelope.to() {
            match self.connection.command(Rcpt::new(address.clone(), Vec::new())).await {
                Ok(_) => by.push(address.clone()),
                Err(error) if is_of_one(&error) => {
                    all_later &= error.is_transient();
                    refused.push(format!("{address}: {}", said(&error, hidden)));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        if by.is_empty() {
            let words = refused.join("; ");
            return Err(if all_later {
                NotifyError::Unavailable(words)
            } else {
                NotifyError::Refused(words)
            });
        }
        self.connection.command(Data).await.map_err(failed)?;
        let response = self.connection.message(mail).await.map_err(failed)?;
        let answer: Vec<&str> = response.message().collect();
        let answer = hidden.hide(&format!("{} {}", response.code(), answer.join(" ")));
        Ok(Taken { answer: line(&answer, WORDS_MAX), by, refused })
    }

    /// What the server has to know of a mail that is not plain ASCII.
    fn options(&self, envelope: &Envelope, mail: &[u8]) -> Result<Vec<MailParameter>, NotifyError> {
        let server = self.connection.server_info();
        let wants = |needed: bool, extension: Extension, option: MailParameter, what: &str| {
            if needed && !server.supports_feature(extension) {
                return Err(NotifyError::Refused(format!("the server takes no {what}")));
            }
            Ok(needed.then_some(option))
        };
        let names = wants(
            !envelope.to().iter().chain(envelope.from()).all(|one| AsRef::<str>::as_ref(one).is_ascii()),
            Extension::SmtpUtfEight,
            MailParameter::SmtpUtfEight,
            "addresses with other letters than a to z (SMTPUTF8)",
        )?;
        let body = MailParameter::Body(MailBodyParameter::EightBitMime);
        let text =
            wants(!mail.is_ascii(), Extension::EightBitMime, body, "other letters than a to z (8BITMIME)")?;
        Ok(names.into_iter().chain(text).collect())
    }
}

/// The server speaks of one address, and goes on.
fn is_of_one(error: &Error) -> bool {
    let closes = error.status().is_some_and(|code| u16::from(code) == CLOSING);
    (error.is_permanent() || error.is_transient()) && !closes
}

/// `550 5.1.1 no such user`.
fn said(error: &Error, hidden: &Hidden) -> String {
    let words = error.source().map(ToString::to_string).unwrap_or_default();
    let code = error.status().map(|code| code.to_string()).unwrap_or_default();
    line(&hidden.hide(&format!("{code} {words}")), WORDS_MAX)
}

/// The authorities of the machine, and those that everybody believes.
fn tls(host: &str) -> Result<TlsParameters, Error> {
    let mut builder = TlsParameters::builder(host.to_owned());
    for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        builder = builder.add_root_certificate(Certificate::from_der(der.to_vec())?);
    }
    builder.build()
}

/// What this server calls itself.
fn client_id(public_url: &str) -> ClientId {
    match Url::parse(public_url).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => ClientId::Domain(name.to_owned()),
        Some(Host::Ipv4(address)) => ClientId::Ipv4(address),
        Some(Host::Ipv6(address)) => ClientId::Ipv6(address),
        None => ClientId::Ipv4(std::net::Ipv4Addr::LOCALHOST),
    }
}

/// Its first bytes are none of TLS.
fn speaks_no_tls(error: &Error) -> bool {
    causes::whole(error).contains("InvalidContentType")
}

fn failed(error: &Error, hidden: &Hidden) -> NotifyError {
    let words = line(&hidden.hide(&causes::whole(error)), WORDS_MAX);
    if error.is_permanent() || error.is_client() {
        NotifyError::Refused(words)
    } else {
        NotifyError::Unavailable(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        let check = |text: &str, want: Option<(&str, u16, bool)>| {
            let got = MailHost::read(text).ok();
            let got = got.as_ref().map(|it| (it.host.as_str(), it.port, it.implicit));
            assert_eq!(got, want, "{text}");
        };
        check("smtp://mail.example.org", Some(("mail.example.org", 587, false)));
        check("smtps://mail.example.org", Some(("mail.example.org", 465, true)));
        check("smtps://[::1]:1465", Some(("::1", 1465, true)));
        for bad in ["mail.example.org", "https://h", "smtp://", "smtp://me:pw@h", "smtp://h/path"] {
            check(bad, None);
            assert!(!MailHost::read(bad).err().unwrap_or_default().contains("pw"));
        }
    }
}
