//! A signed HTTP request, as the Standard Webhooks scheme has it (standardwebhooks.com): any of its libraries can check it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use ocelot_model::hidden::Hidden;
use serde_json::json;
use sha2::Sha256;

use super::error::NotifyError;
use super::text::Message;
use super::web::Request;
use super::{App, Sent};

/// What a value says: the bytes of the key and, in the next line, the address, when that is a secret too.
pub(super) fn read(value: &str) -> Result<(Vec<u8>, Option<&str>), String> {
    let mut lines = value.trim().lines().map(str::trim);
    let key = read_key(lines.next().unwrap_or_default())?;
    let address = lines.next();
    let words = "value: after the key there may be one line, with the address of the webhook";
    match address.map(super::web::check_form) {
        Some(Err(_)) => Err(words.to_owned()),
        Some(Ok(())) | None if lines.next().is_some() => Err(words.to_owned()),
        Some(Ok(())) | None => Ok((key, address)),
    }
}

/// The bytes of a key, `whsec_` and base64; an error says how to make one.
fn read_key(text: &str) -> Result<Vec<u8>, String> {
    let code = text.trim().strip_prefix("whsec_");
    let bytes = code.and_then(|code| BASE64_STANDARD.decode(code).ok());
    bytes.filter(|bytes| (24..=64).contains(&bytes.len())).ok_or_else(|| {
        "value: a webhook is signed with `whsec_` and 24 to 64 bytes in base64, such as whsec_$(openssl rand -base64 32)"
            .to_owned()
    })
}

/// Where it goes.
pub(super) struct To<'t> {
    pub(super) url: &'t str,
    pub(super) own: bool,
    pub(super) key: &'t [u8],
    pub(super) id: &'t str,
    pub(super) hidden: &'t Hidden,
}

pub(super) async fn send(app: &App, to: To<'_>, message: &Message) -> Result<Sent, NotifyError> {
    let now = Timestamp::now();
    let body = json!({"type": message.kind, "timestamp": now.to_string(), "data": message.data}).to_string();
    let id = format!("msg_{}", to.id);
    let signature = sign(to.key, &id, now.as_second(), &body);
    let headers = vec![
        ("webhook-id", id),
        ("webhook-timestamp", now.as_second().to_string()),
        ("webhook-signature", signature),
    ];
    let request = Request { url: to.url, own: to.own, headers, body: body.clone(), hidden: to.hidden };
    Ok(Sent::new(body, app.web.post(request).await?))
}

fn sign(key: &[u8], id: &str, timestamp: i64, body: &str) -> String {
    // A key of any length is one.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the scheme's own documentation and libraries.
    #[test]
    fn it_is_signed_as_the_scheme_says() {
        let key = read_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn keys() {
        let long = format!("whsec_{}", BASE64_STANDARD.encode([7; 64]));
        assert_eq!(read_key(&format!("{long}\n")).unwrap(), [7; 64]);
        let short = format!("whsec_{}", BASE64_STANDARD.encode([7; 23]));
        for bad in ["", "secret", "whsec_", "whsec_???", &short, &long[6..]] {
            assert!(read_key(bad).is_err(), "{bad}");
        }
        let with = |rest: &str| format!("{long}\n{rest}");
        assert_eq!(read(&with("")).unwrap(), (vec![7; 64], None));
        assert_eq!(read(&with(" https://me:pw@h/x \n")).unwrap(), (vec![7; 64], Some("https://me:pw@h/x")));
        for bad in ["h/x", "https://h\nhttps://i"] {
            assert!(read(&with(bad)).is_err(), "{bad}");
        }
    }
}
