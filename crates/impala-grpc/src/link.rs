//! One gRPC stream to a server: a connection over which each request gets one answer.

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::http;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_rustls::rustls::ClientConfig;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use super::address::Address;
use super::error::{LinkError, shown, shown_line};
use super::messages::{
    Asked, Failure, Hello, METHOD, Observed, Reply, Request, Reset, Spec, Step, Told, Unusable,
};
use super::observed::Expected;
use super::spec::MESSAGE_BYTES;
use super::tls::encrypted;

/// How often the connection is polled after a request that nobody waits for: once by the stream of requests, once by what writes.
const TURNS_TO_WRITE: usize = 3;

/// Bytes that may be on their way to here: more than a vector step of images.
const WINDOW_BYTES: u32 = 16 << 20;

/// What a stream is opened with.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub(super) hello: Hello,
    /// As the server wants it in the metadata.
    pub(super) token: Option<MetadataValue<Ascii>>,
    /// Whose certificates are taken; for an address without TLS nothing.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// For connection and start together.
    pub(super) start_timeout: Duration,
    /// For each answer after that.
    pub(super) answer_timeout: Duration,
}

/// A stream, and the runtime that moves it while an answer is waited for.
#[derive(Debug)]
pub(super) struct Link {
    address: String,
    requests: mpsc::Sender<Request>,
    replies: Streaming<Reply>,
    answer_timeout: Duration,
    /// Of the last request.
    number: u64,
    /// Last: it is dropped after what lives in it.
    runtime: Runtime,
}

impl Link {
    /// Opens a stream and has the environments made.
    pub(super) fn open(address: &Address, opening: Opening) -> Result<(Self, Spec), LinkError> {
        let deadline = Instant::now() + opening.start_timeout;
        let shown = address.to_string();
        let unreachable = |source| LinkError::Unreachable { address: shown.clone(), source };
        // On this thread: tokio would start one to ask.
        let at = address.resolved().map_err(unreachable)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(unreachable)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let opened = runtime.block_on(async {
            let opened = async {
                let socket = TcpStream::connect(at).await.map_err(unreachable)?;
                socket.set_nodelay(true).map_err(unreachable)?;
                match &opening.tls {
                    Some(config) => {
                        let socket = encrypted(socket, address, Arc::clone(config)).await?;
                        started(socket, &shown, &opening).await
                    }
                    None => started(socket, &shown, &opening).await,
                }
            };
            tokio::time::timeout(left, opened).await
        });
        let no_answer =
            |_| LinkError::NoAnswer { address: shown.clone(), limit: opening.start_timeout };
        let (requests, replies, told) = opened.map_err(no_answer)??;
        let answer_timeout = opening.answer_timeout;
        let link = Self { address: shown, requests, replies, answer_timeout, number: 0, runtime };
        match told {
            Told::Spec(spec) => Ok((link, spec)),
            Told::Unusable(Unusable { problem, remedy }) => Err(LinkError::Unusable {
                address: link.address,
                problem: shown_line(&problem),
                remedy: shown_line(&remedy),
            }),
            Told::Failure(Failure { reason, .. }) => {
                Err(LinkError::Failed { reason: self::shown(&reason) })
            }
            Told::Observed(_) => Err(link.nonsense("an observation before a spec")),
        }
    }

    /// Starts all episodes anew.
    pub(super) fn reset(&mut self, expected: Expected<'_>) -> Result<Observed, LinkError> {
        self.ask(|number| Asked::Reset(Reset { number }), expected)
    }

    /// One step of all environments; `actions` are words as the protocol has them.
    pub(super) fn step(
        &mut self,
        actions: &[u8],
        expected: Expected<'_>,
    ) -> Result<Observed, LinkError> {
        let actions = prost::bytes::Bytes::copy_from_slice(actions);
        self.ask(|number| Asked::Step(Step { number, actions }), expected)
    }

    /// Sends a step, which goes on until [`Link::answer`] has waited for it.
    pub(super) fn start_step(&mut self, actions: &[u8]) {
        let actions = prost::bytes::Bytes::copy_from_slice(actions);
        let request = self.numbered(|number| Asked::Step(Step { number, actions }));
        let Self { requests, answer_timeout, runtime, .. } = self;
        let _shows_in_the_answer = runtime.block_on(async {
            tokio::time::timeout(*answer_timeout, async {
                requests.send(request).await.ok()?;
                // It has left the channel when there is room again. The connection, which is a task of this runtime, writes it
                // when it is next polled: nothing is written outside of a call.
                let _room = requests.reserve().await.ok()?;
                for _ in 0..TURNS_TO_WRITE {
                    tokio::task::yield_now().await;
                }
                Some(())
            })
            .await
        });
    }

    fn numbered(&mut self, asked: impl FnOnce(u64) -> Asked) -> Request {
        self.number += 1;
        Request { kind: Some(asked(self.number)) }
    }

    fn ask(
        &mut self,
        asked: impl FnOnce(u64) -> Asked,
        expected: Expected<'_>,
    ) -> Result<Observed, LinkError> {
        let request = self.numbered(asked);
        self.exchange(Some(request), expected)
    }

