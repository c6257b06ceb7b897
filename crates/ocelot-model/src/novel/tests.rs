use super::*;

fn same(a: &str, b: &str, want: bool) {
    assert_eq!(shape(a.as_bytes()) == shape(b.as_bytes()), want, "{a} | {b}");
}

#[test]
fn what_differs_from_run_to_run_has_no_shape() {
    same("finished in 0.53s", "finished in 812ms", true);
    same("2026-01-02T03:04:05.678Z start", "2027-11-12T13:14:15Z start", true);
    same("\x1b[32mok\x1b[0m  12", "ok 3", true);
    same("10%\r50%\rdone 100%", "done 7%", true);
    same("[=====>    ] 3/10 load", "[========> ] 9/10 load", true);
    same("cloned into /tmp/a1", "cloned into /var/x/y", true);
    same("heap at 0xb71d21e6 size 76", "heap at 0x7f size 9", true);
    same("commit 0a1b2c3d4e", "commit ffee1234", true);
    same("id 0d9f8a7b-1c2d-4e3f-8a9b-0c1d2e3f4a5b", "id 1e0f8a7b-2c2d-4e4f-9a9b-1c1d2e3f4a5b", true);
    same("PASS src/a.test.js", "FAIL src/a.test.js", false);
    same("test adds ... ok", "test adds ... FAILED", false);
    same("error: a", "error: b", false);
    for nothing in ["", "   ", "-----", "12 : 13", "====\r"] {
        assert_eq!(shape(nothing.as_bytes()), None, "{nothing}");
    }
}

fn novel(passed: &[&str], failed: &str, most: usize) -> Novel {
    let mut known = HashSet::new();
    for log in passed {
        let mut shapes = Shapes::default();
        shapes.feed(log.as_bytes());
        known.extend(shapes.finish());
    }
    let mut search = Search::new(known.clone());
    search.feed(failed.as_bytes());
    search.finish(most)
}

#[test]
fn what_no_passed_run_had_is_found() {
    let found = novel(&["a 1\nb 2\n", "c\n"], "a 9\nnew 1\nb 3\nc\nnew 2\nerror: it broke", 5);
    let lines: Vec<_> = found.lines.iter().map(|line| (line.number, line.offset, line.count)).collect();
    assert_eq!((found.all, lines), (2, vec![(6, 22, 1), (2, 4, 2)]));
    assert_eq!(novel(&["same"], "same\nsame", 5), Novel::default());
}

#[test]
fn pieces_give_the_same_as_the_whole() {
    let text = "one\ntwo 2\n\nerror: three\nfour".repeat(3);
    let known = HashSet::new();
    let mut whole = Search::new(known.clone());
    whole.feed(text.as_bytes());
    let whole = whole.finish(9);
    for size in 1..text.len() {
        let mut search = Search::new(known.clone());
        text.as_bytes().chunks(size).for_each(|piece| search.feed(piece));
        assert_eq!(search.finish(9), whole, "{size}");
    }
    // Nothing is known: what tells of no fault is not called new.
    assert_eq!(whole.all, 1);
}

#[test]
fn long_lines_and_many_shapes_are_bounded() {
    let known = HashSet::new();
    let mut search = Search::new(known.clone());
    // A word of megabytes is a name of chance and has no shape; a sentence has one.
    let line = b"many words ".repeat(100_000);
    for _ in 0..3 {
        search.feed(&line);
    }
    search.feed(b"\nerror: b\n");
    let found = search.finish(1);
    assert_eq!((found.all, found.lines[0].offset), (1, 3_300_001));
    let mut shapes = Shapes::default();
    for i in 0..SHAPES_MAX + 10 {
        let word: String = i.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
        shapes.feed(format!("{word}\n").as_bytes());
    }
    assert_eq!(shapes.finish().len(), SHAPES_MAX);
}
