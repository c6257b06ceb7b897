//! A mail: what it says, and to whom. `smtp` takes it to its server.

use lettre::Message as Mail;
use lettre::address::{Address, Envelope};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use ocelot_model::hidden::Hidden;
use secrecy::{ExposeSecret as _, SecretString};

use super::error::NotifyError;
use super::smtp::{MailHost, Session};
use super::text::{Message, line};
use super::{App, Letter, Partly, Sent};

const SUBJECT_MAX: usize = 200;

pub(super) async fn send(
    app: &App,
    letter: &Letter<'_>,
    to: &[String],
    password: &SecretString,
    hidden: &Hidden,
) -> Result<Sent, NotifyError> {
    let fields = &letter.credential.fields;
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let host = MailHost::read(field("url")).map_err(NotifyError::Settings)?;
    let people = people(to).map_err(NotifyError::Settings)?;
    let rest: Vec<Mailbox> =
        people.into_iter().filter(|one| !letter.told.contains(&one.email.to_string())).collect();
    if rest.is_empty() {
        return Ok(Sent::new(String::new(), "everybody has it".to_owned()));
    }
    let message = letter.message;
    let (mail, envelope) = mail(field("from"), &rest, message, letter.id).map_err(NotifyError::Settings)?;
    let mut session = Session::open(app, &host, letter.credential.by_admin, hidden).await?;
    if let Some(user) = fields.get("username") {
        session.sign_in(user, password.expose_secret()).await?;
    }
    let taken = session.hand_over(&envelope, &mail.formatted()).await?;
    let names: Vec<String> = rest.iter().map(Mailbox::to_string).collect();
    let what = format!("To: {}\nSubject: {}\n\n{}", names.join(", "), subject(message), plain(message));
    let refused = taken.refused;
    let partly = (!refused.is_empty()).then(|| Partly {
        told: letter.told.iter().cloned().chain(taken.by.iter().map(Address::to_string)).collect(),
        words: refused.join("; "),
    });
    Ok(Sent { what, answer: taken.answer, partly })
}

/// The addresses, each of them once.
fn people(to: &[String]) -> Result<Vec<Mailbox>, String> {
    let mut people: Vec<Mailbox> = Vec::new();
    for one in to {
        let mailbox: Mailbox =
            one.parse().map_err(|error| format!("to: {one} is no address of mail: {error}"))?;
        if !people.iter().any(|other| other.email == mailbox.email) {
            people.push(mailbox);
        }
    }
    if people.is_empty() {
        return Err("to: neither the rule nor the credential says to whom".to_owned());
    }
    Ok(people)
}

/// The mail, and for whom it is.
fn mail(from: &str, to: &[Mailbox], message: &Message, id: &str) -> Result<(Mail, Envelope), String> {
    let from: Mailbox =
        from.parse().map_err(|error| format!("from: {from} is no address of mail: {error}"))?;
    let mut builder = Mail::builder()
        .from(from.clone())
        .subject(subject(message))
        .date_now()
        .message_id(Some(format!("<{id}@ocelot>")))
        // Nobody's holiday answers it.
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Ocelot-Repo", &line(&message.repo, SUBJECT_MAX)));
    for one in to {
        builder = builder.to(one.clone());
    }
    let people: Vec<Address> = to.iter().map(|one| one.email.clone()).collect();
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
    for line in message.lines() {
        text = format!("{text}\n{line}");
    }
    format!("{text}\n\n{}\n", message.link)
}

fn html(message: &Message) -> String {
    let row = |(name, value): &(&str, String)| {
        format!("<tr><th align=\"left\">{}</th><td>{}</td></tr>", escape(name), escape(value))
    };
    let facts: String = message.facts.iter().map(row).collect();
    let reason = message.reason.as_deref().map(|reason| format!("<p>{}</p>", escape(reason)));
    let stages: Vec<String> = message.lines().map(|line| escape(&line)).collect();
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
            mail("Ocelot <ci@example.org>", &["ann@example.org".parse().unwrap()], message, "m1").unwrap();
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
        message.more = 7;
        assert!(plain(&message).contains("[deploy] skipped\nand 7 more\n"), "{}", plain(&message));
        assert!(html(&message).contains("[deploy] skipped\nand 7 more</pre>"));
    }

    #[test]
    fn nobody_is_told_twice() {
        let to = ["Ann <ann@example.org>", "bob@example.org", "ann@example.org"].map(str::to_owned);
        let names: Vec<String> = people(&to).unwrap().iter().map(Mailbox::to_string).collect();
        assert_eq!(names, ["Ann <ann@example.org>", "bob@example.org"]);
        assert!(people(&[]).is_err());
    }
}
