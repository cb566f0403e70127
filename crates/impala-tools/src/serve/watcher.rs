//! The thread that watches the runs: once a second it reads what was added to their logs, and redraws the page if a
//! browser asked lately. Requests are answered from the last drawing, so that none of them waits for a disk.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::live::Live;
use super::now::WatchedRun;
use crate::report::GrowingRun;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Nothing is drawn when no browser has asked for this long.
const INTEREST: Duration = Duration::from_secs(5);
/// A drawing older than this is not shown to a browser that asks after a pause.
const STALE: Duration = Duration::from_millis(1500);
/// How long a request waits at most for a drawing that is not stale: large logs take time when they are first read.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// What requests tell the watcher: when one last asked, and whether to end.
#[derive(Debug, Default)]
struct Demand {
    asked: Option<Instant>,
    /// The watcher draws nothing at the moment.
    idle: bool,
    stop: bool,
}

/// The demand, and a way to wake the watcher when it changes.
#[derive(Debug, Default)]
struct Shared {
    demand: Mutex<Demand>,
    wake: Condvar,
}

impl Shared {
    fn demand(&self) -> MutexGuard<'_, Demand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is drawn, for whoever answers requests.
#[derive(Debug, Clone)]
pub(super) struct Drawings {
    shared: Arc<Shared>,
    newest: watch::Receiver<Arc<Live>>,
}

impl Drawings {
    /// The newest, which is at most about a second old unless there is much to read.
    pub(super) async fn newest(&mut self) -> Arc<Live> {
        {
            let mut demand = self.shared.demand();
            demand.asked = Some(Instant::now());
            if demand.idle {
                self.shared.wake.notify_all();
            }
        }
        let fresh = self.newest.wait_for(|live| live.at.elapsed() < STALE);
        // Stale is better than none.
        drop(tokio::time::timeout(MAX_WAIT, fresh).await);
        Arc::clone(&self.newest.borrow())
    }
}

/// The thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watcher {
    /// Looks at the runs once, and then again and again, from a thread of its own.
    ///
    /// # Errors
    /// If there can be no thread.
    pub(super) fn start(runs: Vec<GrowingRun>) -> io::Result<(Self, Drawings)> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
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
        let drawings = Drawings { shared: Arc::clone(&shared), newest };
        Ok((Self { shared, thread: Some(thread) }, drawings))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.demand().stop = true;
        self.shared.wake.notify_all();
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

fn watch(
    shared: &Shared,
    runs: &mut [WatchedRun],
    publish: &watch::Sender<Arc<Live>>,
    mut more: bool,
) {
    while wait(shared, if more { Duration::ZERO } else { PAUSE }) {
        more = look(runs);
        let wanted = shared.demand().asked.is_some_and(|asked| asked.elapsed() < INTEREST);
        let before = Arc::clone(&publish.borrow());
        // Of much that is read for the first time, not each part is drawn.
        if wanted && (!more || before.at.elapsed() >= PAUSE) {
            publish.send_replace(Arc::new(Live::of(runs, Some(&before))));
        }
    }
}

/// Waits until it is time to look again; returns false if it is to end.
fn wait(shared: &Shared, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    let mut demand = shared.demand();
    let lately = |asked: Instant| asked.elapsed() < INTEREST;
    demand.idle = !demand.asked.is_some_and(lately);
    loop {
        let woken = demand.idle && demand.asked.is_some_and(lately);
        let left = until.saturating_duration_since(Instant::now());
        if demand.stop || woken || left.is_zero() {
            demand.idle = false;
            return !demand.stop;
        }
        demand = shared.wake.wait_timeout(demand, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}
