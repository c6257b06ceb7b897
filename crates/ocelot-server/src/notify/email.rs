//! A mail, through a server that speaks TLS: from the first byte (`smtps://`) or after STARTTLS (`smtp://`). Nothing of a mail
//! or a password goes over a line that is not encrypted.

use std::time::Duration;

use lettre::Message as Mail;
use lettre::address::{Address, Envelope};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use ocelot_store::Secret;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use super::error::NotifyError;
use super::reach;
use super::text::{Message, line};
use super::{App, Sent};

const CONNECT: Duration = Duration::from_secs(10);
const SUBJECT_MAX: usize = 200;
const WORDS_MAX: usize = 300;

/// Through which server.
pub(super) struct Through<'t> {
    pub(super) credential: &'t Secret,
    pub(super) password: &'t SecretString,
    /// It may stand in our own network.
    pub(super) own: bool,
}

/// A server of mail.
struct MailHost {
    host: String,
    port: u16,
    /// TLS from the first byte.
    implicit: bool,
}

impl MailHost {
    fn read(text: &str) -> Result<MailHost, String> {
        let words = || format!("url: {text} is neither smtp://HOST[:587] (STARTTLS) nor smtps://HOST[:465]");
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

pub(super) async fn send(
    app: &App,
    through: &Through<'_>,
    to: &[String],
    (message, id): (&Message, &str),
) -> Result<Sent, NotifyError> {
    let fields = &through.credential.fields;
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let server = MailHost::read(field("url")).map_err(NotifyError::Settings)?;
    let (mail, envelope) = mail(field("from"), to, message, id).map_err(NotifyError::Settings)?;
    let me = client_id(&app.public_url);
    let mut connection = connect(&server, through.own, &me).await?;
    if let Some(user) = fields.get("username") {
        let password = through.password.expose_secret().to_owned();
        let credentials = Credentials::new(user.clone(), password);
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(failed)?;
    }
    let response = connection.send(&envelope, &mail.formatted()).await.map_err(failed)?;
    // It has the mail: what it says to a farewell changes nothing.
    let _ = connection.quit().await;
    let answer: Vec<&str> = response.message().collect();
    let answer = line(&format!("{} {}", response.code(), answer.join(" ")), WORDS_MAX);
    let what = format!("To: {}\nSubject: {}\n\n{}", to.join(", "), subject(message), plain(message));
    Ok(Sent { what, answer })
}

async fn connect(server: &MailHost, own: bool, me: &ClientId) -> Result<AsyncSmtpConnection, NotifyError> {
    let addresses = reach::addresses(&server.host, server.port, own).await.map_err(NotifyError::Settings)?;
    let tls = tls(&server.host).map_err(failed)?;
    let begin = server.implicit.then(|| tls.clone());
    let connection =
        AsyncSmtpConnection::connect_tokio1(&addresses[..], Some(CONNECT), me, begin, None).await;
    let mut connection = connection.map_err(failed)?;
    if !server.implicit {
        if !connection.can_starttls() {
            connection.abort().await;
            let words = format!("{} offers no STARTTLS, and nothing is sent to it in the clear", server.host);
            return Err(NotifyError::Refused(words));
        }
        connection.starttls(tls, me).await.map_err(failed)?;
    }
    Ok(connection)
}

/// The authorities of the machine, and those that everybody believes.
fn tls(host: &str) -> Result<TlsParameters, lettre::transport::smtp::Error> {
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

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn failed(error: lettre::transport::smtp::Error) -> NotifyError {
    let mut words = error.to_string();
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    let words = line(&words, WORDS_MAX);
    if error.is_permanent() || error.is_client() {
        NotifyError::Refused(words)
    } else {
        NotifyError::Unavailable(words)
    }
}

/// The mail, and for whom it is.
fn mail(from: &str, to: &[String], message: &Message, id: &str) -> Result<(Mail, Envelope), String> {
    let from: Mailbox =
        from.parse().map_err(|error| format!("from: {from} is no address of mail: {error}"))?;
    if to.is_empty() {
        return Err("to: neither the rule nor the credential says to whom".to_owned());
    }
    let mut builder = Mail::builder()
        .from(from.clone())
        .subject(subject(message))
        .date_now()
        .message_id(Some(format!("<{id}@ocelot>")))
        // Nobody's holiday answers it.
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Ocelot-Repo", &line(&message.repo, SUBJECT_MAX)));
    let mut people: Vec<Address> = Vec::new();
    for one in to {
        let mailbox: Mailbox =
            one.parse().map_err(|error| format!("to: {one} is no address of mail: {error}"))?;
        people.push(mailbox.email.clone());
        builder = builder.to(mailbox);
    }
    let parts = MultiPart::alternative_plain_html(plain(message), html(message));
    let mail = builder.multipart(parts).map_err(|error| format!("no mail can be made: {error}"))?;
    let envelope = Envelope::new(Some(from.email), people).map_err(|error| error.to_string())?;
    Ok((mail, envelope))
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// One line, whatever stands in names.
fn subject(message: &Message) -> String {
    line(&format!("[{}] {}", message.repo, message.title), SUBJECT_MAX)
}

fn plain(message: &Message) -> String {
    let mut text = format!("{}\n", message.title);
    if let Some(reason) = &message.reason {
        text = format!("{text}\n{reason}\n");
    }
    for (name, value) in &message.facts {
        text = format!("{text}\n{name}: {value}");
    }
    text.push('\n');
    for stage in &message.stages {
        text = format!("{text}\n{stage}");
    }
    format!("{text}\n\n{}\n", message.link)
}

fn html(message: &Message) -> String {
    let row = |(name, value): &(&str, String)| {
        format!("<tr><th align=\"left\">{}</th><td>{}</td></tr>", escape(name), escape(value))
    };
    let facts: String = message.facts.iter().map(row).collect();
    let reason = message.reason.as_deref().map(|reason| format!("<p>{}</p>", escape(reason)));
    let stages: Vec<String> = message.stages.iter().map(|one| escape(&one.to_string())).collect();
    let link = escape(&message.link);
    format!(
        "<!DOCTYPE html><html><body><h2><a href=\"{link}\">{}</a></h2>{}<table>{facts}</table><pre>{}</pre></body></html>",
        escape(&message.title),
        reason.unwrap_or_default(),
        stages.join("\n")
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// Why a credential for mail can never work; its other fields were checked.
pub(super) fn check(url: &str, from: &str, to: Option<&str>) -> Result<(), String> {
    MailHost::read(url)?;
    from.parse::<Mailbox>().map_err(|error| format!("from: {from} is no address of mail: {error}"))?;
    for one in to.map(ocelot_model::notify::mail_list).unwrap_or_default() {
        one.parse::<Mailbox>().map_err(|error| format!("to: {one} is no address of mail: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::text::tests::sample;

    fn headers_of(message: &Message) -> String {
        let (mail, _) =
            mail("Ocelot <ci@example.org>", &["ann@example.org".to_owned()], message, "m1").unwrap();
        let text = String::from_utf8(mail.formatted()).unwrap();
        text.split("\r\n\r\n").next().unwrap().to_owned()
    }

    #[test]
    fn no_name_makes_a_header() {
        let mut message = sample();
        message.repo = "git/a\r\nBcc: mallory@example.org\r\n\r\nbody".to_owned();
        message.title = "Build 12\nX-Evil: yes".to_owned();
        let headers = headers_of(&message);
        let names: Vec<&str> = headers
            .lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .filter_map(|line| line.split(':').next())
            .collect();
        assert!(!names.contains(&"Bcc") && !names.contains(&"X-Evil"), "{headers}");
        assert!(names.contains(&"Auto-Submitted") && names.contains(&"Message-ID"), "{headers}");
    }

    #[test]
    fn nothing_of_a_commit_is_html() {
        let mut message = sample();
        let hostile = "<script>alert('1')</script> \" onload=\"x";
        message.facts.push(("Commit", hostile.to_owned()));
        message.reason = Some(hostile.to_owned());
        message.stages[1].why = Some(hostile.to_owned());
        message.stages[1].new_lines = vec![hostile.to_owned()];
        message.title = hostile.to_owned();
        let html = html(&message);
        assert!(!html.contains("<script") && !html.contains("onload=\""), "{html}");
        assert_eq!(html.matches("&lt;script&gt;").count(), 5);
    }

    #[test]
    fn what_a_mail_says() {
        let mut message = sample();
        message.stages[1].new_lines = vec!["assertion failed".to_owned()];
        let text = plain(&message);
        for part in [
            "Build 12 failed\n",
            "Repository: github/acme/app",
            "[test] failed: exit code 1\n    assertion failed\n",
            "[deploy] skipped",
            "https://ci.example/builds/12",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(subject(&sample()), "[github/acme/app] Build 12 failed");
    }

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
        }
    }
}
