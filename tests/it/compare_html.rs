//! The HTML report of `vertex-chat compare` in a real browser: what it draws is what it says, everywhere and for everybody.

#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use vertex_chat_compare::{Report, html};
use vertex_chat_tests::absent;
use vertex_chat_tests::process::{Folder, Running, run, stderr, vertex_chat};
use vertex_chat_tests::runs::lines;

/// When this names a folder, the pages and pictures of them are put there for people.
const PICTURES: &str = "VERTEX_CHAT_TESTS_PICTURES";
/// A drawing may be off by so many pixels: coordinates are rounded, and very thin marks are widened.
const PIXELS_OFF_MAX: f64 = 0.6;
/// WCAG 2.2, 1.4.3, level AA.
const CONTRAST_MIN: f64 = 4.5;
/// The driver gives the browser ten seconds to print, and hundreds of pages take longer.
const PROMPTS_PRINTED_MAX: usize = 20;
/// A command that takes longer has failed: the machine may be slow, but the browser may hang too.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Enter, as WebDriver writes keys.
const ENTER: &str = "\u{e007}";

/// Chromium without a network, on a page.
struct Browser {
    driver: String,
    session: String,
    // Before the folder, which is removed when nobody writes to it any more.
    _running: Running,
    folder: Folder,
}

impl Browser {
    /// Starts it; `None` when it is not installed.
    fn start(name: &str) -> Option<Self> {
        let is_there = |program: &str| {
            let quiet =
                Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            quiet.is_ok_and(|it| it.success())
        };
        if !is_there("chromedriver") || !is_there("chromium") {
            absent("chromium with chromedriver", "run `cargo xtask setup`");
            return None;
        }
        let mut running = Running::start(Command::new("chromedriver").arg("--port=0").stderr(Stdio::null()));
        let port = loop {
            if let Some((_, port)) = running.line().split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let folder = Folder::new(name);
        let profile = format!("--user-data-dir={}", folder.path("profile").display());
        let options = json!({
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--disable-quic", "--disable-dev-shm-usage",
                "--disable-crash-reporter", "--disable-breakpad",
                "--host-resolver-rules=MAP * ~NOTFOUND", "--force-color-profile=srgb", "--hide-scrollbars", profile],
        });
        let capabilities = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"}}}});
        let driver = format!("http://127.0.0.1:{port}");
        let session = ask(&driver, "POST", "/session", &capabilities);
        let session = session["sessionId"].as_str().unwrap().to_owned();
        let browser = Self { driver, session, folder, _running: running };
        browser.call("POST", "/window/rect", json!({"width": 1280, "height": 900}));
        Some(browser)
    }

    fn call(&self, method: &str, path: &str, body: Value) -> Value {
        ask(&self.driver, method, &format!("/session/{}{path}", self.session), &body)
    }

    /// Calls the browser's own protocol.
    fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.call("POST", "/goog/cdp/execute", json!({"cmd": command, "params": parameters}))
    }

    /// What the body of a function gives in the page.
    fn run(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", json!({"script": script, "args": []}))
    }

    fn element(&self, css: &str) -> String {
        let found = self.call("POST", "/element", json!({"using": "css selector", "value": css}));
        let id = found.as_object().unwrap().values().next().unwrap();
        id.as_str().unwrap().to_owned()
    }

    fn click(&self, css: &str) {
        let element = self.element(css);
        self.call("POST", &format!("/element/{element}/click"), json!({}));
    }

    fn keys(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.call("POST", &format!("/element/{element}/value"), json!({"text": text}));
    }

    /// Loads a report from a file.
    fn open(&self, name: &str, report: &Report) {
        let page = html(report);
        if let Some(folder) = std::env::var_os(PICTURES) {
            std::fs::write(Path::new(&folder).join(format!("{name}.html")), &page).unwrap();
        }
        self.show(&self.folder.file(&format!("{name}.html"), page));
    }

    /// Loads a page from a file.
    fn show(&self, path: &Path) {
        self.call("POST", "/url", json!({"url": format!("file://{}", path.display())}));
        assert_eq!(self.run("return document.readyState"), "complete");
    }

    /// A phone's screen.
    fn phone(&self) {
        let screen = json!({"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true});
        self.devtools("Emulation.setDeviceMetricsOverride", screen);
    }

    fn desk(&self) {
        self.devtools("Emulation.clearDeviceMetricsOverride", json!({}));
    }

    /// `light` or `dark`.
    fn scheme(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features);
    }

    /// Pictures of the page from its top down, when somebody wants them.
    fn pictures(&self, name: &str) {
        const HIGH: usize = 1500;
        const PICTURES_MAX: usize = 8;
        let Some(folder) = std::env::var_os(PICTURES) else { return };
        let size = self.run("return [innerWidth, document.documentElement.scrollHeight]");
        let high = usize::try_from(size[1].as_u64().unwrap()).unwrap();
        for (i, y) in (0..high).step_by(HIGH).take(PICTURES_MAX).enumerate() {
            let clip = json!({"x": 0, "y": y, "width": size[0], "height": HIGH.min(high - y), "scale": 1});
            let picture = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
            let picture = self.devtools("Page.captureScreenshot", picture);
            let bytes = vertex_chat_tests::base64(picture["data"].as_str().unwrap());
            std::fs::write(Path::new(&folder).join(format!("{name}-{i}.png")), bytes).unwrap();
        }
    }

    /// The page on paper.
    fn print(&self, name: &str) -> Vec<u8> {
        let page = json!({"width": 21.0, "height": 29.7});
        let pdf = self.call("POST", "/print", json!({"page": page, "background": true}));
        let pdf = vertex_chat_tests::base64(pdf.as_str().unwrap());
        if let Some(folder) = std::env::var_os(PICTURES) {
            std::fs::write(Path::new(&folder).join(format!("{name}.pdf")), &pdf).unwrap();
        }
        pdf
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser with the session, and is ended itself afterwards.
        let _ = exchange(&self.driver, "DELETE", &format!("/session/{}", self.session), "");
    }
}

