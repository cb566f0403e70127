//! The observations that a policy is shown, and the state that the caller keeps for it from one step to the next.
//!
//! A row of state is what the network carries of one environment: the state of its core (`h`, then `c`), then, if it sees the
//! action before, that action as [`encode`] writes it. A row of zeros is the beginning of an episode.

use super::error::PlayError;
use crate::env::{ActionSpec, flag};
use crate::policy::act::ActInputs;
use crate::policy::frames::StackedFrames;
use crate::policy::inputs::{LearnInputs, decode, encode};
use crate::policy::native::NativePolicy;
use crate::policy::spec::NetworkSpec;

/// What a policy is shown of N environments at one time step. What is left empty is as said below.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    /// `[N][frame_stack][shape]`: raw bytes of f32 or u8.
    pub observations: &'a [u8],
    /// `[N][logits]`: not 0 for choices that are allowed. Empty: all are.
    pub masks: &'a [u8],
    /// `[N][M]`: the state that [`Policy::act`](super::Policy::act) gave at the step before. Empty: all episodes begin.
    pub state: &'a [f32],
    /// `[N]`: rewards that came with the observations, as the environment gave them. Read by networks that see the action and the reward
    /// before ([`NetworkSpec::action_reward_inputs`]). Empty: zeros.
    pub rewards: &'a [f32],
    /// `[N]`: not 0 where an episode begins; state and reward count as zeros there. Empty: nowhere.
    pub starts: &'a [u8],
}

impl<'a> From<&'a [u8]> for Seen<'a> {
    /// First observations of episodes, all choices allowed.
    fn from(observations: &'a [u8]) -> Self {
        Self { observations, ..Self::default() }
    }
}

/// A field of [`Seen`] of another length than it should have.
pub(super) struct WrongLength {
    pub(super) what: &'static str,
    pub(super) found: usize,
    pub(super) expected: usize,
}

/// The state of one call, as the networks take it and as it is given back.
#[derive(Debug)]
pub(super) struct State {
    /// S.
    core_len: usize,
    /// Of a network that sees the action before.
    action: Option<ActionSpec>,
    /// Numbers of the encoding of that action.
    action_len: usize,
    /// `[N][S]`.
    core: Vec<f32>,
    /// `[N][W]`.
    words: Vec<i32>,
    /// `[N]`.
    rewards: Vec<f32>,
    flags: Vec<u8>,
    /// `[N][extra inputs]`.
    extra: Vec<f32>,
    /// `[N][M]`.
    next: Vec<f32>,
}

impl State {
    pub(super) fn of(network: &NetworkSpec) -> Self {
        let action = network.action_reward_inputs.then(|| network.action.clone());
        Self {
            core_len: network.state_len(),
            action_len: action.as_ref().map_or(0, ActionSpec::inputs),
            action,
            core: Vec::new(),
            words: Vec::new(),
            rewards: Vec::new(),
            flags: Vec::new(),
            extra: Vec::new(),
            next: Vec::new(),
        }
    }

    /// M.
    pub(super) const fn len(&self) -> usize {
        self.core_len + self.action_len
    }

    /// Takes what `seen` says of `rows` environments.
    pub(super) fn take(&mut self, seen: &Seen<'_>, rows: usize) -> Result<(), WrongLength> {
        let len = self.len();
        for (what, found, expected) in [
            ("a state", seen.state.len(), len),
            ("rewards", seen.rewards.len(), 1),
            ("starts", seen.starts.len(), 1),
        ] {
            if found != 0 && found != rows * expected {
                return Err(WrongLength { what, found, expected });
            }
        }
        if len == 0 {
            return Ok(());
        }
        self.flags.clear();
        if seen.starts.is_empty() {
            self.flags.resize(rows, if seen.state.is_empty() { flag::FIRST } else { 0 });
        } else {
            let first = |&start: &u8| if start == 0 { 0 } else { flag::FIRST };
            self.flags.extend(seen.starts.iter().map(first));
        }
        self.rewards.clear();
        self.rewards.extend_from_slice(seen.rewards);
        self.rewards.resize(rows, 0.0);
        self.core.clear();
        self.core.resize(rows * self.core_len, 0.0);
        let words = self.action.as_ref().map_or(0, ActionSpec::words);
        self.words.clear();
        self.words.resize(rows * words, 0);
        self.next.clear();
        self.next.extend_from_slice(seen.state);
        // No state is rows of zeros.
        self.next.resize(rows * len, 0.0);
        for (row, state) in self.next.chunks_exact(len).enumerate() {
            let (core, encoded) = state.split_at(self.core_len);
            self.core[row * self.core_len..][..self.core_len].copy_from_slice(core);
            if let Some(action) = &self.action {
                decode(action, encoded, &mut self.words[row * words..][..words]);
            }
        }
        Ok(())
    }

    /// The logits of `actor` from the state that was taken; it goes on to the next.
    pub(super) fn logits(
        &mut self,
        actor: &mut NativePolicy,
        observations: StackedFrames<'_>,
        logits: &mut [f32],
    ) -> Result<(), PlayError> {
        use crate::policy::act::Policy as _;
        actor.set_state(&self.core);
        let inputs = ActInputs {
            observations,
            flags: &self.flags,
            last_actions: &self.words,
            last_rewards: &self.rewards,
        };
        actor.logits(&inputs, logits)?;
        self.core.clear();
        self.core.extend_from_slice(actor.recurrent_state());
        Ok(())
    }

    /// What a network that learns is shown, from the state that was taken.
    pub(super) fn inputs<'a>(&'a mut self, observations: StackedFrames<'a>) -> LearnInputs<'a> {
        if let Some(action) = &self.action {
            let width = self.action_len + 1;
            self.extra.resize(self.rewards.len() * width, 0.0);
            let came = self.words.chunks_exact(action.words()).zip(&self.rewards).zip(&self.flags);
            for (out, ((words, &reward), &flags)) in self.extra.chunks_exact_mut(width).zip(came) {
                encode(action, words, reward, flags, out);
            }
        }
        LearnInputs { observations, flags: &self.flags, extra: &self.extra, state: &self.core }
    }

    /// The state after [`State::logits`] and the actions `words`, `[N][W]`.
    pub(super) fn after(&mut self, words: &[i32]) -> &[f32] {
        let len = self.len();
        if len == 0 {
            return &[];
        }
        let rows = self.flags.len();
        self.next.resize(rows * len, 0.0);
        let mut encoded = vec![0.0; self.action_len + 1];
        for (row, out) in self.next.chunks_exact_mut(len).enumerate() {
            let (core, chosen) = out.split_at_mut(self.core_len);
            core.copy_from_slice(&self.core[row * self.core_len..][..self.core_len]);
            if let Some(action) = &self.action {
                let words = &words[row * action.words()..][..action.words()];
                encode(action, words, 0.0, 0, &mut encoded);
                chosen.copy_from_slice(&encoded[..chosen.len()]);
            }
        }
        &self.next
    }
}
