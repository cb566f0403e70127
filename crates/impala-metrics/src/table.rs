//! The table of all counters: their names, units and meaning; everything that writes or documents metrics iterates over
//! it.

use std::fmt::Debug;

/// How a word is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// u64 that only grows; differences of two snapshots are rates.
    Counter,
    /// u64 that holds the latest value.
    Gauge,
    /// f64, as its bits, that holds the latest value.
    Real,
}

/// What a word of a block means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Name in `metrics.jsonl` and elsewhere.
    pub name: &'static str,
    /// What it counts or measures; empty for a ratio.
    pub unit: &'static str,
    /// How to read it.
    pub kind: Kind,
    /// One sentence.
    pub meaning: &'static str,
}

/// The names of the words of a block.
pub trait Table: Copy + Debug + 'static {
    /// One word for each.
    type Words: AsRef<[u64]> + AsMut<[u64]> + Copy + Debug;
    /// All zero.
    const ZERO: Self::Words;
    /// In the order of the words.
    const DESCRIPTORS: &'static [Descriptor];
    /// Which word.
    fn index(self) -> usize;
}

macro_rules! table {
    ($(#[$doc:meta])* $table:ident {
        $($word:ident = $name:ident [$unit:literal] $kind:ident $($each:ident)?: $meaning:literal)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $table {
            $(#[doc = $meaning] $word,)*
        }

        impl $table {
            /// All of them, in the order of the words.
            pub const ALL: &'static [Self] = &[$(Self::$word),*];
        }

        impl Table for $table {
            type Words = [u64; $table::ALL.len()];
            const ZERO: Self::Words = [0; $table::ALL.len()];
            const DESCRIPTORS: &'static [Descriptor] = &[$(Descriptor {
                name: stringify!($name),
                unit: $unit,
                kind: Kind::$kind,
                meaning: $meaning,
            }),*];

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

/// The words of an actor's block, given to a macro. `each`: a line of `metrics.jsonl` has it for each actor.
macro_rules! actor_words {
    ($make:ident) => {
        $make! {
            /// What an actor counts. The first two words are its heartbeat: no change of either for the
            /// hang time-out, in a phase that is not a wait, means that it hangs.
            ActorCounter {
                Phase = phase [""] Gauge each: "What it is doing, see `Phase`."
                Progress = progress ["steps"] Counter: "Moves on with every step of work, to tell slow from stuck."
                Incarnation = incarnation [""] Gauge each: "Which incarnation of this actor, from 1."
                FramesActed = frames_acted ["frames"] Counter each: "Environment steps taken."
                UnrollsCommitted = unrolls_committed ["unrolls"] Counter each: "Unrolls handed to the learner."
                Episodes = episodes ["episodes"] Counter each: "Episodes that ended."
                EnvNs = env_ns ["ns"] Counter each: "Time in environments; with `splits`, of steps elsewhere what was waited for."
                InferNs = infer_ns ["ns"] Counter each: "Time in the network and in drawing actions."
                AnswerWaitNs = answer_wait_ns ["ns"] Counter each: "Time that was waited for answers, where the policy process runs the network (`inference`); a part of `infer_ns`."
                GradientNs = gradient_ns ["ns"] Counter each: "Time in computing gradients, where these are what travels (`exchange`)."
                RefreshNs = refresh_ns ["ns"] Counter each: "Time in fetching weights."
                SlotWaitNs = slot_wait_ns ["ns"] Counter each: "Time waiting for a free slot: back-pressure of the learner."
                AdmissionWaitNs = admission_wait_ns ["ns"] Counter each: "Time asleep because as much data was in flight as the learner needs (`max-lag`)."
                CommitNs = commit_ns ["ns"] Counter each: "Time in committing unrolls, the wake-up of the learner included."
                ParamRefreshes = param_refreshes ["versions"] Counter each: "Versions of the weights fetched."
                ParamBusy = param_busy ["refreshes"] Counter: "Refreshes overtaken by the learner, which kept the old weights."
                ParamVersion = param_version ["version"] Gauge each: "Version of the weights it acts with."
                EnvErrors = env_errors ["errors"] Counter: "Errors of environments: those that it recovered from, and those that kept it from starting."
                UnrollsDropped = unrolls_dropped ["unrolls"] Counter: "Unrolls overwritten in place because their data was bad."
            }
        }
    };
}

/// The words of the learner's block, given to a macro.
macro_rules! learner_words {
    ($make:ident) => {
        $make! {
            /// What the learner counts.
            LearnerCounter {
                Frames = frames ["frames"] Counter: "Agent steps that the learner has trained on."
                Updates = updates ["updates"] Counter: "Steps of the optimizer."
                Blocks = blocks ["blocks"] Counter: "Batch blocks taken."
                UnrollsConsumed = unrolls_consumed ["unrolls"] Counter: "Unrolls in those blocks."
                Episodes = episodes ["episodes"] Counter: "Episodes that ended in them."
                Version = version ["version"] Gauge: "Latest version of the weights."
                ParamsPublished = params_published ["versions"] Counter: "Versions published to the actors."
                UpdatesSkippedNonfinite = updates_skipped_nonfinite ["updates"] Counter: "Updates skipped because a loss or gradient was not finite."
                Progress = progress ["steps"] Counter: "Moves on with every step of work, to tell slow from stuck."
                Incarnation = incarnation [""] Gauge: "Which incarnation of the learner, from 1."
                WaitNs = wait_ns ["ns"] Counter: "Time waiting for a full block: the actors are too slow."
                BatchingNs = batching_ns ["ns"] Counter: "Time in making tensors of a block."
                ForwardNs = forward_ns ["ns"] Counter: "Time in the forward pass."
                VtraceNs = vtrace_ns ["ns"] Counter: "Time in V-trace and the losses."
                BackwardNs = backward_ns ["ns"] Counter: "Time in the backward pass."
                OptimizerNs = optimizer_ns ["ns"] Counter: "Time in clipping and the optimizer."
                ExchangeWaitNs = exchange_wait_ns ["ns"] Counter: "Time waiting for the learners of other ranks; 0 in a run of one rank."
                ExchangeNs = exchange_ns ["ns"] Counter: "Time in summing gradients over the ranks, when all were there."
                PublishNs = publish_ns ["ns"] Counter: "Time in publishing weights."
                CheckpointNs = checkpoint_ns ["ns"] Counter: "Time in writing checkpoints."
                PolicyLoss = policy_loss [""] Real: "Policy-gradient loss of the latest update."
                BaselineLoss = baseline_loss [""] Real: "Value loss of the latest update."
                Entropy = entropy ["nats"] Real: "Mean entropy of the policy in the latest update."
                TotalLoss = total_loss [""] Real: "Weighted sum of the losses of the latest update."
                GradNorm = grad_norm [""] Real: "Norm of the gradient before clipping."
                LearningRate = learning_rate [""] Real: "Learning rate of the latest update."
                ReturnMean100 = return_mean_100 ["reward"] Real: "Mean return of the last episodes (`stop-window`, 100 by default)."
                ReturnBest = return_best ["reward"] Real: "Best of those means so far, over full windows; 0 before the first."
                ReturnLowest = return_lowest ["reward"] Real: "Lowest of those means since the best was reached; 0 before the first."
                LengthMean100 = length_mean_100 ["steps"] Real: "Mean length of the episodes in that window."
                RhoMean = rho_mean [""] Real: "Mean importance ratio before clipping."
                RhoMin = rho_min [""] Real: "Smallest importance ratio."
                RhoMax = rho_max [""] Real: "Largest importance ratio."
                CMean = c_mean [""] Real: "Mean of the ratios after truncation at c-bar: how far corrections travel."
                CMin = c_min [""] Real: "Smallest of those."
                CMax = c_max [""] Real: "Largest of those."
                RhoClippedFraction = rho_clipped_fraction [""] Real: "Part of the ratios above rho-bar."
                CClippedFraction = c_clipped_fraction [""] Real: "Part of the ratios above c-bar."
                LagMean = lag_mean ["versions"] Real: "Mean policy lag of the latest block: updates between acting and learning."
                LagMin = lag_min ["versions"] Gauge: "Smallest policy lag of the latest block."
                LagMax = lag_max ["versions"] Gauge: "Largest policy lag of the latest block."
                LagSum = lag_sum ["versions"] Counter: "Sum of the policy lags of all unrolls consumed; over `unrolls_consumed` it is the exact mean."
                UnrollsReplayed = unrolls_replayed ["unrolls"] Counter: "Unrolls of earlier batches that were learnt from again (`replay-fraction`)."
                ReplayLagSum = replay_lag_sum ["versions"] Counter: "Sum of their policy lags; they have no part in the other lags."
                ReplayUnrolls = replay_unrolls ["unrolls"] Gauge: "Columns of unrolls that are kept for replay."
                InFlightLimit = in_flight_limit ["slots"] Gauge: "Slots that may be in flight: `max-lag` and the one at the learner in blocks, more while it starves and cores are idle. 0 in lockstep."
                ObservationsSeen = observations_seen ["observations"] Real: "Observations that their mean and deviation follow from; 0 without `normalize-observations`."
                KlMean = kl_mean ["nats"] Real: "Mean divergence of the policy that learns from the one that acted, of the latest update."
                KlCost = kl_cost [""] Real: "Weight of the divergence in the loss of the latest update."
                SurrogateClippedFraction = surrogate_clipped_fraction [""] Real: "Part of the transitions whose policy gradient the clipped surrogate takes away."
                PassesStopped = passes_stopped ["passes"] Counter: "Passes that were left out because the policy had moved as far as `stop-passes-at-kl` allows."
                FramesToTarget = frames_to_target ["frames"] Gauge: "Frames when the target return was reached; 0 if not yet."
                SecondsToTarget = seconds_to_target ["s"] Real: "Wall time when the target return was reached; 0 if not yet."
                FirstFrameS = first_frame_s ["s"] Real: "Wall time when the first frame since the start or the resume was learnt; 0 if not yet."
                LastFrameS = last_frame_s ["s"] Real: "Wall time when the latest frame was learnt; 0 if not yet."
                TargetReached = target_reached [""] Gauge: "1 once the target return was reached."
                Phase = phase [""] Gauge: "What it is doing, see `Phase`."
            }
        }
    };
}

/// The words of the block that the learner has for each task, given to a macro.
macro_rules! task_words {
    ($make:ident) => {
        $make! {
            /// What the learner counts of a task.
            TaskCounter {
                Frames = frames ["frames"] Counter: "Agent steps of this task that the learner has trained on."
                Episodes = episodes ["episodes"] Counter: "Episodes that ended in them."
                ReturnMean100 = return_mean_100 ["reward"] Real: "Mean return of its last episodes (`stop-window`, 100 by default)."
                ReturnBest = return_best ["reward"] Real: "Best of those means so far, over full windows; 0 before the first."
                ReturnLowest = return_lowest ["reward"] Real: "Lowest of those means since the best was reached; 0 before the first."
                LengthMean100 = length_mean_100 ["steps"] Real: "Mean length of the episodes in that window."
                PolicyLoss = policy_loss [""] Real: "Policy-gradient loss of the latest update over this task's frames."
                BaselineLoss = baseline_loss [""] Real: "Value loss of the latest update over this task's frames."
                RewardFactor = reward_factor [""] Real: "What its rewards are multiplied by so that returns deviate by about 1; 0 without `normalize-rewards`."
                ReturnsSeen = returns_seen ["returns"] Real: "Discounted returns that this factor follows from."
                ReturnsMean = returns_mean ["reward"] Real: "Their mean."
                ValueMean = value_mean ["reward"] Real: "Mean of the targets of values, by which they are scaled (`popart`)."
                ValueDeviation = value_deviation ["reward"] Real: "Their deviation; 0 without `popart`."
                ValueSquare = value_square ["reward^2"] Real: "Their second moment, which it follows from."
                ValueUpdates = value_updates ["updates"] Real: "Updates that these follow from."
                ReturnsSquares = returns_squares ["reward^2"] Real: "Sum of their squared differences from it."
            }
        }
    };
}

/// The words of the policy process's block, given to a macro.
macro_rules! policy_words {
    ($make:ident) => {
        $make! {
            /// What the policy process counts.
            PolicyCounter {
                Phase = phase [""] Gauge: "What it is doing, see `Phase`."
                Progress = progress ["steps"] Counter: "Moves on with every batch, and with every look around while nothing is asked, to tell slow from stuck."
                Incarnation = incarnation [""] Gauge: "Which incarnation of the policy process, from 1."
                Batches = batches ["batches"] Counter: "Batches that it ran the network on."
                Requests = requests ["requests"] Counter: "Requests of actors in those batches."
                Rows = rows ["observations"] Counter: "Observations in those batches; over `batches` it is the mean size of one."
                WaitNs = wait_ns ["ns"] Counter: "Time in which nobody asked."
                GatherNs = gather_ns ["ns"] Counter: "Time waiting for more requests when some were there (`inference-wait-us`)."
                BusyNs = busy_ns ["ns"] Counter: "Time from the look at the weights to the last answer of a batch."
                WeightsAgeNs = weights_age_ns ["ns"] Counter: "Time since the weights of each batch were fetched, summed over the batches; over `batches` it is the mean age."
                ParamRefreshes = param_refreshes ["versions"] Counter: "Versions of the weights fetched."
                ParamBusy = param_busy ["refreshes"] Counter: "Refreshes overtaken by the learner, which kept the old weights."
                ParamVersion = param_version ["version"] Gauge: "Version of the weights that it answers with."
            }
        }
    };
}

pub(super) use {actor_words, learner_words, policy_words, task_words};

actor_words!(table);
learner_words!(table);
task_words!(table);
policy_words!(table);

/// What an actor, the learner or the policy process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Building environments, network, optimizer.
    Init,
    /// Resetting environments.
    Reset,
    /// Stepping environments.
    Step,
    /// Running the network.
    Infer,
    /// Fetching weights.
    Refresh,
    /// Waiting for a free slot, for a full block, for the first weights, for a request or its answer; may last for ever.
    Wait,
    /// Committing an unroll.
    Commit,
    /// Learning from a block.
    Learn,
    /// Writing a checkpoint.
    Save,
    /// With the learners of other ranks: until they are there, and until sums are made; may last as long as they live.
    Exchange,
}

impl Phase {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 10] = [
        Self::Init,
        Self::Reset,
        Self::Step,
        Self::Infer,
        Self::Refresh,
        Self::Wait,
        Self::Commit,
        Self::Learn,
        Self::Save,
        Self::Exchange,
    ];

    /// The phase of a code in shared memory, if it is one.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        usize::try_from(code).ok().and_then(|code| Self::ALL.get(code).copied())
    }

    /// Lower-case name, for logs and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Reset => "reset",
            Self::Step => "step",
            Self::Infer => "infer",
            Self::Refresh => "refresh",
            Self::Wait => "wait",
            Self::Commit => "commit",
            Self::Learn => "learn",
            Self::Save => "save",
            Self::Exchange => "exchange",
        }
    }

    /// Whether this is time in the user's environment.
    #[must_use]
    pub const fn is_env(self) -> bool {
        matches!(self, Self::Init | Self::Reset | Self::Step)
    }

    /// Whether standing still is no fault of the process's: such time is never a hang.
    #[must_use]
    pub const fn is_wait(self) -> bool {
        matches!(self, Self::Wait | Self::Exchange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn check(descriptors: &[Descriptor]) {
        let mut names = HashSet::new();
        for word in descriptors {
            assert!(names.insert(word.name), "{} twice", word.name);
            assert!(word.name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')));
            assert!(word.meaning.ends_with('.'), "{}", word.name);
            assert_eq!(word.name.ends_with("_ns"), word.unit == "ns", "{}", word.name);
            assert_eq!(word.name.ends_with("_bytes"), word.unit == "bytes", "{}", word.name);
        }
    }

    #[test]
    fn names_are_unique_and_carry_their_units() {
        check(ActorCounter::DESCRIPTORS);
        check(LearnerCounter::DESCRIPTORS);
        check(TaskCounter::DESCRIPTORS);
        check(PolicyCounter::DESCRIPTORS);
    }

    #[test]
    fn the_order_is_that_of_the_words() {
        for (index, &word) in LearnerCounter::ALL.iter().enumerate() {
            assert_eq!(word.index(), index);
        }
        for (index, &word) in ActorCounter::ALL.iter().enumerate() {
            assert_eq!(word.index(), index);
        }
    }

    #[test]
    fn phase_codes_and_names_are_distinct() {
        let names: HashSet<_> = Phase::ALL.iter().map(|phase| phase.name()).collect();
        assert_eq!(names.len(), Phase::ALL.len());
        for phase in Phase::ALL {
            assert_eq!(Phase::from_code(phase as u64), Some(phase));
        }
        assert_eq!(Phase::from_code(u64::MAX), None);
    }
}