/// One command of WebDriver.
fn ask(driver: &str, method: &str, path: &str, body: &Value) -> Value {
    let answer = exchange(driver, method, path, &body.to_string());
    let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let mut answer: Value =
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"));
    let value = answer["value"].take();
    assert!(value.get("error").is_none(), "{method} {path}: {value}");
    value
}

/// A request by hand. The driver says that it closes the connection and does not, so the answer's length is what counts.
fn exchange(driver: &str, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let address = driver.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n\r\n{body}")?;
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    String::from_utf8(body).map_err(std::io::Error::other)
}

/// What is on the page as marks: chart, target, numbers, whether it can be seen, and how far it is from where its numbers are.
///
/// It reads the axes from the drawing and knows nothing of the program that drew it.
const MARKS: &str = r"
    const marks = [];
    for (const svg of document.querySelectorAll('svg[data-chart]')) {
        const d = svg.dataset;
        const axis = (name, low, high) => {
            const from = Number(d[name + 'From']), to = Number(d[name + 'To']);
            const f = d[name + 'Scale'] === 'log' ? Math.log : (v) => v;
            return (v) => {
                const share = (f(v) - f(from)) / (f(to) - f(from));
                return Number(low) + Math.min(1, Math.max(0, share)) * (Number(high) - Number(low));
            };
        };
        const x = axis('x', d.left, d.right), y = axis('y', d.bottom, d.top);
        const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
        for (const mark of svg.querySelectorAll('[data-mark]')) {
            const m = mark.dataset, box = mark.getBBox(), seen = mark.getBoundingClientRect();
            const at = {left: box.x, right: box.x + box.width, top: box.y, bottom: box.y + box.height,
                x: box.x + box.width / 2, y: box.y + box.height / 2};
            const wanted = {
                dot: () => ({x: x(m.x), y: y(m.y)}),
                bar: () => ({left: Number(d.left), right: x(m.x), y: y(m.y)}),
                span: () => ({left: x(m.x), right: x(m.x2), y: y(m.y)}),
                upright: () => ({x: x(m.x), bottom: y(m.y), top: y(m.y2)}),
                column: () => ({left: x(m.x), right: x(m.x2), top: y(m.y), bottom: Number(d.bottom)}),
            }[m.mark]();
            const off = Math.max(...Object.entries(wanted).map(([side, v]) => Math.abs(v - at[side]) * scale));
            marks.push({chart: d.chart, mark: m.mark, target: m.target, run: Number(m.run), x: m.x, x2: m.x2, y: m.y, y2: m.y2, off,
                seen: seen.width > 0 && seen.height > 0, title: mark.querySelector('title').textContent});
        }
    }
    return marks;";

