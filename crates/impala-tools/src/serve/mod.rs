//! `impala-report --serve`: serves the report of runs that still go on, as a live page over HTTP.
//!
//! `now` reads a run and says what it does, `live` keeps what is drawn of all of them, in blocks with versions, `watcher` is
//! the thread that does both once a second, `server` answers browsers from it, `address` says where it listens and who may ask.
//! The plots, the verdict and their words are those of [`crate::report`], the figures those of [`crate::top`].
//!
//! It reads the files of a run folder and the status segment, and writes nothing: a run does not notice it. What a run wrote is
//! not trusted to be harmless: every text of it is escaped where it is drawn, and the page may run no script but its own.

mod address;
mod live;
mod now;
mod server;
mod watcher;

pub(crate) use address::Address;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use impala_metrics::RunId;
use maud::{PreEscaped, html};
use tokio::net::TcpListener;

use crate::report::{GrowingRun, ReportError, document, title};
use server::Site;
use watcher::Watcher;

/// Style of what only this page has.
const STYLE: &str = ".block{display:contents}.figures td{white-space:pre-wrap}.small{font-size:12px;margin-top:8px}.lost #said{color:#c2255c;font-weight:600}";

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ServeError {
    /// A folder is not a run folder.
    #[error(transparent)]
    Run(#[from] ReportError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; {advice}", advice = advice(source))]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system refused what a server needs.
    #[error("cannot start the server: {0}")]
    Start(#[from] io::Error),
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "perhaps another impala-report serves there; --serve 0 takes a port that is free"
        }
        io::ErrorKind::AddrNotAvailable => "name an address of this machine, or 0.0.0.0 for all",
        io::ErrorKind::PermissionDenied => "name a port of 1024 or above",
        _ => "name another address",
    }
}

/// Serves the page of some runs until SIGINT or SIGTERM.
pub(crate) fn serve(Address(address): Address, run_dirs: &[PathBuf]) -> Result<(), ServeError> {
    let runs = run_dirs.iter().map(|path| GrowingRun::open(path));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listen = |source| ServeError::Listen { address, source };
    let listener = runtime.block_on(TcpListener::bind(address)).map_err(listen)?;
    let listening = listener.local_addr()?;
    let page = page(&runs);
    let (watcher, drawings) = Watcher::start(runs)?;
    let site = Site {
        listening: listening.ip(),
        id: RunId::of_this_process()?.to_string(),
        page: page.into(),
        drawings,
    };
    let mut said = format!("http://{listening}/ shows {} until Ctrl-C\n", count(run_dirs.len()));
    if !listening.ip().is_loopback() {
        said.push_str("whoever reaches this address can read them: there is no password\n");
    }
    let announce = || {
        let mut out = io::stdout().lock();
        let _closed_is_fine = out.write_all(said.as_bytes()).and_then(|()| out.flush());
    };
    let served = runtime.block_on(server::serve(listener, site, announce));
    // What is still sent to slow clients is not waited for.
    runtime.shutdown_background();
    drop(watcher);
    Ok(served?)
}

fn count(runs: usize) -> String {
    if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") }
}

/// The page before its script has asked for the first time.
fn page(runs: &[GrowingRun]) -> String {
    let names: Vec<&str> = runs.iter().map(|run| run.name()).collect();
    let content = html! {
        style { (PreEscaped(STYLE)) }
        p.soft id="said" role="status" { "Looking." }
        noscript { p { "This page needs its script to follow a run; impala-report without --serve makes one without." } }
        div id="live" {}
        script src="page.js" {}
    };
    document(&title(&names), &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_else_and_names_are_text() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("<script>alert(1)<");
        std::fs::create_dir(&path).expect("made");
        std::fs::write(path.join("config.toml"), "").expect("written");
        let page = page(&[GrowingRun::open(&path).expect("a run folder")]);
        assert!(page.contains("&lt;script&gt;alert(1)&lt;"), "{page}");
        assert_eq!(page.matches("<script").count(), 1, "its own, from this server");
        for part in ["http:", "https:", "//", "url(", "@import"] {
            assert!(!page.contains(part), "{part}");
        }
    }

    #[test]
    fn an_address_that_is_in_use_comes_with_what_to_type() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("an address");
        let error = serve(Address(address), &[]).expect_err("in use").to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--serve 0"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}
