//! Wake-ups after commits: to everyone in this process, and as short texts to other servers on the same database.
//!
//! A wake-up says where to look, never what is there; losing one must only cost time.

use ocelot_model::{BuildNumber, StageId, WorkerId};
use tokio::sync::broadcast;

use crate::{Wake, secret};

/// Readers that are further behind than this get `Lagged`, which means "look at everything".
const CAPACITY: usize = 1024;

/// Where wake-ups go in this process.
#[derive(Debug, Clone)]
pub(crate) struct Wakes {
    sender: broadcast::Sender<Wake>,
    /// Tells this process's own notifications from those of others.
    origin: String,
}

impl Wakes {
    pub(crate) fn new() -> Wakes {
        Wakes { sender: broadcast::Sender::new(CAPACITY), origin: secret::hex(&secret::random::<6>()) }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Wake> {
        self.sender.subscribe()
    }

    pub(crate) fn send(&self, wakes: &[Wake]) {
        for wake in wakes {
            // Nobody listening is fine.
            let _ = self.sender.send(*wake);
        }
    }

    /// Sends `wake` after a while, for jobs that may not be claimed before.
    pub(crate) fn send_later(&self, wake: Wake, delay: std::time::Duration) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = sender.send(wake);
        });
    }

    /// Texts for other servers, each short enough for one notification.
    pub(crate) fn to_texts(&self, wakes: &[Wake]) -> Vec<String> {
        wakes
            .chunks(200)
            .map(|some| some.iter().fold(self.origin.clone(), |text, wake| text + " " + &word(*wake)))
            .collect()
    }

    /// The text that tells of events, without the last one's number at its end.
    pub(crate) fn events_prefix(&self) -> String {
        format!("{} e", self.origin)
    }

    /// The wake-ups in another server's text; none when it is our own.
    pub(crate) fn read_text(&self, text: &str) -> Vec<Wake> {
        let mut words = text.split(' ');
        if words.next() == Some(&self.origin) {
            return Vec::new();
        }
        words.map(|word| read_word(word).unwrap_or(Wake::All)).collect()
    }
}

fn word(wake: Wake) -> String {
    match wake {
        Wake::Queue => "q".into(),
        Wake::Events(seq) => format!("e{seq}"),
        Wake::Log(stage) => format!("l{stage}"),
        Wake::Cancel(build) => format!("c{build}"),
        Wake::Worker(id) => format!("w{id}"),
        Wake::Outbox => "o".into(),
        Wake::Deliveries => "d".into(),
        Wake::All => "a".into(),
    }
}

fn read_word(word: &str) -> Option<Wake> {
    let (kind, number) = word.split_at_checked(1)?;
    Some(match kind {
        "q" => Wake::Queue,
        "o" => Wake::Outbox,
        "e" => Wake::Events(number.parse().ok()?),
        "l" => Wake::Log(StageId(number.parse().ok()?)),
        "c" => Wake::Cancel(BuildNumber(number.parse().ok()?)),
        "w" => Wake::Worker(WorkerId(number.parse().ok()?)),
        "d" => Wake::Deliveries,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_reach_others_and_not_oneself() {
        let (one, other) = (Wakes::new(), Wakes::new());
        let wakes = [
            Wake::Queue,
            Wake::Events(12),
            Wake::Log(StageId(3)),
            Wake::Cancel(BuildNumber(4)),
            Wake::Worker(WorkerId(5)),
            Wake::Outbox,
            Wake::Deliveries,
            Wake::All,
        ];
        let texts = one.to_texts(&wakes);
        assert_eq!(texts.len(), 1);
        assert_eq!(other.read_text(&texts[0]), wakes);
        assert_eq!(one.read_text(&texts[0]), []);
        assert_eq!(other.read_text(&(one.events_prefix() + "12")), [Wake::Events(12)]);
        assert_eq!(other.read_text("x what? e"), [Wake::All, Wake::All]);
    }
}