/// Texts whose contrast with what is behind them is too low, by WCAG's formula.
const PALE: &str = r"
    const parse = (c) => { const [r, g, b, a = 1] = c.match(/[\d.]+/g).map(Number); return {r, g, b, a}; };
    const light = ({r, g, b}) => {
        const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (element) => {
        for (let it = element; it; it = it.parentElement) {
            const c = parse(getComputedStyle(it).backgroundColor);
            if (c.a === 1) return c;
        }
        return {r: 255, g: 255, b: 255, a: 1};
    };
    const pale = new Set();
    let texts = 0;
    for (const element of document.body.querySelectorAll('*')) {
        if (['SCRIPT', 'TITLE', 'DESC', 'title', 'desc'].includes(element.tagName)) continue;
        const own = Array.from(element.childNodes).some((it) => it.nodeType === 3 && it.textContent.trim());
        if (!own || !element.checkVisibility()) continue;
        texts += 1;
        const style = getComputedStyle(element);
        const front = parse(element instanceof SVGElement ? style.fill : style.color);
        const [one, other] = [light(front), light(behind(element))].sort((a, b) => b - a);
        const ratio = (one + 0.05) / (other + 0.05);
        if (ratio < MIN) pale.add(`${element.tagName}.${element.getAttribute('class')}: ${ratio.toFixed(2)}`);
    }
    return {texts, pale: Array.from(pale)};";

/// Elements that are wider than the screen and in no box that scrolls.
const WIDE: &str = r"
    const wide = [];
    for (const element of document.body.querySelectorAll('*')) {
        const box = element.getBoundingClientRect();
        if (box.right <= innerWidth + 0.5 || box.width === 0 || element.closest('.scroll, .answers, .hidden, svg')) continue;
        wide.push(element.tagName + '.' + element.getAttribute('class') + ' ' + Math.round(box.right));
    }
    return {wide: wide.slice(0, 5), page: document.documentElement.scrollWidth};";

/// The page works, whatever is in it.
fn check(browser: &Browser, name: &str, report: &Report) {
    browser.desk();
    browser.scheme("light");
    browser.open(name, report);
    for message in browser.call("POST", "/se/log", json!({"type": "browser"})).as_array().unwrap() {
        let level = message["level"].as_str().unwrap();
        assert!(!["SEVERE", "WARNING"].contains(&level), "{name}: {message}");
    }
    let resources = browser.run("return performance.getEntriesByType('resource').map((it) => it.name)");
    assert_eq!(resources, json!([]), "{name}");
    assert_eq!(browser.run("return typeof window.pwned"), "undefined", "{name}: an answer ran as a script");
    assert_eq!(
        browser.run("return document.querySelectorAll('img, iframe, object, embed, audio, video').length"),
        0
    );
    plotted_numbers_are_the_reports(browser, report);
    browser.pictures(&format!("{name}-light"));
    for scheme in ["light", "dark"] {
        browser.scheme(scheme);
        let pale = browser.run(&PALE.replace("MIN", &CONTRAST_MIN.to_string()));
        assert!(pale["texts"].as_u64().unwrap() > 10, "{name}: {pale}");
        assert_eq!(pale["pale"], json!([]), "{name}, {scheme}");
    }
    browser.pictures(&format!("{name}-dark"));
    browser.scheme("light");
    browser.phone();
    let wide = browser.run(WIDE);
    assert!(wide["page"].as_u64().unwrap() <= 360, "{name}: {wide}");
    browser.pictures(&format!("{name}-phone"));
    browser.desk();
    if report.prompts.len() > PROMPTS_PRINTED_MAX {
        return;
    }
    let pdf = browser.print(name);
    assert!(pdf.starts_with(b"%PDF-"), "{name}");
    let text = String::from_utf8_lossy(&pdf);
    let pages = text.matches("/Type /Page\n").count() + text.matches("/Type/Page/").count();
    assert!(pages > 0, "{name}: a PDF without pages");
}

/// Every mark can be seen, is where its numbers are, and its numbers are those of the report; and none is missing.
fn plotted_numbers_are_the_reports(browser: &Browser, report: &Report) {
    let marks = browser.run(MARKS);
    let marks = marks.as_array().unwrap();
    for mark in marks {
        assert!(mark["off"].as_f64().unwrap() <= PIXELS_OFF_MAX, "{mark}");
        assert_eq!(mark["seen"], true, "{mark}");
        assert_ne!(mark["title"], "", "{mark}");
    }
    let numbers = |chart: &str, mark: &str, label: &str, run: usize, of: [&str; 2]| -> Vec<[f64; 2]> {
        let is_it = |it: &&Value| {
            it["chart"] == chart && it["mark"] == mark && it["target"] == *shown(label) && it["run"] == run
        };
        marks.iter().filter(is_it).map(|it| of.map(|of| it[of].as_str().unwrap().parse().unwrap())).collect()
    };
    for target in &report.targets {
        let (label, run) = (target.label.as_str(), target.run);
        for (chart, bins) in [("latency", &target.latency), ("first-token", &target.first_token)] {
            let wanted: Vec<_> = bins.iter().filter(|it| it.count > 0).map(|it| [it.from, it.to]).collect();
            assert_eq!(numbers(chart, "column", label, run, ["x", "x2"]), wanted, "{chart} of {label}");
            let wanted: Vec<_> =
                bins.iter().filter(|it| it.count > 0).map(|it| [it.to, it.count as f64]).collect();
            assert_eq!(numbers(chart, "column", label, run, ["x2", "y"]), wanted, "{chart} of {label}");
        }
        for (chart, spread) in
            [("quantiles-total", &target.all.total), ("quantiles-first-token", &target.all.first_token)]
        {
            let wanted: Vec<_> =
                spread.iter().flat_map(|it| [it.p50.value, it.p90.value, it.p99.value]).collect();
            let drawn: Vec<_> =
                numbers(chart, "dot", label, run, ["x", "y"]).iter().map(|it| it[0]).collect();
            assert_eq!(drawn, wanted, "{chart} of {label}");
        }
        let cost = target.all.cost_per_thousand;
        let drawn: Vec<_> = numbers("cost", "bar", label, run, ["x", "y"]).iter().map(|it| it[0]).collect();
        assert_eq!(drawn, cost.into_iter().collect::<Vec<_>>(), "cost of {label}");
        let both =
            cost.zip(target.all.total.as_ref().map(|it| it.p50.value)).map(|(cost, time)| [cost, time]);
        assert_eq!(
            numbers("cost-latency", "dot", label, run, ["x", "y"]),
            both.into_iter().collect::<Vec<_>>()
        );
        if report.targets.iter().any(|it| it.stages.iter().filter(|it| it.concurrency.is_some()).count() > 1)
        {
            let wanted: Vec<_> = target
                .stages
                .iter()
                .filter_map(|it| Some([it.concurrency? as f64, it.answers_per_second?]))
                .collect();
            assert_eq!(numbers("throughput", "dot", label, run, ["x", "y"]), wanted, "throughput of {label}");
        }
    }
}

/// A label as an attribute of the page: what cannot be seen is shown. Only what the labels here have in them.
fn shown(label: &str) -> String {
    label.replace('\u{202e}', "⟨U+202E⟩").replace('\0', "␀").replace('\u{1b}', "␛")
}

/// What the first column of the summary says, from the top down.
fn order(browser: &Browser) -> Vec<String> {
    let names = browser
        .run("return Array.from(document.querySelectorAll('#summary tbody th'), (it) => it.dataset.sort)");
    serde_json::from_value(names).unwrap()
}

/// The button of a column, by the words for those who hear the table.
fn heading(browser: &Browser, words: &str) -> String {
    let column = browser.run(&format!(
        "return Array.from(document.querySelectorAll('#summary thead button')).find((it) => \
         it.textContent.includes({})).dataset.column",
        json!(words)
    ));
    format!("#summary thead button[data-column=\"{}\"]", column.as_str().unwrap())
}

#[test]
fn a_report_of_everything_works_in_a_browser() {
    let Some(browser) = Browser::start("everything") else { return };
    check(&browser, "everything", &everything());
}

#[test]
fn every_chart_is_drawn_when_there_are_numbers_for_it() {
    let Some(browser) = Browser::start("charts") else { return };
    browser.open("charts", &everything());
    let charts = browser.run(
        "return Array.from(new Set(Array.from(document.querySelectorAll('svg[data-chart]'), (it) => it.dataset.chart)))",
    );
    let wanted = [
        "latency",
        "first-token",
        "quantiles-total",
        "quantiles-first-token",
        "throughput",
        "p50-concurrency",
        "p99-concurrency",
        "cost",
        "cost-latency",
    ];
    assert_eq!(charts, json!(wanted));
    let empty = "return Array.from(document.querySelectorAll('svg[data-chart]')).filter((it) => \
                 !it.querySelector('[data-mark]') || !it.querySelector('title') || !it.querySelector('desc').textContent).length";
    assert_eq!(browser.run(empty), 0);
}

/// The numbers of one mark's kind in one chart, as the page has them.
fn drawn(marks: &Value, chart: &str, mark: &str, label: &str, of: [&str; 2]) -> Vec<[f64; 2]> {
    let is_it = |it: &&Value| it["chart"] == chart && it["mark"] == mark && it["target"] == *label;
    let marks = marks.as_array().unwrap().iter().filter(is_it);
    marks.map(|it| of.map(|of| it[of].as_str().unwrap().parse().unwrap())).collect()
}

#[test]
#[ignore = "a minute: a browser draws large reports; cargo xtask nightly runs it"]
fn what_a_run_wrote_line_by_line_is_what_its_page_draws() {
    let Some(browser) = Browser::start("run") else { return };
    let (jsonl, page) = (browser.folder.path("run.jsonl"), browser.folder.path("run.html"));
    let mut command = vertex_chat(&["compare", "--emulator", "--sweep", "2,8", "--repeat", "16", "--quiet"]);
    command.args(["Write a story about a magic backpack.", "--jsonl"]).arg(&jsonl).arg("--html").arg(&page);
    let output = run(&mut command, "");
    assert!(output.status.success(), "{}", stderr(&output));
    browser.desk();
    browser.show(&page);
    if let Some(folder) = std::env::var_os(PICTURES) {
        std::fs::copy(&page, Path::new(&folder).join("run.html")).unwrap();
        browser.pictures("run-light");
    }
    let marks = browser.run(MARKS);
    let (head, results) = (lines(&jsonl, "run"), lines(&jsonl, "result"));
    assert_eq!(results.len(), 96);
    for target in head[0]["targets"].as_array().unwrap() {
        let label = target["label"].as_str().unwrap();
        let all: Vec<&Value> = results.iter().filter(|it| it["target"] == label).collect();
        let good: Vec<&&Value> = all.iter().filter(|it| it["error"].is_null()).collect();
        let number = |it: &Value, key: &str| it[key].as_u64().unwrap();
        // Quantiles by their definition, of microseconds.
        let quantiles = |of: &dyn Fn(&Value) -> u64| -> Vec<f64> {
            let mut values: Vec<u64> = good.iter().map(|it| of(it)).collect();
            values.sort_unstable();
            let ranks = [50, 90, 99].map(|percent| (values.len() * percent).div_ceil(100));
            ranks.iter().map(|rank| values[rank - 1] as f64 / 1e6).collect()
        };
        let total = |it: &Value| number(it, "ended_us") - number(it, "due_us");
        let first = |it: &Value| number(it, "first_token_us") - number(it, "due_us");
        let dots = |chart: &str| -> Vec<f64> {
            drawn(&marks, chart, "dot", label, ["x", "y"]).iter().map(|it| it[0]).collect()
        };
        assert_eq!(dots("quantiles-total"), quantiles(&total), "{label}");
        assert_eq!(dots("quantiles-first-token"), quantiles(&first), "{label}");
        // Every answer is in one bar.
        for (chart, of) in [("latency", &total as &dyn Fn(&Value) -> u64), ("first-token", &first)] {
            let bars = drawn(&marks, chart, "column", label, ["x", "x2"]);
            let counts = drawn(&marks, chart, "column", label, ["x", "y"]);
            for ([from, to], [_, count]) in bars.iter().zip(counts) {
                let within = |it: &&&&Value| *from < of(it) as f64 / 1e6 && of(it) as f64 / 1e6 <= *to;
                assert_eq!(good.iter().filter(within).count() as f64, count, "{chart} of {label}");
            }
        }
        let cost: f64 = good.iter().map(|it| it["cost"].as_f64().unwrap()).sum();
        let bars = drawn(&marks, "cost", "bar", label, ["x", "y"]);
        assert!((bars[0][0] - cost / good.len() as f64 * 1000.0).abs() < 1e-9, "{label}");
        let scatter = drawn(&marks, "cost-latency", "dot", label, ["x", "y"]);
        assert_eq!(scatter, [[bars[0][0], quantiles(&total)[0]]], "{label}");
        let throughput = drawn(&marks, "throughput", "dot", label, ["x", "y"]);
        for (stage, [at_once, rate]) in throughput.iter().enumerate() {
            let all: Vec<&&Value> = all.iter().filter(|it| it["stage"] == stage).collect();
            let ended = all.iter().map(|it| number(it, "ended_us")).max().unwrap();
            let began = all.iter().map(|it| number(it, "begun_us").min(number(it, "due_us"))).min().unwrap();
            let answers = all.iter().filter(|it| it["error"].is_null()).count() as f64;
            assert_eq!(*at_once, [2.0, 8.0][stage]);
            assert!((rate - answers / ((ended - began) as f64 / 1e6)).abs() < 1e-9, "{label} {stage}");
        }
        assert_eq!(throughput.len(), 2);
    }
}

#[test]
fn a_click_or_enter_on_a_heading_sorts_and_the_unknown_comes_last() {
    let Some(browser) = Browser::start("sort") else { return };
    browser.open("sort", &everything());
    let labels: Vec<String> = everything().targets.iter().map(|it| shown(&it.label)).collect();
    let by = |order: [usize; 4]| order.map(|it| labels[it].clone()).to_vec();
    assert_eq!(order(&browser), by([0, 1, 2, 3]));
    let cost = heading(&browser, "US dollars for a thousand");
    browser.click(&cost);
    // The third has no price.
    assert_eq!(order(&browser), by([3, 0, 1, 2]));
    browser.click(&cost);
    assert_eq!(order(&browser), by([1, 0, 3, 2]));
    let state = "return Array.from(document.querySelectorAll('#summary th[aria-sort]:not([aria-sort=none])'), (it) => \
                 it.getAttribute('aria-sort'))";
    assert_eq!(browser.run(state), json!(["descending"]));
    browser.keys(&heading(&browser, "Total time, median"), ENTER);
    assert_eq!(browser.run(state), json!(["ascending"]));
    assert_eq!(order(&browser), by([0, 3, 2, 1]));
}

#[test]
fn prompts_are_found_by_words_and_by_difference() {
    let Some(browser) = Browser::start("search") else { return };
    browser.open("search", &everything());
    let shown = || browser.run("return document.querySelectorAll('.prompt:not([hidden])').length");
    assert_eq!(shown(), 4);
    browser.click("#differing");
    assert_eq!(shown(), 3);
    browser.keys("#search", "WEATHER oslo");
    assert_eq!(shown(), 1);
    assert_eq!(browser.run("return document.getElementById('found').textContent"), "1 of 4 shown");
}

#[test]
#[ignore = "a minute: a browser draws large reports; cargo xtask nightly runs it"]
fn extremes_work_in_a_browser() {
    let Some(browser) = Browser::start("extremes") else { return };
    for (name, report) in [
        ("one", one()),
        ("twelve", twelve()),
        ("runs", three_runs()),
        ("failed", all_failed()),
        ("empty", Report::default()),
    ] {
        check(&browser, name, &report);
    }
}

// What follows makes reports.

/// A value with these members in place of its own.
fn with(mut value: Value, members: Value) -> Value {
    fill(&mut value, members);
    value
}

fn fill(into: &mut Value, members: Value) {
    match (into, members) {
        (Value::Object(into), Value::Object(members)) => {
            for (key, value) in members {
                fill(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, value) => *into = value,
    }
}

/// An empty one of what a report is made of.
fn empty<T: Default + serde::Serialize>() -> Value {
    serde_json::to_value(T::default()).unwrap()
}

fn report(members: Value) -> Report {
    serde_json::from_value(with(empty::<Report>(), members)).unwrap()
}

fn spread(p50: f64, by: f64) -> Value {
    let quantile = |value: f64, wide: f64| json!({"value": value, "low": value * (1.0 - wide), "high": value * (1.0 + wide)});
    json!({"count": 240, "min": p50 / by, "mean": p50 * 1.1, "max": p50 * by * by * 1.3, "p50": quantile(p50, 0.04),
        "p90": quantile(p50 * by, 0.08), "p99": quantile(p50 * by * by, 0.2)})
}

/// Bins around a median, as of a logarithmic normal distribution.
fn bins(p50: f64, by: f64) -> Value {
    let edge = |i: i32| p50 * by.powf(f64::from(i) / 4.0);
    let count = |i: i32| (60.0 * (-0.5 * (f64::from(i) + 0.5).powi(2) / 9.0).exp()) as u64;
    (-9..12).map(|i| json!({"from": edge(i), "to": edge(i + 1), "count": count(i)})).collect()
}

fn figures(members: Value) -> Value {
    with(empty::<vertex_chat_compare::Figures>(), members)
}

/// A target that answers: how long it takes, how that spreads, and what a thousand answers cost.
fn answering(label: &str, total: f64, by: f64, cost: Option<f64>, members: Value) -> Value {
    let stage = |n: u64| {
        let slow = 1.0 + 0.05 * n as f64;
        let at_once = json!({"stage": format!("{n} at once"), "concurrency": n, "requests": 60, "ok": 60, "seconds": 60.0,
            "answers_per_second": n as f64 / (total * slow), "total": spread(total * slow, by)});
        figures(at_once)
    };
    let all = figures(
        json!({"requests": 240, "ok": 237, "errors": 3, "rate_limited": 2, "retries": 1, "seconds": 240.0,
        "answers_per_second": 237.0 / 240.0, "first_token": spread(total / 5.0, by), "total": spread(total, by),
        "tokens_per_second": spread(120.0 / total, 1.2), "prompt_tokens": 24000, "completion_tokens": 48000,
        "cost": cost.map(|it| it * 0.237), "without_cost": if cost.is_none() { 237 } else { 0 }, "cost_per_thousand": cost,
        "score": 0.9 - total / 50.0, "scored": 200, "json_valid": 58, "json_asked": 60}),
    );
    let target = json!({"label": label, "model": format!("google/{label}"), "answered": [format!("google/{label}@20260901")],
        "place": "https://us-central1-aiplatform.googleapis.com, us-central1, gemini", "all": all,
        "stages": [stage(1), stage(4), stage(16)], "latency": bins(total, by), "first_token": bins(total / 5.0, by),
        "errors": [["rate_limited", 2], ["http_503", 1]], "finish_reasons": [["stop", 230], ["length", 7]],
        "changes": [["logit_bias: dropped, the model does not take it", 240]]});
    with(with(empty::<vertex_chat_compare::TargetReport>(), target), members)
}

fn a_run(name: &str, labels: &[&str]) -> Value {
    let target = |label: &&str| {
        with(
            empty::<vertex_chat_compare::TargetLine>(),
            json!({"label": label, "model": format!("google/{label}"),
                "url": "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/endpoints/openapi/chat/completions",
                "location": "us-central1", "dialect": "gemini", "policy": "drop", "parameters": {"reasoning_effort": "low"},
                "price": {"input": 0.3, "cached_input": 0.075, "output": 2.5, "source": "https://example.com/prices", "date": "2026-11-01",
                    "long": {"above": 200_000, "input": 0.6, "output": 5.0}}}),
        )
    };
    let judge = with(
        empty::<vertex_chat_compare::TargetLine>(),
        json!({"label": "judge", "model": "google/judge", "url": "https://example.com"}),
    );
    json!({"name": name, "sessions": 2, "results": 960, "end": "complete", "head": with(empty::<vertex_chat_compare::RunLine>(), json!({
        "format": 1, "program": "vertex-chat 0.1.0", "machine": "Linux 6.1, x86_64, 8 × Example CPU", "started": "2026-11-23T06:12:33.123Z",
        "clock": "monotonic, microseconds", "seed": 7, "requests": 960, "prompts": 20,
        "plan": {"targets": "3f2a9c0011223344", "prompts": "8877665544332211", "settings": "00ff00ff00ff00ff"},
        "targets": labels.iter().map(target).collect::<Value>(),
        "settings": {"stream": true, "repeat": 4, "stages": ["1 at once", "4 at once", "16 at once"], "arrivals": "poisson", "retries": 2,
            "timeout": 120.0, "parameters": {"temperature": 0.2, "max_tokens": 512, "response_format": {"type": "json_object"}},
            "breaks": "after 20 errors in a row", "scoring": "judge", "prices": "prices.toml of 2026-11-01",
            "judge": [judge, "You are given a question, what is expected, and an answer.\nSay a number from 0 to 10 & why. <b>No markup.</b>"]}}))})
}

const EVIL: &str = "</script><script>window.pwned = 1</script><img src=x onerror=\"window.pwned = 2\">'\"&amp; \u{202e}txt.exe\0\u{1b}[31m";

fn said(target: usize, pieces: &[(&str, bool)], members: Value) -> Value {
    let pieces: Value = pieces.iter().map(|(text, is_new)| json!({"text": text, "is_new": is_new})).collect();
    with(
        json!({"target": target, "pieces": pieces, "calls": [], "difference": null, "finish_reason": "stop", "first_token": 0.21,
            "total": 1.234 + target as f64, "cost": 0.000_123, "tokens": 83, "score": [0.8, "Right, but long."], "variety": [3, 4]}),
        members,
    )
}

/// Four targets: the second is slow and dear, the third's price is unknown, the fourth's name is hostile.
fn everything() -> Report {
    let names = ["gemini-2.5-flash", "gemini-2.5-pro", "llama-on-vllm", EVIL];
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(60);
    let weather = |city: &str, fault: &str| json!({"name": "get_weather", "arguments": format!("{{\"city\":\"{city}\",\"days\":[1,2,3],\"unit\":\"C\"}}"), "fault": fault});
    report(json!({
        "made": "2026-11-23T07:00:00Z", "program": "vertex-chat 0.1.0", "runs": [a_run("run.jsonl", &names)],
        "targets": [
            answering(names[0], 0.82, 1.4, Some(0.41), json!({})),
            answering(names[1], 4.1, 1.5, Some(6.2), json!({"stopped": "20 errors in a row after stage 2",
                "all": {"ok": 180, "errors": 60, "rate_limited": 44}, "errors": [["rate_limited", 44], ["timeout", 12], ["http_503", 4]]})),
            answering(names[2], 1.9, 1.3, None, json!({"price": null})),
            answering(names[3], 0.84, 1.6, Some(0.12), json!({})),
        ],
        "prompts": [
            {"name": "capital", "messages": [["system", "Answer in a sentence."], ["user", "What is the capital of Norway?"]], "expected": "Oslo", "answers": [
                said(0, &[("The capital of Norway is Oslo.", false)], json!({"json_fault": ""})),
                said(1, &[("The capital of Norway is Oslo", false), (", which has been its seat of government since 1814", true), (".", false)],
                    json!({"difference": {"text": 0.62}})),
                said(2, &[("The capital of Norway is Oslo.", false)], json!({"difference": "same", "cost": null})),
                said(3, &[(EVIL, true)], json!({"difference": {"text": 0.0}, "json_fault": "line 1: not JSON"})),
            ]},
            {"name": "tools", "messages": [["user", "How is the weather in Oslo & Bergen?"]], "answers": [
                said(0, &[], json!({"calls": [weather("Oslo", ""), weather("Bergen", "")], "finish_reason": "tool_calls"})),
                said(1, &[], json!({"calls": [weather("Oslo", "days: 3 is more than 2")], "difference": {"calls": "get_weather is called once, not twice"}})),
                said(2, &[("I cannot look up the weather in Oslo.", true)], json!({"difference": {"calls": "no tool is called"}})),
                said(3, &[], json!({"error": "http_503: the model is overloaded, try again later", "finish_reason": null, "score": null, "cost": null, "tokens": null})),
            ]},
            {"name": EVIL, "messages": [["user", EVIL]], "answers": [
                said(0, &[(&long, false), (EVIL, true)], json!({})),
                said(1, &[("مرحبا بالعالم, עולם, 日本語のテキスト 👩\u{200d}👧", true)], json!({"difference": {"text": 0.995}})),
            ]},
            {"name": "same", "messages": [["user", "Say {\"a\": 1}."]], "answers": [
                said(0, &[("{\"a\": 1}", false)], json!({})), said(1, &[("{\"a\":1}", false)], json!({"difference": "same_json"})),
            ]},
        ],
        "prompts_left_out": 16,
    }))
}

/// One target, neither streamed nor priced, with too few answers for intervals.
fn one() -> Report {
    let few = |value: f64| json!({"value": value, "low": null, "high": null});
    let total = json!({"count": 2, "min": 1.0, "mean": 1.0, "max": 1.0, "p50": few(1.0), "p90": few(1.0), "p99": few(1.0)});
    let target = answering(
        "only",
        1.0,
        1.2,
        None,
        json!({"all": {"requests": 2, "ok": 2, "errors": 0, "rate_limited": 0, "first_token": null,
        "tokens_per_second": null, "cost": null, "total": total, "score": null, "json_asked": 0}, "first_token": [], "stages": [], "errors": [],
        "latency": [{"from": 0.0, "to": 1.0, "count": 1}, {"from": 1.0, "to": 1.0, "count": 1}]}),
    );
    report(json!({"runs": [a_run("one.jsonl", &["only"])], "targets": [target]}))
}

/// Twelve targets with names of all lengths, and two hundred prompts.
fn twelve() -> Report {
    let names: Vec<String> = (0..12)
        .map(|i| {
            format!(
                "{} {i}",
                ["m", "a model with a rather long name", "模型的名字很长很长很长很长很长很长"][i % 3]
            )
        })
        .collect();
    let labels: Vec<&str> = names.iter().map(String::as_str).collect();
    let targets: Value = (0..12)
        .map(|i| {
            let x = i as f64;
            answering(
                labels[i],
                0.5 + 0.21 * (x * 5.0 % 12.0),
                1.3 + x / 40.0,
                (i % 5 != 4).then(|| 0.1 + 0.4 * (x * 7.0 % 12.0)),
                json!({}),
            )
        })
        .collect();
    let prompts: Value = (0..200)
        .map(|i| {
            let answers: Value = (0..12).map(|t| said(t, &[(&format!("Answer {i} of {t}. ").repeat(5), false)], json!({}))).collect();
            json!({"name": format!("{}", i + 1), "messages": [["user", format!("Question {i}?")]], "answers": answers})
        })
        .collect();
    report(json!({"runs": [a_run("twelve.jsonl", &labels)], "targets": targets, "prompts": prompts}))
}

/// Three runs with the same labels.
fn three_runs() -> Report {
    let runs = ["monday.jsonl", "tuesday.jsonl", "wednesday.jsonl"];
    let target = |run: usize, label: &str, total: f64, cost: Option<f64>| {
        answering(label, total, 1.4, cost, json!({"run": run}))
    };
    report(json!({
        "runs": runs.map(|it| a_run(it, &["flash", "pro"])),
        "targets": [
            target(0, "flash", 0.8, Some(0.4)), target(0, "pro", 4.0, Some(6.0)), target(1, "flash", 0.81, Some(0.4)), target(1, "pro", 3.2, Some(5.1)),
            target(2, "flash", 1.2, None), target(2, "pro", 4.4, Some(6.6)),
        ],
    }))
}

/// Nobody answers, and names are as long as names get.
fn all_failed() -> Report {
    let names = ["long".repeat(120), "w i t h  s p a c e s ".repeat(30)];
    let failed = |label: &str| {
        with(
            empty::<vertex_chat_compare::TargetReport>(),
            json!({"label": label, "model": label, "all": {"requests": 50, "errors": 50, "seconds": 2.0},
                "errors": [["connect", 49], [format!("http_{}", "9".repeat(80)), 1]], "stopped": label}),
        )
    };
    let error = |target: usize| {
        said(
            target,
            &[],
            json!({"error": "connect: ".to_owned() + &"x".repeat(300), "score": null, "cost": null, "tokens": null}),
        )
    };
    report(json!({
        "runs": [with(a_run(&names[0], &[&names[0], &names[1]]), json!({"end": null}))],
        "targets": [failed(&names[0]), failed(&names[1])],
        "prompts": [{"name": names[0], "messages": [["user", names[0]]], "answers": [error(0), error(1)]}],
    }))
}
