//! Webhooks: who sent one, and what it says.
//!
//! [`verify`] works on the raw bytes, before anything is parsed; only what it let through can be read
//! as an [`Event`]. Pure: no network, no clock, no database.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use ocelot_model::{Event, ForgeKind};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::payload::{BadBody, line};
use crate::{bitbucket, gitea, github, gitlab, hex};

/// Longest header that is looked at, in bytes.
const HEADER_MAX: usize = 1024;

/// Why nobody may be believed to have sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The webhook has no secret here: then nothing proves anything.
    #[error("there is no secret to check the webhook with")]
    NoSecret,
    /// The header is not there.
    #[error("the webhook is not signed: {0} is missing; give the webhook the secret that Ocelot knows")]
    NoSignature(&'static str),
    /// The header is there more than once, or is no text of a sensible length.
    #[error("{0} must stand there once, and be readable")]
    OddHeader(&'static str),
    /// Another secret, or another body.
    #[error(
        "the signature in {0} is wrong: the webhook has another secret, or the body was changed on its way"
    )]
    Wrong(&'static str),
    /// Plain git sends nothing.
    #[error("this forge sends no webhooks")]
    NoWebhooks,
}

/// A body of which is known who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<'a> {
    kind: ForgeKind,
    event: String,
    delivery: String,
    body: &'a [u8],
}

impl<'a> Verified<'a> {
    /// What [`verify`] let through before, as it was stored.
    pub fn stored(kind: ForgeKind, event: &str, delivery: &str, body: &'a [u8]) -> Verified<'a> {
        Verified { kind, event: event.to_owned(), delivery: delivery.to_owned(), body }
    }

    /// The forge's word for what happened, from the header; empty when there is none.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// What the forge calls this delivery, the same when it sends it again. Without such a name: a hash of the body.
    pub fn delivery(&self) -> &str {
        &self.delivery
    }

    /// The raw bytes.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// What it says.
    pub fn parse(&self) -> Result<Event, BadBody> {
        match self.kind {
            ForgeKind::Github => github::hook::parse(&self.event, self.body),
            ForgeKind::Gitlab => gitlab::hook::parse(self.body),
            ForgeKind::Bitbucket => bitbucket::hook::parse(&self.event, self.body),
            ForgeKind::Gitea => gitea::hook::parse(&self.event, self.body),
            ForgeKind::Git => Ok(Event::Ignored("plain git sends no webhooks".to_owned())),
        }
    }
}

/// Checks that the holder of `secret` sent exactly this body.
pub fn verify<'a>(
    kind: ForgeKind,
    headers: &HeaderMap,
    body: &'a [u8],
    secret: &SecretString,
) -> Result<Verified<'a>, Unverified> {
    let secret = secret.expose_secret();
    if secret.is_empty() {
        return Err(Unverified::NoSecret);
    }
    let (event, delivery) = match kind {
        ForgeKind::Github => github::hook::verify(headers, body, secret)?,
        ForgeKind::Gitlab => gitlab::hook::verify(headers, body, secret)?,
        ForgeKind::Bitbucket => bitbucket::hook::verify(headers, body, secret)?,
        ForgeKind::Gitea => gitea::hook::verify(headers, body, secret)?,
        ForgeKind::Git => return Err(Unverified::NoWebhooks),
    };
    let clean = |text: Option<&str>| line(text.unwrap_or_default(), 200);
    let delivery = match clean(delivery) {
        none if none.is_empty() => format!("sha256-{}", hex::encode(&Sha256::digest(body))),
        given => given,
    };
    Ok(Verified { kind, event: clean(event), delivery, body })
}

/// A header's text; `None` when it is not there.
pub(crate) fn header<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Unverified> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| text.len() <= HEADER_MAX);
    match (text, values.next()) {
        (Some(text), None) => Ok(Some(text)),
        (Some(_) | None, _) => Err(Unverified::OddHeader(name)),
    }
}

/// The first of these headers that is there.
pub(crate) fn first<'h>(
    headers: &'h HeaderMap,
    names: &[&'static str],
) -> Result<Option<&'h str>, Unverified> {
    for name in names {
        if let Some(text) = header(headers, name)? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// The code of `parts` one after the other.
fn mac(secret: &[u8], parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(mac)
}

/// True when `signature` (hexadecimal) is the HMAC-SHA256 of the body.
pub(crate) fn is_signed_hex(secret: &str, body: &[u8], signature: &str) -> bool {
    // Compared as bytes, so that capital letters are as good.
    let Some(given) = hex::decode(signature) else { return false };
    mac(secret.as_bytes(), &[body]).is_some_and(|mac| mac.verify_slice(&given).is_ok())
}

/// True when one of `signatures` (`v1,<base64>`, with blanks between) is right by the rules of Standard Webhooks.
pub(crate) fn is_signed_standard(key: &[u8], id: &str, time: &str, body: &[u8], signatures: &str) -> bool {
    signatures.split(' ').filter_map(|one| BASE64_STANDARD.decode(one.strip_prefix("v1,")?).ok()).any(
        |given| {
            mac(key, &[id.as_bytes(), b".", time.as_bytes(), b".", body])
                .is_some_and(|mac| mac.verify_slice(&given).is_ok())
        },
    )
}

/// Compares two secrets without telling by the time how much of them is equal.
pub(crate) fn is_same(ours: &str, given: &str) -> bool {
    ours.as_bytes().ct_eq(given.as_bytes()).into()
}
