//! Adds to the ONNX graph how the most likely action follows from the network's outputs, in the form that the
//! environment takes.

use impala_rl::env::ActionSpec;
use impala_rl::play::Policy;
use impala_rl::policy::bounds::{ActionBounds, is_bounded, middle_and_reach};
use impala_rl::policy::mask::FORBIDDEN;

use crate::graph::{Graph, Value, number};
use crate::memory::encoded;
use crate::proto::DataType;

/// Adds the outputs for the action of `policy`; gives the action as the network sees it at the next step, if it does.
pub(crate) fn actions(graph: &mut Graph, policy: &Policy, logits: &Value) -> Option<Value> {
    let action = &policy.spec().action;
    let (count, dims) = (action.sizes().len(), action.numbers());
    let counted = "each choice counted from 0";
    let chosen = (count > 0).then(|| choices(graph, policy, logits));
    let means = (dims > 0)
        .then(|| graph.columns("numbers.means", logits, action.logits(), action.logits() + dims));
    let given = means.clone().map(|means| numbers(graph, policy, means));
    match (&chosen, &given) {
        (Some(choices), Some(numbers)) => {
            graph.output(choices, ("choices", DataType::Int64), &[count], counted);
            graph.output(numbers, ("numbers", DataType::Float), &[dims], "within their bounds");
        }
        (Some(choices), None) if matches!(action, ActionSpec::Discrete { .. }) => {
            let action = graph.reshape("choice", choices, &[]);
            graph.output(&action, ("action", DataType::Int64), &[], counted);
        }
        (Some(choices), None) => {
            graph.output(choices, ("action", DataType::Int64), &[count], counted);
        }
        (None, Some(numbers)) => {
            graph.output(numbers, ("action", DataType::Float), &[dims], "within their bounds");
        }
        (None, None) => unreachable!("an action is a choice, a number or both"),
    }
    let seen = policy.network().action_reward_inputs;
    seen.then(|| encoded(graph, action, chosen.as_ref(), means))
}

/// `[batch][choices]`: the most likely of each that is allowed.
fn choices(graph: &mut Graph, policy: &Policy, logits: &Value) -> Value {
    let spec = policy.spec();
    let all = spec.action.logits();
    let mut allowed = graph.columns("choices.logits", logits, 0, all);
    if spec.masks {
        let mask = graph.input("mask", DataType::Bool, &[all], "which choices are allowed");
        let forbidden = graph.numbers("choices.forbidden", &[], &[FORBIDDEN]);
        allowed = graph.node("Where", "choices.allowed", &[mask, allowed, forbidden]);
    }
    let mut start = 0;
    let mut found = Vec::new();
    for (index, &size) in spec.action.sizes().iter().enumerate() {
        let own = graph.columns(&format!("choice.{index}.logits"), &allowed, start, start + size);
        let attributes = vec![number("axis", 1), number("keepdims", 1)];
        found.push(graph.node_with("ArgMax", &format!("choice.{index}"), &[own], attributes));
        start += size;
    }
    graph.node_with("Concat", "choices.found", &found, vec![number("axis", 1)])
}

/// `[batch][numbers]`: the means `u`, within their bounds.
fn numbers(graph: &mut Graph, policy: &Policy, mut u: Value) -> Value {
    let action = &policy.spec().action;
    let (low, high) = action.bounds();
    let dims = low.len();
    if policy.config().env.action_bounds == ActionBounds::Squash {
        let bounded: Vec<bool> = low.iter().zip(high).map(|(&l, &h)| is_bounded(l, h)).collect();
        let squashed = graph.node("Tanh", "numbers.tanh", &[u.clone()]);
        let bounded = graph.truths("numbers.bounded", &bounded);
        u = graph.node("Where", "numbers.squashed", &[bounded, squashed, u]);
    }
    let (middle, reach): (Vec<f32>, Vec<f32>) =
        low.iter().zip(high).map(|(&low, &high)| middle_and_reach(low, high)).unzip();
    let mut steps = [
        ("Mul", "reach", &reach[..]),
        ("Add", "middle", &middle),
        ("Max", "low", low),
        ("Min", "high", high),
    ]
    .into_iter();
    steps.by_ref().fold(u, |x, (operator, name, values)| {
        let constant = graph.numbers(&format!("numbers.{name}"), &[dims], values);
        graph.node(operator, &format!("numbers.{name}.applied"), &[x, constant])
    })
}
