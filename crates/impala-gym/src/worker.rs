//! One worker process: how it is started, how it is asked for a step, and how it is killed and reaped.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::launch;
use super::messages::{ABI, Answer, Command, Hello, PACKET_BYTES, Region, Request};
use super::source::Source;
use super::wire::Channel;
use impala_env::{EnvError, EnvOptions, EnvSpec};

/// How long a worker has to close its environments when it is no longer needed.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// How much of what a dead worker printed last is shown.
const LAST_OUTPUT_BYTES: u64 = 2048;
const LAST_OUTPUT_LINES: usize = 12;

/// A worker and these ends of what leads to it. Killed and reaped when dropped.
#[derive(Debug)]
pub(super) struct Worker {
    id: String,
    child: Child,
    channel: Channel,
    /// What it prints, from `output_start` on.
    output: File,
    output_start: u64,
    packet: Vec<u8>,
    gone: bool,
}

impl Worker {
    /// Starts a worker for `envs` environments and learns what they look like, and what is odd about them.
    /// `id` is the whole name.
    ///
    /// # Errors
    /// [`EnvError::NotMade`] for what the user can mend, [`EnvError::Failed`] if the environment failed.
    pub(super) fn start(
        id: &str,
        options: &EnvOptions,
        envs: usize,
        seed: u64,
    ) -> Result<(Self, EnvSpec, Vec<String>), EnvError> {
        let not_made = |problem: String| EnvError::not_made(id, problem);
        let (source, name) = Source::of(id).unwrap_or((Source::Gymnasium, id));
        if name.is_empty() || name.ends_with(':') {
            let prefix = source.prefix();
            return Err(not_made(format!("name one after {prefix}, such as {prefix}CartPole-v1")));
        }
        let external = &options.external;
        let mut output = launch::output_of(external).map_err(|error| {
            not_made(format!("its log {:?} cannot be opened: {error}", external.log))
        })?;
        let output_start = output.seek(SeekFrom::End(0)).unwrap_or(0);
        let python = launch::python_of(external);
        let (child, channel) =
            launch::start(&python, &output).map_err(|error| EnvError::NoInterpreter {
                id: id.to_owned(),
                program: python.display().to_string(),
                problem: error.to_string(),
            })?;
        let mut worker = Self {
            id: id.to_owned(),
            child,
            channel,
            output,
            output_start,
            packet: vec![0; PACKET_BYTES],
            gone: false,
        };
        let hello = worker
            .handshake(&Request::new(source, name, options, envs, seed), external.start_timeout)?;
        let spec = hello.spec(id).map_err(not_made)?;
        Ok((worker, spec, hello.notes))
    }

    fn handshake(
        &mut self,
        request: &Request<'_>,
        start_timeout: Option<Duration>,
    ) -> Result<Hello, EnvError> {
        let request = serde_json::to_vec(request).map_err(|e| self.not_made(e.to_string()))?;
        if request.len() > PACKET_BYTES {
            return Err(self.not_made("its options are too long".into()));
        }
        // If the send fails, the receive below fails too and reports why.
        let _shows_below = launch::send_modules(&self.channel)
            .and_then(|()| self.channel.send_with_pipes(&request));
        if let Some(limit) = start_timeout.filter(|&limit| !self.channel.has_news(limit)) {
            return Err(EnvError::StartTimeout {
                id: self.id.clone(),
                limit_s: limit.as_secs_f64(),
            });
        }
        let length = self.receive();
        if length == 0 {
            let (how, last) = (self.ending(), self.output_tail());
            let last = last.last().map_or_else(String::new, |line| format!(": {line}"));
            return Err(self.not_made(format!("Python {how} before it had started{last}")));
        }
        let hello: Hello = serde_json::from_slice(&self.packet[..length]).map_err(|error| {
            self.not_made(format!("the worker's first answer is not understood: {error}"))
        })?;
        match (&hello.unusable, &hello.failed) {
            (Some(problem), _) => Err(EnvError::NotMade {
                id: self.id.clone(),
                problem: problem.clone(),
                remedy: hello.remedy,
            }),
            (None, Some(reason)) => Err(self.failed(reason.clone())),
            (None, None) if hello.abi != ABI => Err(self.not_made(format!(
                "the worker speaks version {} of the messages, this program {ABI}",
                hello.abi
            ))),
            (None, None) => Ok(hello),
        }
    }

