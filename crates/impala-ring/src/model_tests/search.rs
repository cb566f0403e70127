//! Breadth-first search through all states of the model.

use std::collections::{HashMap, VecDeque};

use super::world::{Fault, Rules, World};

/// What a search found.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) states: usize,
    pub(super) edges: usize,
    /// The first fault on the shortest way to one, in steps from the start.
    pub(super) fault: Option<(Fault, u32)>,
    /// States from which the learner can no longer reach its last batch.
    pub(super) stuck: usize,
}

/// Explores all states, or all up to the first fault.
pub(super) fn explore(rules: &Rules) -> Findings {
    let start = World::new(rules);
    let mut numbers = HashMap::from([(start.clone(), 0)]);
    let mut finished = vec![start.is_finished(rules)];
    let mut predecessors: Vec<Vec<usize>> = vec![Vec::new()];
    let mut queue = VecDeque::from([(start, 0, 0_u32)]);
    let mut findings = Findings { states: 1, edges: 0, fault: None, stuck: 0 };
    while let Some((world, number, depth)) = queue.pop_front() {
        for next in world.successors(rules) {
            let next = match next {
                Ok(next) => next,
                Err(fault) => {
                    findings.fault = Some((fault, depth + 1));
                    return findings;
                }
            };
            findings.edges += 1;
            let fresh = numbers.len();
            let target = *numbers.entry(next).or_insert_with_key(|next| {
                finished.push(next.is_finished(rules));
                predecessors.push(Vec::new());
                queue.push_back((next.clone(), fresh, depth + 1));
                fresh
            });
            predecessors[target].push(number);
        }
        findings.states = numbers.len();
    }
    findings.stuck = stuck(&finished, &predecessors);
    findings
}

/// How many states have no way to a finished one.
fn stuck(finished: &[bool], predecessors: &[Vec<usize>]) -> usize {
    let mut can_finish = finished.to_vec();
    let mut queue: Vec<usize> = (0..finished.len()).filter(|&state| finished[state]).collect();
    while let Some(state) = queue.pop() {
        for &before in &predecessors[state] {
            if !can_finish[before] {
                can_finish[before] = true;
                queue.push(before);
            }
        }
    }
    can_finish.iter().filter(|&&can| !can).count()
}
