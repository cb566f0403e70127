//! Inputs and outputs of the model for what a network carries from step to step: the state of its recurrent core, and
//! the previous action and reward.
//!
//! A row of `state` is that of `impala_rl::play::Seen`: `h`, `c`, then the encoded action before. Zeros begin an episode.

use impala_rl::env::ActionSpec;
use impala_rl::play::Policy;
use impala_rl::policy::spec::Core;

use crate::graph::{Graph, Value, number};
use crate::proto::DataType;

/// Gates of an LSTM cell: input, forget, cell, output.
const GATES: usize = 4;

/// The state before a step.
pub(crate) struct Before {
    state: Value,
    core_len: usize,
    len: usize,
    /// `[batch][inputs of the action + 1]`, if the network sees them.
    pub(crate) extra: Option<Value>,
}

/// The inputs for what `policy` remembers, if it remembers anything.
pub(crate) fn before(graph: &mut Graph, policy: &Policy) -> Option<Before> {
    let (len, core_len) = (policy.state_len(), policy.network().state_len());
    if len == 0 {
        return None;
    }
    let about = "what next_state was at the step before; zeros where an episode begins";
    let state = graph.input("state", DataType::Float, &[len], about);
    let extra = policy.network().action_reward_inputs.then(|| {
        let about = "that came with the observation; 0 where an episode begins";
        let reward = graph.input("reward", DataType::Float, &[], about);
        let reward = graph.reshape("reward.column", &reward, &[1]);
        let reward = clipped(graph, "reward.clipped", reward);
        let action = graph.columns("state.action", &state, core_len, len);
        graph.node_with("Concat", "state.extra", &[action, reward], vec![number("axis", 1)])
    });
    Some(Before { state, core_len, len, extra })
}

impl Before {
    /// The outputs of the core for `x`, and its next state (h, c). `parameter` names a constant of the policy.
    pub(crate) fn core(
        &self,
        graph: &mut Graph,
        core: Core,
        x: Value,
        mut parameter: impl FnMut(&mut Graph, &str) -> Value,
    ) -> (Value, Vec<Value>) {
        let Core::Lstm { hidden } = core else { return (x, Vec::new()) };
        let h = graph.columns("core.h", &self.state, 0, hidden);
        let c = graph.columns("core.c", &self.state, hidden, 2 * hidden);
        let mut product = |graph: &mut Graph, part: &str, input: Value| {
            let [weight, bias] =
                ["weight", "bias"].map(|kind| parameter(graph, &format!("core.{kind}_{part}")));
            let transposed = vec![number("transB", 1)];
            let name = format!("core.{part}.sums");
            graph.node_with("Gemm", &name, &[input, weight, bias], transposed)
        };
        let sums = [product(graph, "ih", x), product(graph, "hh", h)];
        let sums = graph.node("Add", "core.sums", &sums);
        let mut gates = ["Sigmoid", "Sigmoid", "Tanh", "Sigmoid"].iter().zip(0..GATES);
        let [i, f, g, o] = ["i", "f", "g", "o"].map(|name| {
            let (operator, gate) = gates.next().expect("four gates");
            let own = format!("core.{name}.sum");
            let own = graph.columns(&own, &sums, gate * hidden, (gate + 1) * hidden);
            graph.node(operator, &format!("core.{name}"), &[own])
        });
        let kept = graph.node("Mul", "core.kept", &[f, c]);
        let added = graph.node("Mul", "core.added", &[i, g]);
        let c = graph.node("Add", "core.c.next", &[kept, added]);
        let squashed = graph.node("Tanh", "core.c.squashed", std::slice::from_ref(&c));
        let h = graph.node("Mul", "core.h.next", &[o, squashed]);
        (h.clone(), vec![h, c])
    }

    /// Makes the state after a step an output: that of the core, and the most likely action, encoded.
    pub(crate) fn next(&self, graph: &mut Graph, core: Vec<Value>, action: Option<Value>) {
        let parts: Vec<Value> = core.into_iter().chain(action).collect();
        let next = graph.node_with("Concat", "state.next", &parts, vec![number("axis", 1)]);
        let about = match self.len - self.core_len {
            0 => "the state for the next observation".to_owned(),
            n => format!(
                "the state for the next observation; the last {n} numbers encode the most likely action, write another there if it is taken"
            ),
        };
        graph.output(&next, ("next_state", DataType::Float), &[self.len], &about);
    }
}

/// The most likely action as the network sees it at the next step: choices `[batch][choices]` one-hot, then the means of numbers
/// `[batch][numbers]`, clipped.
pub(crate) fn encoded(
    graph: &mut Graph,
    action: &ActionSpec,
    choices: Option<&Value>,
    means: Option<Value>,
) -> Value {
    let mut parts = Vec::new();
    if let Some(choices) = choices {
        for (index, &size) in action.sizes().iter().enumerate() {
            let name = format!("choice.{index}.one-hot");
            let own = graph.columns(&format!("{name}.choice"), choices, index, index + 1);
            let all: Vec<i64> = (0..size).map(|n| i64::try_from(n).unwrap_or(i64::MAX)).collect();
            let all = graph.integers(&format!("{name}.all"), &all);
            let equal = graph.node("Equal", &format!("{name}.equal"), &[own, all]);
            let to = vec![number("to", i64::from(i32::from(DataType::Float)))];
            parts.push(graph.node_with("Cast", &name, &[equal], to));
        }
    }
    if let Some(means) = means {
        parts.push(clipped(graph, "numbers.encoded", means));
    }
    graph.node_with("Concat", "action.encoded", &parts, vec![number("axis", 1)])
}

/// `value`, clipped to -1 and 1.
fn clipped(graph: &mut Graph, name: &str, value: Value) -> Value {
    let [low, high] = [("low", -1.0), ("high", 1.0)]
        .map(|(end, bound)| graph.numbers(&format!("{name}.{end}"), &[], &[bound]));
    graph.node("Clip", name, &[value, low, high])
}
