//! Reads `text/event-stream` (the HTML standard's server-sent events) from bytes. Does no I/O.

/// A message: what stood between two empty lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The newest `id:` so far; survives messages without one.
    pub id: Option<String>,
    /// `event:`, empty when there was none.
    pub event: String,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
}

/// The stream holds a line or message longer than anyone should send.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a message of the event stream is longer than {MAX} bytes")]
pub struct TooLong;

/// Largest message, in bytes.
const MAX: usize = 16 << 20;

/// Takes bytes as they come, gives messages as they become whole.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed after it belongs to the same line end.
    after_cr: bool,
    begun: bool,
    event: String,
    data: Option<String>,
    id: Option<String>,
    retry_ms: Option<u64>,
}

impl Parser {
    /// A parser that goes on after the message `id`.
    pub fn after(id: Option<String>) -> Parser {
        Parser { id, ..Parser::default() }
    }

    /// Milliseconds to wait before a new connection, when the stream has said so.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Reads on; answers the messages that are now whole.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut whole = Vec::new();
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
                self.keep(bytes)?;
                break;
            };
            self.keep(&bytes[..end])?;
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            whole.extend(self.take_line(&String::from_utf8_lossy(&line)));
        }
        Ok(whole)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() + self.data.as_ref().map_or(0, String::len) > MAX {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take_line(&mut self, line: &str) -> Option<Message> {
        let line = if self.begun { line } else { line.strip_prefix('\u{feff}').unwrap_or(line) };
        self.begun = true;
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = self.data.take()?;
            return Some(Message { id: self.id.clone(), event, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" => self.retry_ms = value.parse().ok().or(self.retry_ms),
            // A comment (empty field name) or something that we need not know.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `input` whole and in pieces of every size; `want` is `id|event|data` of each message.
    fn check(input: &str, want: &[&str]) {
        for size in 1..=input.len().max(1) {
            let mut parser = Parser::default();
            let mut got = Vec::new();
            for piece in input.as_bytes().chunks(size) {
                got.extend(parser.feed(piece).expect("short messages"));
            }
            let got: Vec<String> = got
                .into_iter()
                .map(|m| format!("{}|{}|{}", m.id.unwrap_or_default(), m.event, m.data))
                .collect();
            assert_eq!(got, want, "{input:?} in pieces of {size}");
        }
    }

    #[test]
    fn fields() {
        check("data: a\n\n", &["||a"]);
        check("data:a\ndata: b\ndata\n\n", &["||a\nb\n"]);
        check("event: build\nid: 7\ndata: {}\n\n", &["7|build|{}"]);
        check("data: a: b\n\n", &["||a: b"]);
        check("data:  two spaces\n\n", &["|| two spaces"]);
    }

    #[test]
    fn line_ends() {
        check("data: a\r\n\r\ndata: b\r\n\r\n", &["||a", "||b"]);
        check("data: a\r\rdata: b\r\r", &["||a", "||b"]);
        check("\u{feff}data: a\n\n", &["||a"]);
        check("data: ü\n\n", &["||ü"]);
    }

    #[test]
    fn what_makes_no_message() {
        check(": still here\n\n", &[]);
        check("\n\n\n", &[]);
        check("event: build\n\ndata: a\n\n", &["||a"]);
        check("data: not ended\n", &[]);
        check("unknown: x\ndata: a\n\n", &["||a"]);
    }

    #[test]
    fn the_id_stays_until_the_next_one() {
        check("id: 1\ndata: a\n\ndata: b\n\nid: 2\n\ndata: c\n\n", &["1||a", "1||b", "2||c"]);
        check("id: 1\0\ndata: a\n\n", &["||a"]);
    }

    #[test]
    fn retry_is_a_number_of_milliseconds() {
        let mut parser = Parser::default();
        parser.feed(b"retry: 250\n\nretry: soon\n\n").expect("short messages");
        assert_eq!(parser.retry_ms(), Some(250));
    }

    #[test]
    fn a_message_without_end_is_refused() {
        let mut parser = Parser::default();
        let mebibyte = vec![b'x'; 1 << 20];
        assert_eq!((0..17).find_map(|_| parser.feed(&mebibyte).err()), Some(TooLong));
    }
}
