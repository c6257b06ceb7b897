//! The pages in a real browser.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ocelot_model::Status;
use ocelot_testkit::{GitRepo, Setup, TestApp, wait_for};
use thirtyfour::prelude::*;

use super::OCELOT;

/// Chromium and its driver; both end with it.
struct Browser {
    driver: WebDriver,
    process: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    async fn open() -> Browser {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("no chromedriver: apt-get install -y chromium chromium-driver");
        let said = BufReader::new(process.stdout.take().unwrap());
        let port = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                Some(line.split_once("started successfully on port ")?.1.trim_end_matches('.').to_owned())
            })
            .expect("chromedriver says its port");
        let profile = tempfile::tempdir().unwrap();
        let mut caps = DesiredCapabilities::chrome();
        for argument in [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", profile.path().display()),
        ] {
            caps.add_arg(argument).unwrap();
        }
        let driver = WebDriver::new(&format!("http://127.0.0.1:{port}"), caps).await.unwrap();
        Browser { driver, process, _profile: profile }
    }

    /// Waits until the page shows this text in the first element that fits.
    async fn shows(&self, css: &str, text: &str) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        let mut seen = String::new();
        while tokio::time::Instant::now() < deadline {
            seen = self.ask("return document.querySelector(arguments[0])?.innerText ?? ''", css).await;
            if seen.contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{css} never showed {text:?}, at last it showed {seen:?}");
    }

    /// Presses it as it is at this moment: a live page may replace it between finding and clicking.
    async fn press(&self, css: &str) {
        let pressed = self
            .ask(
                "const it = document.querySelector(arguments[0]); it?.click(); return it ? 'yes' : 'no'",
                css,
            )
            .await;
        assert_eq!(pressed, "yes", "there is no {css}");
    }

    async fn ask(&self, script: &str, css: &str) -> String {
        let answer = self.driver.execute(script, vec![css.into()]).await;
        // Between two pages there is nothing to ask.
        answer.ok().and_then(|value| value.convert().ok()).unwrap_or_default()
    }

    async fn close(self) {
        self.driver.clone().quit().await.unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn signing_in_and_watching_a_build() {
    let app = TestApp::start(OCELOT, Setup::Up).await;
    let yml = "image: ocelot-test/busybox\nstages:\n  - name: talk\n    script:\n      - printf '\\033[31mred\\033[0m <b>bold</b>\\n'\n      \
               - for i in 1 2 3; do echo tick $i; sleep 1; done\n  - name: fail\n    script: ['exit 4']\n";
    let repo = GitRepo::with(yml);
    app.add_repo(&repo, "shown").await;
    let browser = Browser::open().await;
    let page = &browser.driver;

    // The link of the first start is a page with a button: looking at it does not use it up.
    let said = std::fs::read_to_string(app.data().with_file_name("server.log")).unwrap();
    let link = said.lines().find_map(|line| Some(line.split_once("within an hour): ")?.1)).unwrap();
    for _ in 0..2 {
        page.goto(link).await.unwrap();
        browser.shows(".login", "once").await;
    }
    browser.press(".login button").await;
    browser.shows(".who", "admin").await;
    browser.press(".top form button").await;
    browser.shows("h1", "Sign in").await;
    page.goto(link).await.unwrap();
    browser.press(".login button").await;
    browser.shows(".note", "used already").await;

    // Nothing is shown to strangers.
    page.goto(format!("{}/builds/1", app.url())).await.unwrap();
    browser.shows("h1", "Sign in").await;
    page.find(By::Css("#token")).await.unwrap().send_keys("wrong").await.unwrap();
    browser.press(".login button").await;
    browser.shows(".note", "No token has this secret").await;
    page.find(By::Css("#token")).await.unwrap().send_keys(app.admin_token()).await.unwrap();
    browser.press(".login button").await;
    // Back where the visit began: a build that does not exist yet.
    browser.shows(".empty", "Not found").await;
    page.goto(app.url()).await.unwrap();
    browser.shows(".empty", "No build yet").await;

    // The list learns of a build by itself.
    let build = app.start_build("git/shown").await;
    browser.shows(".builds .number", "#1").await;
    browser.press(".builds .number a").await;

    // The log grows while the build is on, in colour, and text of a log stays text.
    browser.shows("#head .badge", "running").await;
    browser.shows("details:nth-of-type(2) .log .f1", "red").await;
    browser.shows("details:nth-of-type(2) .log", "<b>bold</b>").await;
    browser.shows("details:nth-of-type(2) .log", "tick 2").await;
    browser.shows("#head .badge", "failed").await;
    browser.shows("#head .why", "exit code 4").await;
    assert_eq!(app.finished(build.number).await.status, Status::Failed);
    let script = "return [...document.querySelectorAll(arguments[0])].map((it) => it.innerText).join(';')";
    let lines = browser.ask(script, ".log .l .t").await;
    let ticks: Vec<&str> = lines.split(';').filter(|line| line.starts_with("tick")).collect();
    assert_eq!(ticks, ["tick 1", "tick 2", "tick 3"], "each line once, in order");

    // Once more by the button.
    browser.press(".actions button").await;
    browser.shows("h1", "#2").await;
    browser.shows(".actions button", "Cancel").await;
    browser.press(".actions button").await;
    browser.shows("#head .badge", "cancelled").await;

    // Numbers have their headings on a telephone, too; what ended is counted some seconds later.
    page.set_window_rect(0, 0, 390, 844).await.unwrap();
    let drawn = "return String(document.querySelector(arguments[0])?.getClientRects().length ?? 0)";
    wait_for("statistics", async || {
        page.goto(format!("{}/stats", app.url())).await.unwrap();
        (browser.ask(drawn, "table.stats tbody td").await == "1").then_some(())
    })
    .await;
    assert_eq!(browser.ask(drawn, "table.stats thead th").await, "1");
    browser.shows("#scale", "the tallest bar is").await;
    let wide = "return String(document.documentElement.scrollWidth <= window.innerWidth)";
    assert_eq!(browser.ask(wide, "").await, "true", "the page moves as a whole");
    browser.close().await;
}
