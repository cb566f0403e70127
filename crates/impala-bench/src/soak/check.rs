//! Compares every byte of a block with the value that the pattern gives it.
//!
//! What is not compared, because no actor writes it and no learner reads it: the padding between fields,
//! and return and length in observation 0, which are those of the unroll before.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::pattern::{ACTIONS, Incarnation};
use impala_rl::env::ActionSpec;
use impala_rl::policy::bounds::ActionBounds;
use impala_rl::policy::sample::Sampler;
use impala_rl::policy::sampler::ActionSampler;
use impala_rl::rng::Rng;
use impala_rl::unroll::{BlockLayout, BlockRef, Field, GroupHeader};

/// Stream of the seed from which actions are drawn; the writer's number is added.
const ACTION_STREAM: u64 = 2 << 32;

/// Unrolls from one remembered generator to the next.
const MARK_EVERY: u64 = 256;
/// Unrolls that a writer may be ahead of what was seen of it.
const REACH: u64 = 1 << 26;

/// The random numbers of one writer.
pub(super) fn action_rng(seed: u64, writer: Incarnation) -> Rng {
    Rng::new(seed, ACTION_STREAM | writer.number())
}

/// What chooses the actions of one writer.
pub(super) fn action_sampler(seed: u64, writer: Incarnation) -> ActionSampler {
    let spec = ActionSpec::Discrete { n: ACTIONS };
    ActionSampler::new(&spec, ActionBounds::default(), action_rng(seed, writer))
}

/// What was found in one group of a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Findings {
    pub(super) bytes: u64,
    pub(super) wrong: u64,
    /// The first that was wrong, in words.
    pub(super) first: Option<String>,
}

/// The random numbers of one writer, from which its actions can be drawn again, unroll by unroll.
#[derive(Debug)]
struct Draws {
    next: u64,
    rng: Rng,
    /// The generator at the beginning of each `MARK_EVERY`th unroll: some are overtaken by many others.
    marks: Vec<Rng>,
    /// The unroll looked at last, and the actions of its last step.
    last: Option<(u64, Vec<i32>)>,
}

/// Knows what blocks must hold.
#[derive(Debug)]
pub(super) struct Checker {
    seed: u64,
    draws: HashMap<Incarnation, Draws>,
    expected: Vec<u8>,
}

impl Checker {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, draws: HashMap::new(), expected: Vec::new() }
    }

    /// Compares one group with what `header` says of it. `latest`: newest version of the weights.
    pub(super) fn check(&mut self, block: &BlockRef<'_>, group: usize, latest: u64) -> Findings {
        let layout = block.layout();
        let header = block.headers()[group];
        let writer =
            Incarnation { actor: header.actor as u16, incarnation: header.incarnation as u16 };
        let mut findings = Findings::default();
        let odd = (header.reserved, header.task) != ([0; 4], 0)
            || header.stream != header.actor
            || header.policy_version > latest;
        findings.note(size_of::<GroupHeader>(), usize::from(odd), || format!("{header:?}"));

        let (unroll, envs) = (layout.spec().unroll, layout.spec().envs);
        let first_actions = self.actions_before(writer, header.sequence, unroll, envs);
        let (actions, log_probs) = self.acts(writer, header.sequence, unroll, envs);
        if let Some(draws) = self.draws.get_mut(&writer) {
            draws.last = Some((header.sequence, actions[actions.len() - envs..].to_vec()));
        }
        for field in Field::ALL.into_iter().filter(|&field| field != Field::Header) {
            let all = block.field::<u8>(field);
            let start = layout.field_range(field).start;
            for row in first_row(field)..layout.rows(field) {
                let range = layout.group_range(field, row, group);
                if range.is_empty() {
                    continue;
                }
                let found = &all[range.start - start..range.end - start];
                let row_of = |bytes: &[u8]| bytes[row * found.len()..][..found.len()].to_vec();
                match field {
                    Field::FirstAction => {
                        self.expected = row_of(bytemuck::cast_slice(&first_actions));
                    }
                    Field::Action => self.expected = row_of(bytemuck::cast_slice(&actions)),
                    Field::LogProb => self.expected = row_of(bytemuck::cast_slice(&log_probs)),
                    _ => expect(layout, field, row, writer, header.sequence, &mut self.expected),
                }
                let wrong = found.iter().zip(&self.expected).filter(|(a, b)| a != b).count();
                let wrong = wrong + found.len().abs_diff(self.expected.len());
                findings.note(found.len(), wrong, || format!("{field:?} row {row} of {header:?}"));
            }
        }
        findings
    }

    /// `[E]` actions that led to observation 0 of an unroll; zeros at a reset.
    fn actions_before(
        &mut self,
        writer: Incarnation,
        sequence: u64,
        unroll: usize,
        envs: usize,
    ) -> Vec<i32> {
        let Some(before) = sequence.checked_sub(1) else {
            return vec![0; envs];
        };
        match self.draws.get(&writer).and_then(|draws| draws.last.as_ref()) {
            Some((last, actions)) if *last == before => actions.clone(),
            _ => {
                let (actions, _) = self.acts(writer, before, unroll, envs);
                actions[actions.len() - envs..].to_vec()
            }
        }
    }

    /// `[T][E]` actions and log-probabilities of an unroll, drawn as its actor drew them.
    fn acts(
        &mut self,
        writer: Incarnation,
        sequence: u64,
        unroll: usize,
        envs: usize,
    ) -> (Vec<i32>, Vec<f32>) {
        let seed = self.seed;
        let draws = self.draws.entry(writer).or_insert_with(|| Draws {
            next: 0,
            rng: action_rng(seed, writer),
            marks: Vec::new(),
            last: None,
        });
        let rng = draws.of(sequence, unroll * envs);
        let mut sampler = Sampler::new(rng);
        let (mut actions, mut log_probs) = (vec![0; unroll * envs], vec![0.0; unroll * envs]);
        let mut logits = vec![0.0; envs * ACTIONS];
        let first = sequence.wrapping_mul(unroll as u64);
        let rows = actions.chunks_exact_mut(envs).zip(log_probs.chunks_exact_mut(envs));
        for (step, (actions, log_probs)) in (first..).zip(rows) {
            for (env, row) in logits.chunks_exact_mut(ACTIONS).enumerate() {
                writer.logits(step, env, row);
            }
            let _finite = sampler.sample(&logits, actions, log_probs);
        }
        (actions, log_probs)
    }
}

