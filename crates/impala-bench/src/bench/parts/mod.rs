//! Measures each part of the work for a frame alone on one core, with the product's own types.

mod acting;
mod learning;
mod loops;
mod stage;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::error::BenchError;
use super::setup::Setup;
use super::stats::Spread;
use acting::ActingNs;
use learning::LearningNs;

/// CPU time in us per frame of each part, over the repeats. A frame is one of the T x B transitions of a
/// block.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Parts {
    /// What actors do.
    pub(crate) actor: ActorParts,
    /// What the learner does.
    pub(crate) learner: LearnerParts,
    /// Sums of the parts, and whole loops.
    pub(crate) total: Totals,
}

/// An actor's part of a frame, in us.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct ActorParts {
    /// Stepping environments.
    pub(crate) env_step: Spread,
    /// Observations to logits.
    pub(crate) inference: Spread,
    /// Logits to actions.
    pub(crate) sampling: Spread,
    /// Getting a slot and handing it over.
    pub(crate) claim_commit: Spread,
    /// Fetching new weights, as often as a pool of this size does.
    pub(crate) refresh: Spread,
}

/// The learner's part of a frame, in us.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct LearnerParts {
    /// Taking a block, making the network's input over it, and giving it back.
    pub(crate) batching: Spread,
    /// Network, forwards.
    pub(crate) forward: Spread,
    /// V-trace, losses, and their gradients.
    pub(crate) vtrace_loss: Spread,
    /// Network, backwards.
    pub(crate) backward: Spread,
    /// Norm, clip and optimizer.
    pub(crate) optimizer: Spread,
    /// Publishing weights.
    pub(crate) publish: Spread,
}

/// Sums, in us per frame.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Totals {
    /// All parts of an actor.
    pub(crate) actor: Spread,
    /// All parts of the learner.
    pub(crate) learner: Spread,
    /// Both.
    pub(crate) frame: Spread,
    /// The acting loop of the product as a whole, with nobody to wait for.
    pub(crate) acting_loop: Spread,
    /// The learning loop of the product as a whole, with nobody to wait for.
    pub(crate) learning_loop: Spread,
}

/// One repeat, in ns per frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    acting: ActingNs,
    learning: LearningNs,
    acting_loop: f64,
    learning_loop: f64,
}

impl Sample {
    /// Measures all parts once, for about `effort` each.
    ///
    /// # Errors
    /// If the product's parts cannot be built or fail.
    pub(crate) fn measure(setup: &Setup, effort: Duration) -> Result<Self, BenchError> {
        let (learning, learning_loop) = learning::measure(setup, effort)?;
        Ok(Self {
            acting: acting::measure(setup, effort)?,
            learning,
            acting_loop: loops::acting(setup, effort)?,
            learning_loop,
        })
    }

    /// An actor's parts, in ns per frame.
    #[must_use]
    pub(crate) fn actor_ns(&self) -> f64 {
        let ActingNs { env_step, inference, sampling, claim_commit, refresh } = self.acting;
        env_step + inference + sampling + claim_commit + refresh
    }

    /// The learner's parts, in ns per frame.
    #[must_use]
    pub(crate) fn learner_ns(&self) -> f64 {
        let LearningNs { batching, forward, vtrace_loss, backward, optimizer, publish } =
            self.learning;
        batching + forward + vtrace_loss + backward + optimizer + publish
    }

    /// The two whole loops, in ns per frame.
    #[must_use]
    pub(crate) const fn loops_ns(&self) -> (f64, f64) {
        (self.acting_loop, self.learning_loop)
    }
}

impl Parts {
    /// Sums repeats up.
    #[must_use]
    pub(crate) fn of(samples: &[Sample]) -> Self {
        let us = |ns: &dyn Fn(&Sample) -> f64| Spread::over(samples, |sample| ns(sample) / 1e3);
        Self {
            actor: ActorParts {
                env_step: us(&|s| s.acting.env_step),
                inference: us(&|s| s.acting.inference),
                sampling: us(&|s| s.acting.sampling),
                claim_commit: us(&|s| s.acting.claim_commit),
                refresh: us(&|s| s.acting.refresh),
            },
            learner: LearnerParts {
                batching: us(&|s| s.learning.batching),
                forward: us(&|s| s.learning.forward),
                vtrace_loss: us(&|s| s.learning.vtrace_loss),
                backward: us(&|s| s.learning.backward),
                optimizer: us(&|s| s.learning.optimizer),
                publish: us(&|s| s.learning.publish),
            },
            total: Totals {
                actor: us(&Sample::actor_ns),
                learner: us(&Sample::learner_ns),
                frame: us(&|s| s.actor_ns() + s.learner_ns()),
                acting_loop: us(&|s| s.acting_loop),
                learning_loop: us(&|s| s.learning_loop),
            },
        }
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { actor, learner, total } = self;
        writeln!(f, "us per frame, median (min .. max)")?;
        for (name, spread) in [
            ("environment step", actor.env_step),
            ("inference", actor.inference),
            ("sampling", actor.sampling),
            ("slot claim + commit", actor.claim_commit),
            ("weight refresh", actor.refresh),
            ("= actor", total.actor),
            ("  acting loop as a whole", total.acting_loop),
            ("learner batching", learner.batching),
            ("forward", learner.forward),
            ("V-trace + loss", learner.vtrace_loss),
            ("backward", learner.backward),
            ("optimizer", learner.optimizer),
            ("publish", learner.publish),
            ("= learner", total.learner),
            ("  learning loop as a whole", total.learning_loop),
            ("= frame", total.frame),
        ] {
            writeln!(f, "  {name:<28}{spread}")?;
        }
        Ok(())
    }
}
