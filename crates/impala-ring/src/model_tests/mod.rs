//! Explicit-state search through the ring's protocol: every order of events, with a death possible at every step.
//!
//! An explicit-state search over [`super::word::SlotWord::step`], the function that the product uses.
//! Every shared access is a step of its own, and any party may die before any of them. Memory is
//! sequentially consistent here: orderings are the business of the loom tests. In no state may the
//! learner read torn data, the counts be off, or a sound party meet a corrupt word; and from every state
//! the run can finish. Data goes back to the learner after one death, and never after two. Seven designs
//! that suggest themselves must fail, and do.
//!
//! The death of the supervisor is not modelled: the kernel kills everybody with it.

mod search;
mod world;

use search::{Findings, explore};
use world::{Fault, Mutant, Rules};

const SMALL: Rules = Rules {
    blocks: 1,
    groups: 2,
    actors: 2,
    actor_crashes: 1,
    learner_crashes: 0,
    batches: 1,
    mutant: None,
};

fn search(name: &str, rules: Rules) -> Findings {
    let findings = explore(&rules);
    println!("{name}: {findings:?}");
    findings
}

fn assert_sound(name: &str, rules: Rules, at_least: usize) {
    let findings = search(name, rules);
    assert_eq!((findings.fault, findings.stuck), (None, 0), "{name}");
    // A model that lost most of its events by mistake would pass everything else.
    assert!(findings.states > at_least, "only {} states", findings.states);
}

#[test]
fn model_actor_and_learner_deaths() {
    let rules = Rules { actor_crashes: 2, learner_crashes: 1, ..SMALL };
    assert_sound("K=1 B=2, 2 actors, 2 + 1 deaths", rules, 180_000);
}

#[test]
fn model_two_batches() {
    let rules = Rules { learner_crashes: 1, batches: 2, ..SMALL };
    assert_sound("K=1 B=2, 2 actors, 1 + 1 deaths, 2 batches", rules, 70_000);
}

#[test]
fn model_a_poisonous_batch_is_dropped() {
    let rules = Rules { actors: 1, actor_crashes: 1, learner_crashes: 3, ..SMALL };
    assert_sound("K=1 B=2, 1 actor, 1 + 3 deaths", rules, 35_000);
}

#[test]
fn model_two_blocks() {
    let rules = Rules { blocks: 2, groups: 1, learner_crashes: 1, batches: 2, ..SMALL };
    assert_sound("K=2 B=1, 2 actors, 1 + 1 deaths, 2 batches", rules, 100_000);
}

#[test]
fn model_two_blocks_of_two() {
    let rules = Rules { blocks: 2, ..SMALL };
    assert_sound("K=2 B=2, 2 actors, 1 death", rules, 500_000);
}

/// This takes a minute without optimisation: `cargo test --release --lib -- --ignored model_`.
#[test]
#[ignore = "large"]
fn model_three_actor_deaths() {
    let rules = Rules { actor_crashes: 3, learner_crashes: 1, ..SMALL };
    assert_sound("K=1 B=2, 2 actors, 3 + 1 deaths", rules, 1_000_000);
}

#[test]
fn model_two_blocks_of_two_with_a_learner_death() {
    let rules = Rules { blocks: 2, actor_crashes: 0, learner_crashes: 1, ..SMALL };
    assert_sound("K=2 B=2, 2 actors, 0 + 1 deaths", rules, 90_000);
}

#[test]
fn mutant_return_of_what_the_living_hold_is_found_out() {
    let rules = Rules { learner_crashes: 1, mutant: Some(Mutant::ReturnAlive), ..SMALL };
    let findings = search("mutant: return alive", rules);
    assert!(matches!(findings.fault, Some((Fault::Corrupt, _))), "{findings:?}");
}

#[test]
fn mutant_that_forgets_deaths_returns_poison() {
    let rules = Rules { learner_crashes: 2, mutant: Some(Mutant::ForgetsDeaths), ..SMALL };
    let findings = search("mutant: forgets deaths", rules);
    assert!(matches!(findings.fault, Some((Fault::Poison, _))), "{findings:?}");
}

#[test]
fn mutant_that_leaves_the_counts_uncorrected_is_found_out() {
    let rules = Rules { learner_crashes: 1, mutant: Some(Mutant::LeavesCounts), ..SMALL };
    let findings = search("mutant: leaves the counts", rules);
    assert!(matches!(findings.fault, Some((Fault::Counts, _))), "{findings:?}");
}

#[test]
fn mutant_reclaim_of_the_living_tears() {
    let rules = Rules { mutant: Some(Mutant::ReclaimAlive), ..SMALL };
    let findings = search("mutant: reclaim alive", rules);
    assert!(matches!(findings.fault, Some((Fault::Torn, _))), "{findings:?}");
}

#[test]
fn mutant_reclaim_of_the_living_with_a_plain_commit_breaks_the_counts() {
    let rules = Rules { mutant: Some(Mutant::ReclaimAliveStoreCommit), ..SMALL };
    let findings = search("mutant: reclaim alive, store commit", rules);
    assert!(matches!(findings.fault, Some((Fault::Counts, _))), "{findings:?}");
}

#[test]
fn mutant_ready_counter_gets_stuck() {
    let findings =
        search("mutant: ready counter", Rules { mutant: Some(Mutant::ReadyCounter), ..SMALL });
    assert!(findings.fault.is_none() && findings.stuck > 0, "{findings:?}");
}

#[test]
fn mutant_owner_written_second_gets_stuck() {
    let rules = Rules { mutant: Some(Mutant::OwnerSecond), ..SMALL };
    let findings = search("mutant: owner second", rules);
    assert!(findings.fault.is_none() && findings.stuck > 0, "{findings:?}");
}
