//! A message in Slack, in the shape that the original gave it.

use ocelot_model::Status;
use ocelot_model::hidden::Hidden;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::error::NotifyError;
use super::text::Message;
use super::web::{Request, check_form};
use super::{App, Sent};

/// Why this cannot be the address of an incoming webhook. The address itself is a secret.
pub(super) fn check_address(text: &str) -> Result<(), String> {
    check_form(text.trim())
        .map_err(|_| "value: the address of an incoming webhook of Slack begins with https://".to_owned())
}

pub(super) async fn send(
    app: &App,
    (url, own): (&SecretString, bool),
    channel: Option<&str>,
    (message, hidden): (&Message, &Hidden),
) -> Result<Sent, NotifyError> {
    let body = body(message, channel).to_string();
    let request = Request { url: url.expose_secret(), own, headers: Vec::new(), body: body.clone(), hidden };
    Ok(Sent::new(body, app.web.post(request).await?))
}

fn body(message: &Message, channel: Option<&str>) -> Value {
    let fields: Vec<Value> = message
        .facts
        .iter()
        .map(|(name, value)| json!({"title": name, "value": escape(value), "short": value.len() < 40}))
        .collect();
    let text = [message.reason.as_deref().map(plain), stages(message)];
    let text: Vec<String> = text.into_iter().flatten().collect();
    let mut body = json!({
        "username": "ocelot",
        "attachments": [{
            "fallback": format!("{}: {}", escape(&message.title), escape(&message.repo)),
            "color": color(message.status),
            "pretext": "*Ocelot Status*",
            "title": escape(&message.title),
            "title_link": message.link,
            "text": text.join("\n"),
            "fields": fields,
            // A commit's message makes no headings and no bold letters.
            "mrkdwn_in": ["pretext", "text"],
        }],
    });
    if let Some(channel) = channel {
        body["channel"] = json!(channel);
    }
    body
}

fn color(status: Option<Status>) -> &'static str {
    match status {
        Some(Status::Passed) => "good",
        Some(Status::Failed | Status::Error | Status::TimedOut) => "danger",
        Some(Status::Blocked | Status::Queued | Status::Running | Status::Cancelled | Status::Skipped)
        | None => "warning",
    }
}

/// A block of fixed type, one stage a line.
fn stages(message: &Message) -> Option<String> {
    let lines: Vec<String> = message.lines().map(|line| plain(&line)).collect();
    (!lines.is_empty()).then(|| format!("```{}```", lines.join("\n")))
}

/// So that nothing in it begins or ends a block either.
fn plain(text: &str) -> String {
    escape(text).replace('`', "'")
}

/// So that nothing in it is a link, a mention or a call to a channel.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::text::tests::sample;

    #[test]
    fn the_shape_of_the_original() {
        let body = body(&sample(), Some("#ci"));
        let one = &body["attachments"][0];
        assert_eq!((&body["username"], &body["channel"]), (&json!("ocelot"), &json!("#ci")));
        assert_eq!((&one["color"], &one["title"]), (&json!("danger"), &json!("Build 12 failed")));
        assert_eq!(one["title_link"], "https://ci.example/builds/12");
        assert_eq!(one["text"], "```[lint] passed\n[test] failed: exit code 1\n[deploy] skipped```");
        assert!(one["fields"].as_array().unwrap().iter().any(|field| field["title"] == "Branch"));
        assert_eq!(super::body(&sample(), None).get("channel"), None);
        let text = super::body(&Message { more: 7, ..sample() }, None)["attachments"][0]["text"].to_string();
        assert!(text.contains("[deploy] skipped\\nand 7 more```"), "{text}");
    }

    #[test]
    fn nothing_of_a_commit_is_markup() {
        let hostile = "<!channel> <https://evil|click> & ```x``` <@U123>";
        let mut message = sample();
        message.facts.push(("Commit", hostile.to_owned()));
        message.reason = Some(hostile.to_owned());
        message.stages[1].why = Some(hostile.to_owned());
        message.stages[1].new_lines = vec![hostile.to_owned()];
        let body = body(&message, None);
        let one = &body["attachments"][0];
        let all = [
            one["text"].as_str().unwrap(),
            one["fields"].as_array().unwrap().last().unwrap()["value"].as_str().unwrap(),
        ];
        for text in all {
            assert!(!text.contains(['<', '>']) && text.contains("&lt;!channel&gt;"), "{text}");
        }
        // The reason stands before the one block, which ends behind the last stage.
        let text = one["text"].as_str().unwrap();
        assert!(text.contains("\n```[lint]") && text.ends_with("```"), "{text}");
        assert_eq!(text.matches('`').count(), 6, "{text}");
    }

    #[test]
    fn addresses() {
        for good in ["https://hooks.slack.com/services/T/B/x", "http://127.0.0.1:1/x\n"] {
            assert_eq!(check_address(good), Ok(()));
        }
        for bad in ["xoxb-1-2", "", "hooks.slack.com/x", "mailto:a@b"] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }
}
