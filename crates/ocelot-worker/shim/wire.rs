//! What the worker and the shim say to each other, and the files that the shim leaves. Compiled into both,
//! so it uses only the standard library. Both ends take the other for hostile: every length is checked.
//!
//! A message is `length u32, id u32, kind u8, body`, little-endian; the length counts what follows it. Answers
//! carry the id of what they answer; id 0 is for what the shim says unasked.

/// Longest message to the shim: a script and its variables.
pub(crate) const MAX_ASK: usize = 16 << 20;
/// Longest message from the shim: one block of a file.
pub(crate) const MAX_TELL: usize = 1 << 20;
/// Longest block of a file in one answer; a whole frame fits in.
pub(crate) const MAX_BLOCK: u32 = 256 << 10;
/// Longest payload of a frame in a log file.
pub(crate) const MAX_FRAME: usize = 128 << 10;
/// Bytes before a frame's payload: time in microseconds since 1970 (u64), length (u32).
pub(crate) const FRAME_HEAD: usize = 12;

/// One stage, whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) key: String,
    pub(crate) cap: u64,
    pub(crate) user: Option<(u32, u32)>,
    pub(crate) cwd: Vec<u8>,
    pub(crate) argv: Vec<Vec<u8>>,
    /// `NAME=VALUE`, all that the stage sees.
    pub(crate) env: Vec<Vec<u8>>,
    /// Written to `KEY.sh` before the start.
    pub(crate) script: Option<Vec<u8>>,
}

/// The files that a stage has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Frames.
    Log,
    /// [`Ended`].
    Exit,
    /// Exists from the start on.
    Start,
}

impl Kind {
    pub(crate) fn file(self, key: &str) -> String {
        match self {
            Kind::Log => format!("{key}.log"),
            Kind::Exit => format!("{key}.exit"),
            Kind::Start => format!("{key}.start"),
        }
    }
}

/// Worker to shim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Start(Order),
    Kill {
        key: String,
        grace_ms: u32,
    },
    /// A block of a stage's file, for a worker that does not share the folder.
    Read {
        key: String,
        kind: Kind,
        offset: u64,
        most: u32,
    },
    /// Kill everything and end.
    Stop,
}

/// Shim to worker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    Done,
    Refused(String),
    Bytes(Vec<u8>),
    /// There is no such file.
    Absent,
    /// The stage wrote something (said once for many writes).
    Data(String),
    /// The stage's exit file is there.
    Ended(String),
}

impl Ask {
    pub(crate) fn encode(&self, id: u32) -> Vec<u8> {
        let mut out = Out::begin(id);
        match self {
            Ask::Start(order) => {
                out.kind(1);
                order.put(&mut out);
            }
            Ask::Kill { key, grace_ms } => {
                out.kind(2).bytes(key.as_bytes()).u32(*grace_ms);
            }
            Ask::Read { key, kind, offset, most } => {
                let kind = match kind {
                    Kind::Log => 0,
                    Kind::Exit => 1,
                    Kind::Start => 2,
                };
                out.kind(3).bytes(key.as_bytes()).kind(kind).u64(*offset).u32(*most);
            }
            Ask::Stop => {
                out.kind(4);
            }
        }
        out.end()
    }

    /// Reads a message without its length; `None` when it is not one.
    pub(crate) fn decode(message: &[u8]) -> Option<(u32, Ask)> {
        let mut input = In(message);
        let id = input.u32()?;
        let ask = match input.u8()? {
            1 => Ask::Start(Order::take(&mut input)?),
            2 => Ask::Kill { key: input.text()?, grace_ms: input.u32()? },
            3 => Ask::Read {
                key: input.text()?,
                kind: match input.u8()? {
                    0 => Kind::Log,
                    1 => Kind::Exit,
                    2 => Kind::Start,
                    _ => return None,
                },
                offset: input.u64()?,
                most: input.u32()?,
            },
            4 => Ask::Stop,
            _ => return None,
        };
        input.0.is_empty().then_some((id, ask))
    }
}