    /// Waits for the answer to what was sent last.
    pub(super) fn answer(&mut self, expected: Expected<'_>) -> Result<Observed, LinkError> {
        self.exchange(None, expected)
    }

    fn exchange(
        &mut self,
        request: Option<Request>,
        expected: Expected<'_>,
    ) -> Result<Observed, LinkError> {
        let Self { requests, replies, address, answer_timeout, runtime, number, .. } = self;
        let number = *number;
        let answered = runtime.block_on(async {
            tokio::time::timeout(*answer_timeout, async {
                if let Some(request) = request {
                    // If the stream is over, so is that of the replies, which says why.
                    let _shows_below = requests.send(request).await;
                }
                next(replies, address).await
            })
            .await
        });
        let no_answer =
            |_| LinkError::NoAnswer { address: address.clone(), limit: *answer_timeout };
        match answered.map_err(no_answer)?? {
            Told::Observed(observed) => {
                let expected = Expected { number, ..expected };
                match observed.check(expected) {
                    Ok(()) => Ok(observed),
                    Err(problem) => Err(self.nonsense(&problem)),
                }
            }
            Told::Failure(Failure { number: theirs, reason }) if theirs == number => {
                Err(LinkError::Failed { reason: shown(&reason) })
            }
            Told::Failure(Failure { number: theirs, .. }) => {
                Err(self
                    .nonsense(&format!("a failure of request {theirs}, where {number} was asked")))
            }
            Told::Spec(_) | Told::Unusable(_) => {
                Err(self.nonsense("the answer to a hello, where a step was asked"))
            }
        }
    }

    /// Where the server is.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    fn nonsense(&self, problem: &str) -> LinkError {
        LinkError::Nonsense { address: self.address.clone(), problem: problem.to_owned() }
    }
}

type Opened = (mpsc::Sender<Request>, Streaming<Reply>, Told);

/// Makes of a connection a stream whose hello is answered.
async fn started(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: &str,
    opening: &Opening,
) -> Result<Opened, LinkError> {
    let ended = |problem: String| LinkError::Ended { address: address.to_owned(), problem };
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .handshake::<_, Body>(TokioIo::new(socket))
        .await
        .map_err(|error| ended(error.to_string()))?;
    // Its end shows in the stream.
    tokio::spawn(connection);
    let scheme = if opening.tls.is_some() { "https" } else { "http" };
    let origin =
        format!("{scheme}://{address}").parse().map_err(|error| ended(format!("{error}")))?;
    let mut client =
        Grpc::with_origin(Connection(sender), origin).max_decoding_message_size(MESSAGE_BYTES);
    client.ready().await.map_err(|error| ended(error.to_string()))?;
    let (requests, asked) = mpsc::channel(1);
    let hello = Request { kind: Some(Asked::Hello(opening.hello.clone())) };
    requests.try_send(hello).expect("there is room for one");
    let mut request = tonic::Request::new(ReceiverStream::new(asked));
    if let Some(token) = &opening.token {
        request.metadata_mut().insert("authorization", token.clone());
    }
    let method = http::uri::PathAndQuery::from_static(METHOD);
    let codec = ProstCodec::<Request, Reply>::default();
    let response = client.streaming(request, method, codec).await;
    let response = response.map_err(|status| match opening.tls {
        None if is_silent(&status) => LinkError::Closed { address: address.to_owned(), tls: false },
        _ => of_status(&status, address),
    });
    let mut replies = response?.into_inner();
    let told = next(&mut replies, address).await?;
    Ok((requests, replies, told))
}

/// The next answer.
async fn next(replies: &mut Streaming<Reply>, address: &str) -> Result<Told, LinkError> {
    let ended = |problem: &str| {
        Err(LinkError::Ended { address: address.to_owned(), problem: problem.to_owned() })
    };
    match replies.message().await {
        Ok(Some(Reply { kind: Some(told) })) => Ok(told),
        Ok(Some(Reply { kind: None })) => Err(LinkError::Nonsense {
            address: address.to_owned(),
            problem: "a message of no kind that this program knows".to_owned(),
        }),
        Ok(None) => ended("the server closed it"),
        Err(status) => Err(of_status(&status, address)),
    }
}

/// Whether the connection ended without a word of the server.
fn is_silent(status: &Status) -> bool {
    let of_connection = status.source().is_some_and(|source| source.is::<hyper::Error>());
    of_connection && status.code() == Code::Unknown
}

fn of_status(status: &Status, address: &str) -> LinkError {
    let address = address.to_owned();
    let said = shown_line(status.message());
    let problem = if said.is_empty() { status.code().description().to_owned() } else { said };
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => LinkError::Token { address, problem },
        // A message that cannot be decoded, one that is too long, a method that is not there.
        Code::Internal | Code::OutOfRange | Code::Unimplemented => {
            LinkError::Nonsense { address, problem: format!("an invalid answer: {problem}") }
        }
        _ => LinkError::Ended { address, problem },
    }
}

/// A connection as tonic calls it.
#[derive(Debug)]
struct Connection(http2::SendRequest<Body>);

impl tower_service::Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
