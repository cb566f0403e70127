//! The HTTP server: three fixed routes, all read-only. hyper parses requests; this file limits what a client can use
//! up.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::AbortHandle;

use super::address::is_own_host;
use super::watcher::Drawings;

/// Connections at a time; the oldest makes room for one more.
const MAX_CONNECTIONS: usize = 64;
/// Request line and headers, together.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// For a request to arrive, and between two of a connection.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection takes no new request after this long, and is closed after as long again.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// After an error of the listener, which is out of descriptors.
const RETRY: Duration = Duration::from_millis(200);

const SCRIPT: &str = include_str!("page.js");

/// What may run in the page, and where it may connect to: its own script and its own server. No markup that found its way
/// into it could do anything.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What requests are answered from.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) listening: IpAddr,
    /// Tells this server from one that was here before.
    pub(super) id: String,
    pub(super) page: Bytes,
    pub(super) drawings: Drawings,
}

/// Answers until SIGINT or SIGTERM. Calls `ready` once these end it.
pub(super) async fn serve(
    listener: TcpListener,
    site: Site,
    ready: impl FnOnce(),
) -> std::io::Result<()> {
    let mut signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    ready();
    let accepting = tokio::spawn(accept(listener, Arc::new(site)));
    poll_fn(|context| {
        let is_told =
            signals.0.poll_recv(context).is_ready() || signals.1.poll_recv(context).is_ready();
        if is_told { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    accepting.abort();
    Ok(())
}

async fn accept(listener: TcpListener, site: Arc<Site>) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tokio::spawn(connection(stream, Arc::clone(&site))).abort_handle());
    }
}

async fn connection(stream: TcpStream, site: Arc<Site>) {
    let answer = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(respond(&request, &site).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    // A client that sends nonsense, or nothing, has been answered or has gone.
    if tokio::time::timeout(CONNECTION_TIMEOUT, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _too_slow = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
    }
}

async fn respond(request: &Request<Incoming>, site: &Site) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let said =
        |status, text: &'static str| response(status, TEXT, Bytes::from_static(text.as_bytes()));
    let is_own = |host: &str| is_own_host(site.listening, host);
    let named = request.headers().get_all(header::HOST);
    let mut hosts = named.iter().map(HeaderValue::to_str);
    let has_own = hosts.next().is_some_and(|host| host.is_ok_and(is_own)) && hosts.next().is_none();
    let target = request.uri().authority();
    if !has_own || target.is_some_and(|target| !is_own(target.as_str())) {
        let text = "This server answers requests for 127.0.0.1 and localhost only.\n";
        return said(StatusCode::MISDIRECTED_REQUEST, text);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = said(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let ok = |kind, bytes| response(StatusCode::OK, kind, bytes);
    match request.uri().path() {
        "/" => ok("text/html; charset=utf-8", site.page.clone()),
        "/page.js" => ok("text/javascript; charset=utf-8", Bytes::from_static(SCRIPT.as_bytes())),
        "/live.json" => {
            let live = site.drawings.clone().newest().await;
            let since = seen(request.uri().query().unwrap_or_default(), &site.id);
            ok("application/json", Bytes::from(live.answer(&site.id, since)))
        }
        _ => said(StatusCode::NOT_FOUND, "There is /, /page.js and /live.json.\n"),
    }
}

/// The version that a browser has seen, by its query; 0 if it has none of this server.
fn seen(query: &str, id: &str) -> u64 {
    let value = |name: &str| query.split('&').find_map(|part| part.strip_prefix(name));
    let is_ours = value("server=").is_some_and(|server| server == id);
    value("since=").filter(|_| is_ours).and_then(|since| since.parse().ok()).unwrap_or(0)
}

fn response(status: StatusCode, kind: &'static str, bytes: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_counts_for_the_server_that_gave_it() {
        assert_eq!(seen("server=a-1&since=7", "a-1"), 7);
        assert_eq!(seen("since=7&server=a-1", "a-1"), 7);
        for query in
            ["", "since=7", "server=a-2&since=7", "server=a-1&since=-7", "server=a-1&since="]
        {
            assert_eq!(seen(query, "a-1"), 0, "{query}");
        }
    }

    #[test]
    fn the_script_makes_no_markup_of_its_own() {
        assert_eq!(SCRIPT.matches("innerHTML").count(), 1, "where it puts what the server drew");
        assert!(SCRIPT.contains("innerHTML = changed[id]"));
        for part in ["eval", "insertAdjacentHTML", "document.write", "http"] {
            assert!(!SCRIPT.contains(part), "{part}");
        }
    }
}
