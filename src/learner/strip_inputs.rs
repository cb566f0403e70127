//! Gathers the inputs of a network beside the observations for one strip of columns: flags, previous actions and
//! rewards, and the state of the core.

use std::ops::Range;

use super::engine::Observations;
use crate::policy::inputs::encode;
use crate::policy::spec::NetworkSpec;

/// Memory for what one thread gathers of one strip after the other.
#[derive(Debug, Default)]
pub(super) struct StripInputs {
    /// `[T + 1][strip]`.
    pub(super) flags: Vec<u8>,
    /// `[T + 1][strip][extra inputs]`: what led to each observation.
    pub(super) extra: Vec<f32>,
}

impl StripInputs {
    /// Gathers what `network` sees beside the observations of the columns `strip`; nothing if it sees nothing else.
    pub(super) fn gather(
        &mut self,
        network: &NetworkSpec,
        observations: &Observations<'_>,
        strip: &Range<usize>,
    ) {
        let Observations { unroll, columns, flags, .. } = *observations;
        self.flags.clear();
        self.extra.clear();
        if network.state_len() > 0 {
            let rows = flags.chunks_exact(columns);
            rows.for_each(|row| self.flags.extend_from_slice(&row[strip.clone()]));
        }
        let width = network.extra_inputs();
        if width == 0 {
            return;
        }
        let Observations { actions, rewards, first_actions, first_rewards, .. } = *observations;
        let words = network.action.words();
        self.extra.resize((unroll + 1) * strip.len() * width, 0.0);
        let places = (0..=unroll).flat_map(|t| strip.clone().map(move |column| (t, column)));
        for ((t, column), out) in places.zip(self.extra.chunks_exact_mut(width)) {
            let (actions, rewards, at) = match t.checked_sub(1) {
                None => (first_actions, first_rewards, column),
                Some(before) => (actions, rewards, before * columns + column),
            };
            let chosen = &actions[at * words..(at + 1) * words];
            encode(&network.action, chosen, rewards[at], flags[t * columns + column], out);
        }
    }
}

/// The state `[strip][S]` of the core before the first of the observations.
pub(super) fn state<'a>(
    network: &NetworkSpec,
    observations: &Observations<'a>,
    strip: &Range<usize>,
) -> &'a [f32] {
    let len = network.state_len();
    &observations.recurrent_state[strip.start * len..strip.end * len]
}
