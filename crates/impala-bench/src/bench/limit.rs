//! Upper bounds on the pool's throughput on this machine: if no process ever waited, and if only arithmetic and memory
//! traffic took time.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::error::BenchError;
use super::machine::{
    Machine, cached_copy_bytes_per_s, copy_bytes_per_s, peak_flops, peak_flops_together,
};
use super::parts::{Parts, Sample};
use super::setup::Setup;
use super::stats::Spread;
use super::work::FrameWork;
use impala_rl::config::Engine;
use impala_rl::learner::native_engine::NativeEngine;
use impala_rl::metrics::human::si;

/// One repeat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LimitSample {
    /// The parts behind it.
    pub(crate) parts: Sample,
    cores: usize,
    actors: usize,
    learner_threads: usize,
    work: FrameWork,
    peak_flops: f64,
    peak_flops_together: f64,
    copy_bytes_per_s: f64,
    cached_copy_bytes_per_s: f64,
}

impl LimitSample {
    /// Measures parts and machine once.
    ///
    /// # Errors
    /// If a part cannot be measured.
    pub(crate) fn measure(
        setup: &Setup,
        machine: &Machine,
        effort: Duration,
    ) -> Result<Self, BenchError> {
        Ok(Self {
            parts: Sample::measure(setup, effort)?,
            cores: machine.cores,
            actors: setup.config.pool.actors,
            learner_threads: learner_threads(setup)?,
            work: FrameWork::of(setup),
            peak_flops: peak_flops(effort),
            peak_flops_together: peak_flops_together(machine.cores, effort),
            copy_bytes_per_s: copy_bytes_per_s(effort),
            cached_copy_bytes_per_s: cached_copy_bytes_per_s(effort),
        })
    }

    /// Frames per second if nothing waited and nothing cost more than its parts: all cores busy, but no
    /// more of them with learning than the learner has threads, nor with acting than there are actors.
    #[must_use]
    pub(crate) fn frames_per_s(&self) -> f64 {
        self.bound(self.parts.actor_ns(), self.parts.learner_ns())
    }

    /// The same, from the product's loops as wholes.
    #[must_use]
    pub(crate) fn loops_frames_per_s(&self) -> f64 {
        let (acting, learning) = self.parts.loops_ns();
        self.bound(acting, learning)
    }

    fn bound(&self, actor_ns: f64, learner_ns: f64) -> f64 {
        let cores = self.cores as f64 / (actor_ns + learner_ns);
        let actors = self.actors as f64 / actor_ns;
        let learner = self.learner_threads as f64 / learner_ns;
        1e9 * cores.min(actors).min(learner)
    }

    /// Frames per second if a frame were its multiply-adds at the peak of all cores, or its bytes written
    /// and read once at the speed of a copy, whichever takes longer.
    #[must_use]
    pub(crate) fn roofline_frames_per_s(&self) -> f64 {
        let cores = self.cores as f64;
        let arithmetic = cores * self.peak_flops / self.work.flops();
        let bytes = cores * self.copy_bytes_per_s / self.work.ring_bytes;
        arithmetic.min(bytes)
    }
}

/// Cores that the learner can use at once. The parts of libtorch are measured with the threads it has.
fn learner_threads(setup: &Setup) -> Result<usize, BenchError> {
    let config = &setup.config;
    Ok(match config.pool.engine {
        Engine::Native => {
            let rows = (config.pool.unroll + 1) * config.pool.batch;
            NativeEngine::threads_for(&setup.network, rows, config.learner.threads)?
        }
        Engine::Libtorch => 1,
    })
}

/// The limits of a configuration on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Limit {
    /// Frames per second from the parts.
    pub(crate) frames_per_s: Spread,
    /// Frames per second from the whole loops of actor and learner.
    pub(crate) loops_frames_per_s: Spread,
    /// Frames per second of the arithmetic and bytes alone.
    pub(crate) roofline_frames_per_s: Spread,
    /// Operations per second of one core (f32, a multiply-add is two).
    pub(crate) peak_flops_per_s: Spread,
    /// What all cores at once do of it, over the number of cores times one: 1 unless cores share units.
    pub(crate) cores_together: Spread,
    /// Bytes per second that one core copies in memory.
    pub(crate) copy_bytes_per_s: Spread,
    /// The same within the caches.
    pub(crate) cached_copy_bytes_per_s: Spread,
    /// Operations and bytes of one frame.
    pub(crate) frame: FrameWork,
}

impl Limit {
    /// Sums repeats up.
    #[must_use]
    pub(crate) fn of(samples: &[LimitSample], frame: FrameWork) -> Self {
        let over = |figure: &dyn Fn(&LimitSample) -> f64| Spread::over(samples, figure);
        Self {
            frames_per_s: over(&LimitSample::frames_per_s),
            loops_frames_per_s: over(&LimitSample::loops_frames_per_s),
            roofline_frames_per_s: over(&LimitSample::roofline_frames_per_s),
            peak_flops_per_s: over(&|s| s.peak_flops),
            cores_together: over(&|s| s.peak_flops_together / (s.cores as f64 * s.peak_flops)),
            copy_bytes_per_s: over(&|s| s.copy_bytes_per_s),
            cached_copy_bytes_per_s: over(&|s| s.cached_copy_bytes_per_s),
            frame,
        }
    }

    /// The parts behind it.
    #[must_use]
    pub(crate) fn parts(samples: &[LimitSample]) -> Parts {
        Parts::of(&samples.iter().map(|sample| sample.parts).collect::<Vec<_>>())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, spread, unit) in [
            ("limit from the parts", self.frames_per_s, "frames/s"),
            ("limit from whole loops", self.loops_frames_per_s, "frames/s"),
            ("roofline", self.roofline_frames_per_s, "frames/s"),
            ("peak of one core", self.peak_flops_per_s, "FLOP/s"),
            ("all cores at once / one", self.cores_together, ""),
            ("copy, one core, memory", self.copy_bytes_per_s, "bytes/s"),
            ("copy, one core, cached", self.cached_copy_bytes_per_s, "bytes/s"),
        ] {
            writeln!(f, "  {name:<28}{spread} {unit}")?;
        }
        let frame = &self.frame;
        writeln!(
            f,
            "  a frame: {} FLOP acting, {} FLOP learning; {} bytes of observation, \
             each written once, and {:.1} % of them again at the edges of unrolls; {} bytes in the ring",
            si(frame.act_flops),
            si(frame.learn_flops),
            frame.observation_bytes,
            (frame.observation_writes - 1.0) * 100.0,
            si(frame.ring_bytes),
        )
    }
}