impl Tell {
    pub(crate) fn encode(&self, id: u32) -> Vec<u8> {
        let mut out = Out::begin(id);
        match self {
            Tell::Done => out.kind(1),
            Tell::Refused(why) => out.kind(2).bytes(why.as_bytes()),
            Tell::Bytes(bytes) => out.kind(3).bytes(bytes),
            Tell::Absent => out.kind(4),
            Tell::Data(key) => out.kind(5).bytes(key.as_bytes()),
            Tell::Ended(key) => out.kind(6).bytes(key.as_bytes()),
        };
        out.end()
    }

    /// Reads a message without its length; `None` when it is not one.
    pub(crate) fn decode(message: &[u8]) -> Option<(u32, Tell)> {
        let mut input = In(message);
        let id = input.u32()?;
        let tell = match input.u8()? {
            1 => Tell::Done,
            2 => Tell::Refused(input.text()?),
            3 => Tell::Bytes(input.bytes()?.to_vec()),
            4 => Tell::Absent,
            5 => Tell::Data(input.text()?),
            6 => Tell::Ended(input.text()?),
            _ => return None,
        };
        input.0.is_empty().then_some((id, tell))
    }
}

impl Order {
    /// The order alone, as the shim hands it to the stage's own process.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Out(Vec::new());
        self.put(&mut out);
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Order> {
        Order::take(&mut In(bytes))
    }

    fn put(&self, out: &mut Out) {
        let (uid, gid) = self.user.unwrap_or((u32::MAX, u32::MAX));
        out.bytes(self.key.as_bytes()).u64(self.cap).u32(uid).u32(gid).bytes(&self.cwd);
        out.list(&self.argv).list(&self.env);
        out.list(self.script.as_slice());
    }

    fn take(input: &mut In<'_>) -> Option<Order> {
        let (key, cap, uid, gid) = (input.text()?, input.u64()?, input.u32()?, input.u32()?);
        Some(Order {
            key,
            cap,
            user: (uid != u32::MAX && gid != u32::MAX).then_some((uid, gid)),
            cwd: input.bytes()?.to_vec(),
            argv: input.list()?,
            env: input.list()?,
            script: input.list()?.pop(),
        })
    }
}

/// How a stage ended: the contents of its exit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) how: How,
    pub(crate) duration_us: u64,
    pub(crate) frames_end: u64,
    pub(crate) dropped: u64,
    pub(crate) oom: bool,
}

/// Code, signal, or why nothing ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    Code(i32),
    Signal(i32),
    NotStarted(String),
}

impl Ended {
    pub(crate) fn encode(&self) -> String {
        let how = match &self.how {
            How::Code(code) => format!("code {code}"),
            How::Signal(signal) => format!("signal {signal}"),
            How::NotStarted(why) => format!("not-started {}", why.replace('\n', " ")),
        };
        let Ended { duration_us, frames_end, dropped, oom, .. } = self;
        format!("{how}\n{duration_us} {frames_end} {dropped} {}\n", u8::from(*oom))
    }

    pub(crate) fn decode(text: &str) -> Option<Ended> {
        let (how, numbers) = text.strip_suffix('\n')?.split_once('\n')?;
        let how = match how.split_once(' ')? {
            ("code", code) => How::Code(code.parse().ok()?),
            ("signal", signal) => How::Signal(signal.parse().ok()?),
            ("not-started", why) => How::NotStarted(why.to_owned()),
            _ => return None,
        };
        let numbers: Vec<u64> = numbers.split(' ').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        let &[duration_us, frames_end, dropped, oom] = numbers.as_slice() else { return None };
        Some(Ended { how, duration_us, frames_end, dropped, oom: oom != 0 })
    }
}

/// Keys become file names.
pub(crate) fn is_key(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain)
}

