//! Runs child programs until they end, and passes signals on to them.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::low_level::pipe;

/// How often who watches is told that the program still runs.
const TICK_MS: u16 = 250;
/// Signals that ask for the end.
const ENDS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// A program does not start, or signals cannot be waited for.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {source}")]
pub struct SystemError {
    action: String,
    source: io::Error,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// It took too long, and was killed.
    TooLong,
    /// A signal asked this program for the end, and that one was given the time to end in order.
    Asked(Signal),
}

/// Waits for the ends of programs, and for signals to this one.
#[derive(Debug)]
pub struct Watch {
    deaths: UnixStream,
    ends: Vec<(Signal, UnixStream)>,
}

/// A program that is killed when it is dropped before its end.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
}

impl SystemError {
    /// For `map_err` on what the system may refuse.
    pub fn new(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self { action, source }
    }
}

impl Watch {
    /// From now on a signal that asks for the end is told by [`Watch::asked`]. A signal that this process was
    /// started to ignore, as by `nohup`, stays ignored.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub fn new() -> Result<Self, SystemError> {
        let ignored = ignored_signals();
        let ends = ENDS.into_iter().filter(|&signal| ignored & (1 << (signal as u32 - 1)) == 0);
        let ends = ends.map(|signal| Ok((signal, stream(signal)?)));
        let ends = ends.collect::<io::Result<_>>();
        let watch = ends.and_then(|ends| Ok(Self { deaths: stream(Signal::SIGCHLD)?, ends }));
        watch.map_err(SystemError::new("wait for signals"))
    }

    /// Runs `command` to its end; `tick` is called a few times a second.
    ///
    /// # Errors
    /// If it does not start.
    pub fn run(
        &self,
        command: &mut Command,
        limit: Option<Duration>,
        mut tick: impl FnMut(),
    ) -> Result<Ended, SystemError> {
        let started = Instant::now();
        let mut running = Running::start(command)?;
        let mut asked = None;
        loop {
            if let Some(signal) = self.asked() {
                // The second one is passed on as well: a supervisor then waits for nobody.
                running.send(signal);
                asked = Some(signal);
            }
            if let Some(status) = running.status()? {
                return Ok(asked.map_or(Ended::Exited(status), Ended::Asked));
            }
            if limit.is_some_and(|limit| started.elapsed() > limit) {
                return Ok(Ended::TooLong);
            }
            self.wait();
            tick();
        }
    }

    /// The signal that asked for the end since the last call, if one did.
    #[must_use]
    pub fn asked(&self) -> Option<Signal> {
        let mut ends = self.ends.iter();
        ends.find_map(|(signal, stream)| drained(stream).then_some(*signal))
    }

    /// Until a program ends, a signal comes, or a quarter of a second has passed.
    pub fn wait(&self) {
        let streams = self.ends.iter().map(|(_, stream)| stream).chain([&self.deaths]);
        let mut ready: Vec<_> =
            streams.map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)).collect();
        let _interrupted_is_early = poll(&mut ready, PollTimeout::from(TICK_MS));
        let _looked_for_anyway = drained(&self.deaths);
    }
}

impl Running {
    /// Starts a program, in a process group of its own, so that Ctrl-C reaches it once: through who watches.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(command: &mut Command) -> Result<Self, SystemError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.process_group(0).spawn();
        let child = child.map_err(SystemError::new(format!("run {name}")))?;
        Ok(Self { name, child })
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If the system does not know it.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, SystemError> {
        self.child.try_wait().map_err(SystemError::new(format!("wait for {}", self.name)))
    }

    /// Sends it a signal.
    pub fn send(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _gone_is_fine = kill(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}

fn stream(signal: Signal) -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    pipe::register(signal as i32, write)?;
    Ok(read)
}

/// Whether there was something in the stream.
fn drained(mut stream: &UnixStream) -> bool {
    let mut bytes = [0; 64];
    matches!(stream.read(&mut bytes), Ok(1..))
}

/// A bit for each signal, from 1.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn programs_end_by_themselves_or_when_they_take_too_long() {
        let watch = Watch::new().expect("signals");
        let ended = watch.run(&mut shell("exit 3"), None, || {}).expect("runs");
        assert!(matches!(ended, Ended::Exited(status) if status.code() == Some(3)), "{ended:?}");
        let mut ticks = 0;
        let limit = Some(Duration::from_millis(10));
        let ended = watch.run(&mut shell("exec sleep 600"), limit, || ticks += 1).expect("runs");
        assert!(ended == Ended::TooLong && ticks > 0, "{ended:?}");
        let error = watch.run(&mut Command::new("no-such-program"), None, || {}).expect_err("none");
        assert!(error.to_string().contains("run no-such-program"), "{error}");
    }
}
