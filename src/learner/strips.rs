//! Divides the columns of a block into strips, which the threads of an engine take from a queue.
//!
//! Columns of a block have nothing to do with each other. An engine cuts them into strips, and threads take strips from
//! one queue until it is empty. What a thread does with a strip is the engine's.

use std::ops::Range;
use std::sync::Mutex;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The queue of strips of one pass over a block.
#[derive(Debug)]
pub(super) struct Strips {
    width: usize,
    /// The first column.
    first: usize,
    columns: usize,
    /// How many the strips are dealt to, in a fixed order; 0: whoever is free takes the next one.
    shares: usize,
    next: Mutex<usize>,
}

impl Strips {
    /// All of `columns`, `width` at a time (at least 1); the last strip may be narrower.
    pub(super) fn new(columns: &Range<usize>, width: usize) -> Self {
        Self::dealt(columns, width, 0)
    }

    /// Strips that are dealt to `shares` shares (at least 1).
    pub(super) fn dealt(columns: &Range<usize>, width: usize, shares: usize) -> Self {
        Self { width, first: columns.start, columns: columns.len(), shares, next: Mutex::new(0) }
    }

    /// Whether there is more than one.
    pub(super) const fn several(&self) -> bool {
        self.columns > self.width
    }

    /// Whether they are taken by whole shares.
    pub(super) const fn are_dealt(&self) -> bool {
        self.shares > 0
    }

    fn take_number(&self) -> usize {
        let mut next = self.next.lock().expect("no panic while it is held");
        *next += 1;
        *next - 1
    }

    fn strip(&self, number: usize) -> Option<Range<usize>> {
        let start = number * self.width;
        let end = self.columns.min(start + self.width);
        (start < self.columns).then(|| self.first + start..self.first + end)
    }

    /// Takes the next strip, whosever it may be; `None` when all are taken.
    pub(super) fn next(&self) -> Option<Range<usize>> {
        self.strip(self.take_number())
    }

    /// Takes the next share, if they are dealt.
    pub(super) fn next_share(&self) -> Option<usize> {
        Some(self.take_number()).filter(|share| *share < self.shares)
    }

    /// The strips of a share.
    pub(super) fn of_share(&self, share: usize) -> impl Iterator<Item = Range<usize>> {
        (share..).step_by(self.shares).map_while(|number| self.strip(number))
    }
}

/// The thread that asks and its helpers, and what each of them works with.
#[derive(Debug)]
pub(super) struct StripThreads<W> {
    /// One for each thread, that of the asking one first; never empty.
    workers: Vec<W>,
    helpers: Option<ThreadPool>,
}

impl<W: Send> StripThreads<W> {
    /// Up to `threads` threads (at least 1): fewer if the system gives no more, which is no reason not to learn. Each
    /// helper calls `started` once before it does anything else.
    ///
    /// # Errors
    /// That of `worker`.
    pub(super) fn new<E>(
        threads: usize,
        started: impl Fn() + Send + Sync + 'static,
        worker: impl FnMut() -> Result<W, E>,
    ) -> Result<Self, E> {
        let helpers = threads.saturating_sub(1);
        let helpers = (helpers > 0)
            .then(|| {
                ThreadPoolBuilder::new()
                    .num_threads(helpers)
                    .thread_name(|index| format!("learner-{}", index + 1))
                    .start_handler(move |_| started())
                    .build()
            })
            .and_then(Result::ok);
        let threads = helpers.as_ref().map_or(1, |pool| pool.current_num_threads() + 1);
        let workers = std::iter::repeat_with(worker).take(threads).collect::<Result<_, _>>()?;
        Ok(Self { workers, helpers })
    }

    /// What each thread works with, that of the asking one first.
    pub(super) fn workers(&mut self) -> &mut [W] {
        &mut self.workers
    }

    /// How many threads there are, at least 1.
    pub(super) const fn count(&self) -> usize {
        self.workers.len()
    }

    /// Does `work` on `threads` of the threads at once, and returns when all are done.
    pub(super) fn run(&mut self, threads: usize, work: impl Fn(&mut W) + Sync) {
        let work = &work;
        let (first, others) = self.workers[..threads].split_first_mut().expect("at least one");
        match &self.helpers {
            Some(helpers) if !others.is_empty() => helpers.in_place_scope(|scope| {
                for other in others {
                    scope.spawn(move |_| work(other));
                }
                work(first);
            }),
            _ => work(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_take_each_strip_once() {
        let worker = || Ok::<_, std::convert::Infallible>(Vec::new());
        let Ok(mut threads) = StripThreads::new(3, || (), worker);
        let strips = Strips::new(&(5..1005), 7);
        assert!(strips.several() && !Strips::new(&(3..10), 7).several());
        for (wanted, strips) in [(threads.count(), strips), (1, Strips::new(&(5..1005), 7))] {
            threads.workers().iter_mut().for_each(Vec::clear);
            threads.run(wanted, |taken| taken.extend(std::iter::from_fn(|| strips.next())));
            let (used, idle) = threads.workers().split_at(wanted);
            assert!(idle.iter().all(Vec::is_empty));
            let mut columns: Vec<usize> = used.iter().flatten().cloned().flatten().collect();
            columns.sort_unstable();
            assert!(columns.into_iter().eq(5..1005));
        }
    }
}