/// Splits the first whole message off `buffer`: `Ok(None)` when more bytes are needed, `Err` when too long.
pub(crate) fn split(buffer: &[u8], most: usize) -> Result<Option<(&[u8], usize)>, ()> {
    let Some((head, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*head) as usize;
    if length > most {
        return Err(());
    }
    Ok(rest.get(..length).map(|message| (message, 4 + length)))
}

struct Out(Vec<u8>);

impl Out {
    fn begin(id: u32) -> Out {
        let mut out = Out(vec![0; 4]);
        out.u32(id);
        out
    }

    fn end(mut self) -> Vec<u8> {
        let length = (self.0.len() - 4) as u32;
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0
    }

    fn kind(&mut self, kind: u8) -> &mut Out {
        self.0.push(kind);
        self
    }

    fn u32(&mut self, number: u32) -> &mut Out {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u64(&mut self, number: u64) -> &mut Out {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Out {
        self.u32(bytes.len() as u32);
        self.0.extend(bytes);
        self
    }

    fn list(&mut self, items: &[Vec<u8>]) -> &mut Out {
        self.u32(items.len() as u32);
        for item in items {
            self.bytes(item);
        }
        self
    }
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*head))
    }

    fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*head))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn list(&mut self) -> Option<Vec<Vec<u8>>> {
        let count = self.u32()?;
        // Each item takes at least its length, so a lying count ends here and reserves nothing.
        (0..count).map(|_| self.bytes().map(<[u8]>::to_vec)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_come_back() {
        let check = |ask: Ask| {
            let bytes = ask.encode(7);
            let (message, used) = split(&bytes, MAX_ASK).unwrap().unwrap();
            assert_eq!(used, bytes.len());
            assert_eq!(Ask::decode(message), Some((7, ask)));
        };
        check(Ask::Start(Order {
            key: "77".into(),
            cap: u64::MAX,
            user: Some((1000, 50)),
            cwd: b"/w \xff".to_vec(),
            argv: vec![b"/bin/sh".to_vec(), vec![]],
            env: vec![b"A=b\n".to_vec()],
            script: Some(vec![0, 255]),
        }));
        check(Ask::Start(Order::default()));
        check(Ask::Kill { key: "a".into(), grace_ms: 5 });
        check(Ask::Read { key: "a".into(), kind: Kind::Exit, offset: 1 << 40, most: 9 });
        check(Ask::Stop);
    }

    #[test]
    fn tells_come_back() {
        for tell in [
            Tell::Done,
            Tell::Refused("why".into()),
            Tell::Bytes(vec![255; 300]),
            Tell::Absent,
            Tell::Data("k".into()),
            Tell::Ended("k".into()),
        ] {
            let bytes = tell.encode(9);
            assert_eq!(Tell::decode(&bytes[4..]), Some((9, tell)));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let check = |bytes: &[u8]| assert_eq!(Tell::decode(bytes), None, "{bytes:?}");
        check(&[]);
        check(&[0, 0, 0, 0, 99]);
        check(&[0, 0, 0, 0, 1, 1]);
        check(&[0, 0, 0, 0, 3, 255, 255, 255, 255, 1]);
        assert_eq!(Ask::decode(&[0, 0, 0, 0, 1, 255, 255, 255, 255]), None);
        assert_eq!(split(&[255, 255, 255, 255, 0], MAX_TELL), Err(()));
        assert_eq!(split(&[2, 0, 0, 0, 0], MAX_TELL), Ok(None));
    }

    #[test]
    fn exit_files() {
        let check = |how: How, text: &str| {
            let ended = Ended { how, duration_us: 1, frames_end: 2, dropped: 3, oom: true };
            assert_eq!(ended.encode(), text);
            assert_eq!(Ended::decode(text), Some(ended));
        };
        check(How::Code(0), "code 0\n1 2 3 1\n");
        check(How::Signal(9), "signal 9\n1 2 3 1\n");
        check(How::NotStarted("no such file".into()), "not-started no such file\n1 2 3 1\n");
        for bad in
            ["", "code 0\n", "code 0\n1 2 3\n", "code x\n1 2 3 1\n", "code 0\n1 2 3 -1\n", "code 0\n1 2 3 1"]
        {
            assert_eq!(Ended::decode(bad), None, "{bad:?}");
        }
    }
}
