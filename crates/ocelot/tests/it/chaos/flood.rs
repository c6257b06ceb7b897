//! Stages that say too much, or nothing that anybody should show.

use ocelot_api::body::Build;
use ocelot_model::Status;
use ocelot_testkit::Stages as _;

use super::world::{Plan, Seat, World};

/// What stage `a` with this script leaves as its log, after the script itself; the worker keeps at most 8 MiB of a log.
async fn says(name: &str, script: &str) -> (World, Build, Vec<u8>) {
    let mut world = World::start(Plan::default()).await;
    world.add_worker(Seat { args: vec!["--log-cap=8MiB".to_owned()], ..Seat::host("w") });
    let yml = format!("machineTag: here\nstages:\n  - name: a\n    script:\n      - |\n        {script}\n");
    let number = world.build(name, &yml).await;
    let build = world.finished(number).await;
    assert_eq!(build.status, Status::Passed, "{build:#?}");
    let log = world.log(number, build.stage("a")).await;
    let shown = b"\x1b[0m\n";
    let begin = log.windows(shown.len()).position(|part| part == shown).unwrap() + shown.len();
    world.oracle().await;
    (world, build, log[begin..].to_vec())
}

#[tokio::test]
async fn a_flood_is_cut_with_a_mark_and_the_stage_goes_on() {
    let (_world, _, log) = says("flood", "seq 2000000").await;
    let log = String::from_utf8(log).unwrap();
    let (kept, mark) = log.rsplit_once("\n[log cut: ").unwrap();
    assert_eq!(mark, "it is larger than 8 MiB; the stage goes on]\n");
    // The last number may be cut in the middle.
    let whole: Vec<u32> = kept.lines().map(|line| line.parse().unwrap()).collect();
    let count = whole.len() as u32;
    assert!(count > 1_000_000 && whole[..whole.len() - 1].iter().copied().eq(1..count), "{count} lines");
}

/// Whole lines, cut where they are too long.
const CUT: &str = " [line cut: it is longer than 1 MiB]\n";

#[tokio::test]
async fn a_line_without_an_end_is_cut_with_a_mark() {
    let (_world, _, log) = says("line", "head -c 5000000 /dev/zero | tr '\\0' a; echo; echo after").await;
    let mut want = vec![b'a'; 1 << 20];
    want.extend_from_slice(format!("{CUT}after\n").as_bytes());
    assert!(log == want, "{} bytes", log.len());
}

/// A line that is larger than the whole log may be, and than anybody's memory.
#[tokio::test]
async fn a_line_without_an_end_or_a_limit_is_held_by_nobody() {
    let megabytes = if cfg!(feature = "chaos-all") { 1_000 } else { 60 };
    let script = format!("head -c {megabytes}000000 /dev/zero | tr '\\0' a; echo; echo after");
    let (world, _, log) = says("huge", &script).await;
    let (line, marks) = log.split_at(1 << 20);
    let marks = String::from_utf8_lossy(marks);
    assert!(line.iter().all(|&byte| byte == b'a') && marks.starts_with(CUT.trim_end()), "{marks}");
    assert!(marks.ends_with(" more bytes were not kept; the stage went on]\n"), "{marks}");
    for peak in world.peaks() {
        assert!(peak < 400 << 10, "a peak of {peak} KiB");
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_stay_what_they_are() {
    let (world, build, log) =
        says("bytes", "head -c 300000 /dev/zero | tr '\\0' '\\377'; printf '\\000\\r\\a\\n'").await;
    let mut want = vec![0xff; 300_000];
    want.extend_from_slice(b"\0\r\x07\n");
    assert!(log == want, "{} bytes", log.len());
    // A reader of text gets some, too.
    assert!(world.admin().log(build.number).await.unwrap().contains('\u{fffd}'));
}

#[tokio::test]
async fn a_million_codes_of_a_terminal_are_kept_and_shown() {
    let script = "i=0; while [ $i -lt 1000 ]; do printf '\\033[3%dm' 1 2 3 4 5 6 7 1; i=$((i+1)); done > part; \
                  for i in $(seq 125); do cat part; echo; done; echo end";
    let (world, build, log) = says("codes", script).await;
    let text = String::from_utf8(log).unwrap();
    assert!(
        text.matches("\u{1b}[3").count() == 1_000_000 && text.ends_with("m\nend\n"),
        "{} bytes",
        text.len()
    );
    // The page of it is no larger than other pages.
    let page = world.page(&format!("/builds/{}?stage={}", build.number, build.stage("a").id)).await;
    assert!(page.starts_with("HTTP/1.1 200") && page.len() < 8 << 20, "{} bytes: {page:.300}", page.len());
}
