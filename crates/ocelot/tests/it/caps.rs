//! Output that is too much: it is cut with a mark, and the stage goes on.

use ocelot_model::Status;
use ocelot_testkit::{Environment, Setup, Stages as _, TestApp};

use super::OCELOT;

#[tokio::test]
async fn a_long_line_and_a_long_log_are_cut_with_a_mark() {
    let worker = vec![("OCELOT_LOG_CAP".to_owned(), "3MiB".to_owned())];
    let env = Environment { worker, ..Environment::default() };
    let app = TestApp::start_with(OCELOT, Setup::Host, env).await;
    let yml = "machineTag: here\nstages:\n  \
               - {name: line, script: [\"head -c 1500000 /dev/zero | tr '\\\\0' x\", 'echo', 'echo after']}\n  \
               - {name: flood, script: ['yes 0123456789 | head -c 5000000', 'echo never seen', 'test -f ocelot.yml']}\n";
    let build = app.build("caps", yml).await;
    let build = app.finished(build.number).await;
    assert_eq!(build.status, Status::Passed, "{build:#?}");
    let line = app.stage_log(&build, "line").await;
    let longest = line.lines().max_by_key(|line| line.len()).unwrap();
    let mark = " [line cut: it is longer than 1 MiB]";
    assert!(longest.trim_start_matches('x') == mark, "{}", &longest[longest.len() - 100..]);
    assert_eq!(longest.len(), (1 << 20) + mark.len());
    assert!(line.ends_with("after\n"), "{}", &line[line.len() - 100..]);
    let flood = app.stage_log(&build, "flood").await;
    let mark = "\n[log cut: it is larger than 3 MiB; the stage goes on]\n";
    assert!(flood.ends_with(mark), "{}", &flood[flood.len() - 100..]);
    assert_eq!(flood.len(), (3 << 20) + mark.len());
    for (name, log) in [("line", &line), ("flood", &flood)] {
        assert_eq!(build.stage(name).log_bytes, log.len() as i64, "{name}");
    }
}
