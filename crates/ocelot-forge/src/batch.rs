//! Reads a commit and one of its files from a cache in one git process.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdout, Command};

use crate::error::GitError;
use crate::git::{FILE_MAX, Snapshot};

/// The most that is kept of a commit object: its message is shown, not worked with.
const COMMIT_MAX: usize = 64 << 10;

/// The commit's id and what it holds; `None` when the cache has no such commit.
pub(crate) async fn read(
    mut command: Command,
    commit: &str,
    path: &str,
) -> Result<Option<(String, Snapshot)>, GitError> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(GitError::Io)?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(GitError::Io(std::io::Error::other("git has no output")));
    };
    let ask = format!("{commit}\n{commit}:{path}\n");
    stdin.write_all(ask.as_bytes()).await.map_err(GitError::Io)?;
    drop(stdin);
    let mut stdout = BufReader::new(stdout);
    let Some(Object { id, kind, data: header }) = object(&mut stdout, COMMIT_MAX).await.map_err(ended)?
    else {
        return Ok(None);
    };
    if kind != "commit" {
        return Ok(None);
    }
    let file = object(&mut stdout, FILE_MAX + 1).await.map_err(ended)?;
    let (author, message) = describe(&header);
    let file = file.filter(|file| file.kind == "blob").map(|file| file.data);
    // The process is killed when it is dropped: nobody waits for the rest of a large file.
    Ok(Some((id, Snapshot { file, message, author })))
}

/// git ends early when its repository is damaged.
fn ended(error: std::io::Error) -> GitError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => GitError::Failed("git ended without an answer".to_owned()),
        _ => GitError::Io(error),
    }
}

struct Object {
    id: String,
    kind: String,
    /// Its first bytes.
    data: Vec<u8>,
}

/// The next object; `None` when it is missing.
async fn object(from: &mut BufReader<ChildStdout>, keep: usize) -> std::io::Result<Option<Object>> {
    let mut head = String::new();
    if from.take(4096).read_line(&mut head).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let mut words = head.trim_end().rsplitn(3, ' ');
    let (Some(size), Some(kind)) = (words.next().and_then(|w| w.parse::<u64>().ok()), words.next()) else {
        return Ok(None);
    };
    let (id, kind) = (words.next().unwrap_or_default().to_owned(), kind.to_owned());
    let mut data = Vec::new();
    from.take(size.min(keep as u64)).read_to_end(&mut data).await?;
    if size <= keep as u64 {
        // The line feed after the object.
        from.read_u8().await?;
    } else if kind == "commit" {
        let rest = size - keep as u64 + 1;
        tokio::io::copy(&mut from.take(rest), &mut tokio::io::sink()).await?;
    }
    Ok(Some(Object { id, kind, data }))
}

/// Author (name only) and message of a commit object.
fn describe(commit: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(commit);
    let (head, message) = text.split_once("\n\n").unwrap_or((&text, ""));
    let author = head
        .lines()
        .find_map(|line| line.strip_prefix("author "))
        .map_or("", |line| line.split('<').next().unwrap_or(line));
    (author.trim().to_owned(), message.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_tells_author_and_message() {
        let text = b"tree 1\nauthor Ann B <a@b> 1 +0000\ncommitter C <c@d> 1 +0000\n\nfirst\n\nmore\n";
        assert_eq!(describe(text), ("Ann B".to_owned(), "first\n\nmore".to_owned()));
        assert_eq!(describe(b"tree 1\nauthor <a@b> 1 +0000\n\n"), (String::new(), String::new()));
    }
}
