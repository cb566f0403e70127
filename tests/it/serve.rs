//! The page of `impala-report --serve`: real runs, a real server, and clients that mean no good.

mod browser;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{Finished, Running, assert_refused, finish, number, run_as_usual, start};
use crate::watch::wait_until;

const MAX_WAIT: Duration = Duration::from_secs(120);
/// For one answer.
const ANSWER: Duration = Duration::from_secs(60);

fn command(run_dirs: &[&Path], flags: &[&str]) -> Command {
    let mut command = run_as_usual(env!("CARGO_BIN_EXE_impala-report"));
    command.args(run_dirs).args(flags);
    command
}

/// A server of some runs, at a free port.
struct Server {
    running: Running,
    address: SocketAddr,
}

/// Status, headers and body of an answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Server {
    fn of(run_dirs: &[&Path]) -> Self {
        let running = Running::of(command(run_dirs, &["--serve", "127.0.0.1:0"]));
        let mut said = String::new();
        let pipe = running.stdout().as_fd().try_clone_to_owned().expect("a descriptor");
        BufReader::new(File::from(pipe)).read_line(&mut said).expect("UTF-8");
        let address = said.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        let address = address.and_then(|address| address.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("no address in {said:?}")), running }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(ANSWER)).expect("a timeout");
        stream
    }

    /// Sends this, and reads until the server closes.
    fn send(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut bytes = Vec::new();
        // A server that has read enough closes, whatever is still sent.
        let _refused = stream.write_all(request);
        let _reset = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answer { status: status.unwrap_or(0), head: head.to_lowercase(), body: body.to_owned() }
    }

    fn ask(&self, method: &str, target: &str, host: &str) -> Answer {
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        self.send(request.as_bytes())
    }

    fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &self.address.to_string())
    }

    /// What a browser is sent that has seen what is in `before`.
    fn live(&self, before: Option<&Value>) -> Value {
        let query = before.map_or_else(String::new, |before| {
            let server = before["server"].as_str().expect("a name");
            format!("?server={server}&since={}", before["version"])
        });
        let answer = self.get(&format!("/live.json{query}"));
        assert_eq!(answer.status, 200, "{}", answer.head);
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// Asks until what it sends to a new browser is as wanted.
    fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut live = Value::Null;
        wait_until(what, MAX_WAIT, || {
            live = self.live(None);
            wanted(&live)
        });
        live
    }

    /// Ends it as Ctrl-C does.
    fn end(self) -> Finished {
        self.running.signal(Signal::SIGINT);
        self.running.wait()
    }
}

/// HTML of a block.
fn block<'a>(live: &'a Value, id: &str) -> &'a str {
    live["changed"][id].as_str().unwrap_or_default()
}

/// A folder as a run writes it, with so many lines of metrics.
fn made_up_run(folder: &Path, name: &str, lines: u64) -> PathBuf {
    let run_dir = folder.join(name);
    fs::create_dir(&run_dir).expect("made");
    let config = "env = '<img src=x onerror=alert(1)>'\nactors = 2\n\"<b>\" = '</td>&amp;'\n";
    fs::write(run_dir.join("config.toml"), config).expect("written");
    add_lines(&run_dir, 1..=lines);
    run_dir
}

fn add_lines(run_dir: &Path, range: std::ops::RangeInclusive<u64>) {
    let mut log = fs::OpenOptions::new();
    let log = log.create(true).append(true).open(run_dir.join("metrics.jsonl"));
    let mut log = log.expect("opened");
    for at in range {
        writeln!(
            log,
            "{{\"wall_s\":{at},\"frames\":{},\"frames_per_s\":{},\"learner\":{{\"updates\":{at},\"wait_ns\":{}}},\
             \"actors\":{{\"frames_acted\":{}}},\"ring\":{{\"ready\":{at}}}}}",
            at * 100,
            at * 7,
            at * 1_000_000,
            at * 100
        )
        .expect("written");
    }
}

