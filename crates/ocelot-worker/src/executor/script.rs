//! What of a pipeline's `script` becomes the file that a shell reads. Pure text, no I/O.
//!
//! All entries are in one file, read by one shell, so `cd` and variables last. Each entry is shown before it
//! runs; of a block of text the shell itself shows each line as it reads it (`-v`).

use std::path::Path;

use ocelot_model::pipeline::spec::Run;

/// What a room starts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) argv: Vec<String>,
    /// Contents of the file whose path is the last of `argv`.
    pub(crate) script: Option<Vec<u8>>,
}

/// Programs that read what this file writes. Others (`python3`, `node`) get the text alone.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "busybox"];

/// The command for a stage whose script, if it has one, will be at `path`.
pub(crate) fn command(run: &Run, path: &str, show: bool) -> Command {
    match run {
        Run::Command(argv) => Command { argv: argv.clone(), script: None },
        Run::Script { shell, lines, block } => {
            let mut argv = shell.clone();
            if argv.is_empty() {
                argv = vec!["/bin/sh".into(), "-e".into()];
            }
            let name = Path::new(&argv[0]).file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let show = show && SHELLS.contains(&name);
            if show && *block {
                argv.push("-v".into());
            }
            argv.push(path.to_owned());
            Command { argv, script: Some(text(lines, show && !*block).into_bytes()) }
        }
    }
}

fn text(lines: &[String], show: bool) -> String {
    let mut out = String::new();
    for line in lines {
        if show {
            // The marker's own failure (stdout closed by the script) is not the script's.
            out.push_str("printf '\\033[2m$ %s\\033[0m\\n' ");
            out.push_str(&quoted(line.trim_end_matches('\n')));
            out.push_str(" 2>/dev/null || :\n");
        }
        out.push_str(line);
        if !line.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}

/// One word for any shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shells of this machine that are there; `sh` is there always.
    fn shells() -> Vec<Vec<String>> {
        let all = [vec!["/bin/sh"], vec!["/bin/bash"], vec!["/bin/dash"], vec!["/bin/busybox", "ash"]];
        let there = all.iter().filter(|shell| Path::new(shell[0]).exists());
        there.map(|shell| shell.iter().copied().chain(["-e"]).map(str::to_owned).collect()).collect()
    }

    /// Runs the lines in every shell and compares all output, stdout and stderr in one pipe.
    fn check(lines: &[&str], block: bool, want: &str, code: i32) {
        for shell in shells() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("s.sh");
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            let run = Run::Script { shell: shell.clone(), lines, block };
            let Command { argv, script } = command(&run, path.to_str().unwrap(), true);
            std::fs::write(&path, script.unwrap()).unwrap();
            let (mut read, write) = std::io::pipe().unwrap();
            let mut command = std::process::Command::new(&argv[0]);
            command.args(&argv[1..]).stdout(write.try_clone().unwrap()).stderr(write);
            let mut child = command.spawn().unwrap();
            drop(command);
            let mut out = String::new();
            std::io::Read::read_to_string(&mut read, &mut out).unwrap();
            let plain = out.replace("\u{1b}[2m", "").replace("\u{1b}[0m", "");
            assert_eq!((plain.as_str(), child.wait().unwrap().code()), (want, Some(code)), "{shell:?}");
        }
    }

    #[test]
    fn entries_are_shown_before_they_run() {
        check(&["echo a", "echo b >&2"], false, "$ echo a\na\n$ echo b >&2\nb\n", 0);
    }

    #[test]
    fn markers_show_any_text() {
        check(&["printf '%s\\n' \"it's\""], false, "$ printf '%s\\n' \"it's\"\nit's\n", 0);
        check(&["echo `echo x` $(echo y)"], false, "$ echo `echo x` $(echo y)\nx y\n", 0);
    }

    #[test]
    fn entries_of_several_lines_are_shown_whole() {
        check(
            &["for i in 1 2; do\n  echo $i\ndone\n"],
            false,
            "$ for i in 1 2; do\n  echo $i\ndone\n1\n2\n",
            0,
        );
        check(&["cat <<X\nhello\nX"], false, "$ cat <<X\nhello\nX\nhello\n", 0);
    }

    #[test]
    fn folder_and_variables_last() {
        check(&["cd /", "A=b", "echo $A $PWD"], false, "$ cd /\n$ A=b\n$ echo $A $PWD\nb /\n", 0);
    }

    #[test]
    fn the_first_failure_ends_it() {
        check(&["echo a", "(exit 3)", "echo b"], false, "$ echo a\na\n$ (exit 3)\n", 3);
        check(&["exec >&-", "exit 4"], false, "$ exec >&-\n", 4);
    }

    #[test]
    fn blocks_are_shown_line_by_line() {
        check(&["echo a\nX=1\necho $X\n"], true, "echo a\na\nX=1\necho $X\n1\n", 0);
        check(&["echo a\nfalse\necho b"], true, "echo a\na\nfalse\n", 1);
    }

    #[test]
    fn other_programs_get_the_text_alone() {
        let run = Run::Script { shell: vec!["python3".into()], lines: vec!["print(1)".into()], block: false };
        let want =
            Command { argv: vec!["python3".into(), "/x".into()], script: Some(b"print(1)\n".to_vec()) };
        assert_eq!(command(&run, "/x", true), want);
    }
}