impl Draws {
    /// The generator at the beginning of an unroll of `numbers` numbers.
    fn of(&mut self, sequence: u64, numbers: usize) -> Rng {
        // A number that is out of reach is wrong, and found to be so elsewhere.
        let sequence = sequence.min(self.next + REACH);
        let skip = |rng: &mut Rng, unrolls: u64| {
            (0..unrolls * numbers as u64).for_each(|_| _ = rng.next_u64());
        };
        while self.next <= sequence {
            if self.next.is_multiple_of(MARK_EVERY) {
                self.marks.push(self.rng.clone());
            }
            if self.next == sequence {
                break;
            }
            skip(&mut self.rng, 1);
            self.next += 1;
        }
        if self.next == sequence {
            let rng = self.rng.clone();
            skip(&mut self.rng, 1);
            self.next += 1;
            return rng;
        }
        let mark = usize::try_from(sequence / MARK_EVERY).expect("marks are in memory");
        let mut rng = self.marks[mark].clone();
        skip(&mut rng, sequence % MARK_EVERY);
        rng
    }
}

const fn first_row(field: Field) -> usize {
    matches!(field, Field::EpisodeReturn | Field::EpisodeLength) as usize
}

/// The bytes of one row of a field, other than header, actions and log-probabilities.
fn expect(
    layout: &BlockLayout,
    field: Field,
    row: usize,
    writer: Incarnation,
    sequence: u64,
    bytes: &mut Vec<u8>,
) {
    let spec = layout.spec();
    let first = sequence.wrapping_mul(spec.unroll as u64);
    let step = first.wrapping_add(row as u64);
    bytes.clear();
    match field {
        Field::Frame => {
            bytes.resize(spec.envs * spec.frame_bytes, 0);
            // Before the reset there is nothing but zeros.
            if let Some(step) = step.checked_sub(spec.frame_stack as u64 - 1) {
                for (env, frame) in bytes.chunks_exact_mut(spec.frame_bytes).enumerate() {
                    writer.frame(step, env, frame);
                }
            }
        }
        Field::History => {
            let earlier = first.min(spec.frame_stack as u64 - 1);
            bytes.resize(spec.envs, u8::try_from(earlier).unwrap_or(u8::MAX));
        }
        Field::Flags => bytes.extend((0..spec.envs).map(|env| writer.flags(step, env))),
        Field::FirstReward => {
            let reward = |env| if first == 0 { 0.0 } else { writer.reward(first, env) };
            bytes.extend((0..spec.envs).flat_map(|env| reward(env).to_le_bytes()));
        }
        Field::Reward => {
            bytes.extend((0..spec.envs).flat_map(|env| writer.reward(step + 1, env).to_le_bytes()));
        }
        Field::EpisodeReturn => {
            bytes.extend(
                (0..spec.envs).flat_map(|env| writer.return_after(step, env).to_le_bytes()),
            );
        }
        Field::EpisodeLength => {
            bytes.extend((0..spec.envs).flat_map(|_| (step as u32).to_le_bytes()));
        }
        Field::Gradient => {
            let mut gradient = vec![0.0_f32; spec.gradient_len];
            writer.gradient(sequence, &mut gradient);
            bytes.extend_from_slice(bytemuck::cast_slice(&gradient));
        }
        Field::Loss if spec.holds_gradients() => {
            bytes.extend_from_slice(bytemuck::cast_slice(&writer.loss(sequence)));
        }
        Field::Header
        | Field::FirstAction
        | Field::Action
        | Field::LogProb
        | Field::Mask
        | Field::CoreState
        | Field::Loss => {}
    }
}

impl Findings {
    fn note(&mut self, bytes: usize, wrong: usize, what: impl FnOnce() -> String) {
        self.bytes += bytes as u64;
        self.wrong += wrong as u64;
        if wrong > 0 && self.first.is_none() {
            self.first = Some(what());
        }
    }
}