    /// Lets the worker map `file`.
    ///
    /// # Errors
    /// [`EnvError::Failed`].
    pub(super) fn map(
        &mut self,
        region: Region,
        file: BorrowedFd<'_>,
        len_bytes: usize,
    ) -> Result<(), EnvError> {
        let _shows_below = self.channel.send_descriptor(file);
        self.call(&Command::map(region, len_bytes as u64))
    }

    /// Has a command done.
    ///
    /// # Errors
    /// [`EnvError::Failed`] with what the environment said, or of what the worker died.
    pub(super) fn call(&mut self, command: &Command) -> Result<(), EnvError> {
        self.send(command)?;
        self.wait()
    }

    /// Sends a command, which [`Worker::wait`] waits for.
    ///
    /// # Errors
    /// [`EnvError::Failed`] with what the worker died of.
    pub(super) fn send(&mut self, command: &Command) -> Result<(), EnvError> {
        self.channel.command(&command.bytes()).map_err(|_dead| self.died())
    }

    /// Waits until what was sent is done.
    ///
    /// # Errors
    /// As [`Worker::call`].
    pub(super) fn wait(&mut self) -> Result<(), EnvError> {
        match self.channel.answer().map(Answer::of) {
            Ok(Some(Answer::Done)) => Ok(()),
            Ok(Some(Answer::Failed)) => match self.receive() {
                0 => Err(self.died()),
                length => {
                    let reason = String::from_utf8_lossy(&self.packet[..length]).into_owned();
                    Err(self.failed(reason))
                }
            },
            Ok(None) => {
                // Nobody knows what it will do next.
                self.end();
                Err(self.failed("its worker sent an invalid reply".into()))
            }
            // What is wrong with a pipe that is ours alone is that nobody is at its other end.
            Err(_) => Err(self.died()),
        }
    }

    fn died(&mut self) -> EnvError {
        let mut reason = format!("its worker (pid {}) {}", self.child.id(), self.ending());
        for line in self.output_tail() {
            reason.push_str("\n  ");
            reason.push_str(&line);
        }
        self.failed(reason)
    }

    /// Whether it can take no more commands.
    pub(super) const fn is_gone(&self) -> bool {
        self.gone
    }

    /// Length of the next packet, 0 if there is none to come.
    fn receive(&mut self) -> usize {
        // An error of a socket that is ours alone means as much as its end.
        self.channel.receive(&mut self.packet).unwrap_or(0)
    }

    /// Kills and reaps it, and says how it ended (G2).
    fn ending(&mut self) -> String {
        self.channel.hang_up();
        let ended = self.exited_within_grace().then(|| self.child.wait().ok()).flatten();
        let status = ended.or_else(|| self.end());
        status.map_or_else(|| "is gone".to_owned(), described)
    }

    /// Pipes and socket close an instant before the process can be reaped, or a worker closed them on
    /// purpose.
    fn exited_within_grace(&mut self) -> bool {
        let deadline = std::time::Instant::now() + SHUTDOWN_GRACE;
        while std::time::Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => std::thread::yield_now(),
                Ok(Some(_)) => {
                    self.gone = true;
                    return true;
                }
                Err(_) => return false,
            }
        }
        false
    }

    fn end(&mut self) -> Option<ExitStatus> {
        self.gone = true;
        let _dead_is_fine = self.child.kill();
        self.child.wait().ok()
    }

    /// The last lines that it printed.
    fn output_tail(&self) -> Vec<String> {
        let end = self.output.metadata().map_or(0, |file| file.len());
        let start = self.output_start.max(end.saturating_sub(LAST_OUTPUT_BYTES));
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(0)];
        if self.output.read_exact_at(&mut bytes, start).is_err() {
            return Vec::new();
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let kept = lines.len().saturating_sub(LAST_OUTPUT_LINES);
        lines[kept..].iter().map(|line| line.replace(char::is_control, " ")).collect()
    }

    fn failed(&self, reason: String) -> EnvError {
        EnvError::failed(&self.id, reason)
    }

    fn not_made(&self, problem: String) -> EnvError {
        EnvError::not_made(&self.id, problem)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.gone {
            self.channel.hang_up();
            // Its end of the socket closes when it has closed its environments.
            if self.channel.has_news(SHUTDOWN_GRACE) && self.exited_within_grace() {
                let _reaped = self.child.wait();
                return;
            }
            self.end();
        }
    }
}

fn described(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(number), _) => match Signal::try_from(number) {
            Ok(signal) => format!("was killed by {signal}"),
            Err(_) => format!("was killed by signal {number}"),
        },
        (None, code) => format!("left with code {}", code.unwrap_or_default()),
    }
}
