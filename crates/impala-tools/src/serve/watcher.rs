//! The thread that looks at the runs: once a second it reads what their logs have got, and draws it if a browser asked
//! lately. Requests are answered from what it drew last, so that none of them waits for a disk.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::live::Live;
use super::now::WatchedRun;
use crate::report::GrowingRun;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Nothing is drawn when nobody asked for so long.
const INTEREST: Duration = Duration::from_secs(5);
/// What was drawn earlier than this is not shown to who asks after a while.
const STALE: Duration = Duration::from_millis(1500);
/// Who asks waits at most so long for what is not stale: large logs that are read for the first time take their time.
const PATIENCE: Duration = Duration::from_secs(2);

/// What requests tell the watcher.
#[derive(Debug, Default)]
struct Wishes {
    asked: Option<Instant>,
    /// The watcher draws nothing at the moment.
    idle: bool,
    stop: bool,
}

#[derive(Debug, Default)]
struct Bell {
    wishes: Mutex<Wishes>,
    rung: Condvar,
}

impl Bell {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is drawn, for whoever answers requests.
#[derive(Debug, Clone)]
pub(super) struct Drawings {
    bell: Arc<Bell>,
    newest: watch::Receiver<Arc<Live>>,
}

impl Drawings {
    /// The newest, which is at most about a second old unless there is much to read.
    pub(super) async fn newest(&mut self) -> Arc<Live> {
        {
            let mut wishes = self.bell.wishes();
            wishes.asked = Some(Instant::now());
            if wishes.idle {
                self.bell.rung.notify_all();
            }
        }
        let fresh = self.newest.wait_for(|live| live.at.elapsed() < STALE);
        // Stale is better than none.
        drop(tokio::time::timeout(PATIENCE, fresh).await);
        Arc::clone(&self.newest.borrow())
    }
}

/// The thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    bell: Arc<Bell>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watcher {
    /// Looks at the runs once, and then again and again, from a thread of its own.
    ///
    /// # Errors
    /// If there can be no thread.
    pub(super) fn start(runs: Vec<GrowingRun>) -> io::Result<(Self, Drawings)> {
        let bell = Arc::new(Bell::default());
        let of_thread = Arc::clone(&bell);
        let (tell, told) = mpsc::sync_channel(1);
        let work = move || {
            // Made here: a mapped status segment stays with its thread.
            let mut runs: Vec<_> = runs.into_iter().map(WatchedRun::new).collect();
            let more = look(&mut runs);
            let (publish, newest) = watch::channel(Arc::new(Live::of(&mut runs, None)));
            if tell.send(newest).is_ok() {
                watch(&of_thread, &mut runs, &publish, more);
            }
        };
        let thread = std::thread::Builder::new().name("watcher".to_owned()).spawn(work)?;
        let newest = told.recv().map_err(io::Error::other)?;
        let drawings = Drawings { bell: Arc::clone(&bell), newest };
        Ok((Self { bell, thread: Some(thread) }, drawings))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.bell.wishes().stop = true;
        self.bell.rung.notify_all();
        if let Some(thread) = self.thread.take() {
            let _it_has_panicked = thread.join();
        }
    }
}

/// Looks at every run; returns whether one has more to read.
fn look(runs: &mut [WatchedRun]) -> bool {
    // Each of them, whatever the others say.
    runs.iter_mut().map(WatchedRun::look).filter(|more| *more).count() > 0
}

fn watch(bell: &Bell, runs: &mut [WatchedRun], publish: &watch::Sender<Arc<Live>>, mut more: bool) {
    while wait(bell, if more { Duration::ZERO } else { PAUSE }) {
        more = look(runs);
        let wanted = bell.wishes().asked.is_some_and(|asked| asked.elapsed() < INTEREST);
        let before = Arc::clone(&publish.borrow());
        // Of much that is read for the first time, not each part is drawn.
        if wanted && (!more || before.at.elapsed() >= PAUSE) {
            publish.send_replace(Arc::new(Live::of(runs, Some(&before))));
        }
    }
}

/// Waits until it is time to look again; returns false if it is to end.
fn wait(bell: &Bell, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    let mut wishes = bell.wishes();
    let lately = |asked: Instant| asked.elapsed() < INTEREST;
    wishes.idle = !wishes.asked.is_some_and(lately);
    loop {
        let woken = wishes.idle && wishes.asked.is_some_and(lately);
        let left = until.saturating_duration_since(Instant::now());
        if wishes.stop || woken || left.is_zero() {
            wishes.idle = false;
            return !wishes.stop;
        }
        wishes = bell.rung.wait_timeout(wishes, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}