#[test]
fn a_run_is_followed_until_it_ends_and_is_deleted() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let flags = ["--actors", "2", "--total-frames", "1000000000", "--log-interval", "0.2"];
    let running = start(&run_dir, flags);
    wait_until("it has a configuration", MAX_WAIT, || run_dir.join("config.toml").exists());
    let server = Server::of(&[&run_dir]);
    let page = server.get("/");
    assert_eq!(page.status, 200, "{}", page.head);
    assert!(page.body.contains("<h1>run</h1>") && page.head.contains("script-src 'self'"));

    let first = server.wait("it is seen to learn", |live| {
        let figures = &live["runs"][0]["figures"];
        figures["frames_per_s"].as_f64().is_some_and(|rate| rate > 0.0)
            && figures["actors"][1]["frames_per_s"].as_f64().is_some_and(|rate| rate > 0.0)
            && block(live, "plot-return-over-frames").contains("class=\"line")
            && block(live, "verdict-of-run-0").contains("data-verdict=\"")
    });
    let run = &first["runs"][0];
    assert_eq!((run["state"].as_str(), run["running"].as_bool()), (Some("running"), Some(true)));
    assert_eq!(run["figures"]["env"], "CartPole-v1");
    let now = block(&first, "now-0");
    for part in ["Learner", "Ring", "slots", "FRAMES/S", "CartPole-v1"] {
        assert!(now.contains(part), "{part} in {now}");
    }
    // Only what changed is sent to who has seen the rest: the curve does, the settings do not.
    let mut later = Value::Null;
    wait_until("the curve moves", MAX_WAIT, || {
        later = server.live(Some(&first));
        !block(&later, "plot-return-over-frames").is_empty()
    });
    assert_ne!(block(&later, "plot-return-over-frames"), block(&first, "plot-return-over-frames"));
    assert!(number(&later, "version") > number(&first, "version"));
    assert!(
        !block(&first, "configuration").is_empty() && block(&later, "configuration").is_empty()
    );
    let frames = |live: &Value| number(&live["runs"][0]["figures"], "frames");
    assert!(frames(&later) > frames(&first));

    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code(), Some(0));
    let ended = server.wait("its end is told", |live| live["runs"][0]["state"] == "interrupted");
    assert_eq!(ended["runs"][0]["running"], false);
    assert!(block(&ended, "facts").contains("interrupted"), "{}", block(&ended, "facts"));
    assert!(frames(&ended) >= frames(&later), "the last figures stay");
    // Nothing changes any more, so nothing is sent.
    wait_until("it stands still", MAX_WAIT, || {
        let settled = server.live(None);
        server.live(Some(&settled))["changed"].as_object().is_some_and(serde_json::Map::is_empty)
    });

    fs::remove_dir_all(&run_dir).expect("removed");
    let gone = server.wait("that it is gone is told", |live| live["runs"][0]["state"] == "deleted");
    assert!(block(&gone, "plot-return-over-frames").contains("class=\"line"), "the plots stay");
    let ended = server.end();
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn several_runs_with_hostile_names_stand_side_by_side() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let evil = "<script>alert(1)<";
    let run_dirs = [made_up_run(folder.path(), evil, 5), made_up_run(folder.path(), "b\"'&", 9)];
    let server = Server::of(&[&run_dirs[0], &run_dirs[1]]);
    let list = |run_dir: &Path| fs::read_dir(run_dir).expect("a folder").count();
    let before = run_dirs.each_ref().map(|run_dir| list(run_dir));
    assert!(server.get("/").body.contains("<h1>2 runs</h1>"));
    let live = server.wait("both are read", |live| {
        block(live, "plot-throughput").matches("class=\"line").count() == 2
    });
    let changed = live["changed"].as_object().expect("an object");
    let html: String = changed.values().filter_map(Value::as_str).collect();
    for part in ["<script", "<img", "<b>\"", "onclick"] {
        assert!(!html.contains(part), "{part}");
    }
    for part in
        ["&lt;script&gt;alert(1)&lt;", "&lt;img src=x onerror=alert(1)&gt;", "&lt;/td&gt;&amp;amp;"]
    {
        assert!(html.contains(part), "{part}");
    }
    assert_eq!(live["runs"][0]["name"], evil);
    assert_eq!(html.matches("data-verdict=").count(), 2, "a verdict for each");

    // The first goes on, with half a line at the end, and is then continued from an earlier place, as `--resume` does it.
    add_lines(&run_dirs[0], 6..=8);
    let log = run_dirs[0].join("metrics.jsonl");
    let mut text = fs::read_to_string(&log).expect("a log");
    fs::write(&log, format!("{text}{{\"wall_s\":9,\"fra")).expect("written");
    server.wait("it goes on", |live| {
        block(live, "facts").contains("<td>800</td>")
            && block(live, "facts").contains("<td>900</td>")
    });
    text.truncate(text.find("{\"wall_s\":3,").expect("a third line"));
    fs::write(folder.path().join("cut"), text).expect("written");
    fs::rename(folder.path().join("cut"), &log).expect("renamed");
    server.wait("it is continued", |live| block(live, "facts").contains("<td>200</td>"));
    assert_eq!(run_dirs.each_ref().map(|run_dir| list(run_dir)), before, "nothing is written");
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn what_is_no_request_for_it_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = made_up_run(folder.path(), "run", 3);
    let server = Server::of(&[&run_dir]);
    let here = server.address.to_string();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
        let answer = server.ask(method, "/live.json", &here);
        assert_eq!(answer.status, 405, "{method}: {}", answer.head);
        assert!(answer.head.contains("allow: get, head"), "{}", answer.head);
    }
    let head = server.ask("HEAD", "/", &here);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.head.contains("content-length: "), "{}", head.head);
    let port = server.address.port();
    for (host, status) in [
        (format!("localhost:{port}"), 200),
        ("localhost:9000".to_owned(), 200),
        (format!("evil.example:{port}"), 421),
        ("evil.example".to_owned(), 421),
        (format!("127.0.0.1.evil.example:{port}"), 421),
        (String::new(), 421),
    ] {
        let answer = server.ask("GET", "/live.json", &host);
        assert_eq!(answer.status, status, "{host}: {}", answer.head);
        assert!(status == 200 || !answer.body.contains("run"), "{}", answer.body);
    }
    assert_eq!(server.send(b"GET / HTTP/1.0\r\n\r\n").status, 421, "no name at all");
    let two = format!(
        "GET / HTTP/1.1\r\nHost: {here}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    );
    assert_ne!(server.send(two.as_bytes()).status, 200, "two names");
    assert_eq!(server.ask("GET", "http://evil.example/", &here).status, 421);
    for target in [
        "/config.toml",
        "/../config.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/live.json/../../etc/passwd",
        "//etc/passwd",
        "/page.js/",
    ] {
        let answer = server.get(target);
        assert_eq!(answer.status, 404, "{target}: {}", answer.head);
        assert!(!answer.body.contains("root:") && !answer.body.contains("actors"));
    }
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\nConnection: close\r\n\r\n",
    ] {
        let status = server.send(garbage).status;
        assert!((400..500).contains(&status) || status == 0, "{status} for {garbage:?}");
    }
    let long = "x".repeat(1 << 20);
    for request in [
        format!("GET /{long} HTTP/1.1\r\nHost: {here}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {here}\r\nCookie: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {here}\r\n{}\r\n", "A: b\r\n".repeat(5000)),
    ] {
        let status = server.send(request.as_bytes()).status;
        assert!((400..500).contains(&status) || status == 0, "{status}");
    }
    assert_eq!(server.get("/").status, 200, "it is none the worse");
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn slow_clients_do_not_stop_others() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = made_up_run(folder.path(), "run", 3);
    let server = Server::of(&[&run_dir]);
    // More than it holds: of those that say nothing, that say half, and that do not read what they asked for.
    let mut slow = Vec::new();
    for at in 0..150 {
        let mut stream = server.connect();
        let request = format!("GET /live.json HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
        let said = match at % 3 {
            0 => String::new(),
            1 => request[..20].to_owned(),
            _ => request.repeat(20),
        };
        // The oldest may have been closed already.
        let _closed = stream.write_all(said.as_bytes());
        slow.push(stream);
    }
    for _ in 0..3 {
        assert_eq!(server.get("/live.json").status, 200);
    }
    let descriptors = format!("/proc/{}/fd", server.running.pid());
    // Connections are taken in their order, so all of these were.
    let open = fs::read_dir(&descriptors).expect("its descriptors").count();
    assert!(open < 64 + 32, "{open} descriptors for {} clients", slow.len());
    drop(slow);
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn bad_input_is_one_line() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = made_up_run(folder.path(), "run", 3);
    let missing = folder.path().join("missing");
    let run = |run_dirs: &[&Path], flags: &[&str]| finish(command(run_dirs, flags));
    let finished = run(&[&missing], &["--serve", "0"]);
    assert_refused(&finished, "missing", 3, &["missing is not a run folder", "config.toml"]);
    let finished = run(&[&run_dir, folder.path()], &["--serve", "0"]);
    assert_refused(&finished, "no run", 3, &["is not a run folder"]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let finished = run(&[&run_dir], &["--serve", &address]);
    assert_refused(&finished, "in use", 2, &[&address, "in use", "--serve 0"]);
    let finished = run(&[&run_dir], &["--serve", "192.0.2.1:0"]);
    assert_refused(&finished, "elsewhere", 2, &["192.0.2.1", "an address of this machine"]);
    for (flags, part) in [
        (&["--serve", "runs/A-001"][..], "IP:PORT"),
        (&["--serve=example.org:80"], "IP:PORT"),
        (&["--serve", "0", "--output", "x.html"], "--output"),
    ] {
        let finished = run(&[&run_dir], flags);
        assert_eq!(finished.code(), Some(2), "{flags:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(part), "{}", finished.stderr);
    }
    assert!(!run_dir.join("report.html").exists());
}
