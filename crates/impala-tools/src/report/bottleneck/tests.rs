//! Tests of the verdicts on made-up totals.

use super::super::totals::PolicyTotals;
use super::*;

/// Ten seconds of a run of four actors.
fn totals(learner_s: [f64; 8], each_actor_s: [f64; 6]) -> Totals {
    Totals {
        wall_s: 10.0,
        actors: 4.0,
        cores: 8.0,
        frames: 1e6,
        frames_acted: 1.01e6,
        updates: 1000.0,
        unrolls: 32_000.0,
        refreshes: 4000.0,
        lag: (64_000.0, 32_000.0),
        learner_s,
        actors_s: std::array::from_fn(|stage| 4.0 * each_actor_s.get(stage).unwrap_or(&0.0)),
        policy: PolicyTotals::default(),
        cpu_s: (9.0, 20.0),
        core_wait_s: (0.1, 0.2),
    }
}

fn judge(totals: &Totals) -> Bottleneck {
    let settings = RunSettings {
        hidden: "[64, 64]".into(),
        actors: "4".into(),
        max_lag: "2".into(),
        envs_per_actor: "8".into(),
        ..RunSettings::default()
    };
    Bottleneck::judge(totals, &settings)
}

#[test]
fn a_busy_learner_and_waiting_actors_are_learner_bound() {
    let found =
        judge(&totals([0.2, 0.1, 3.0, 0.5, 6.0, 0.1, 0.1, 0.0], [1.0, 1.0, 0.1, 7.0, 0.1, 0.0]));
    assert_eq!(found.verdict, Verdict::Learner);
    for part in ["2.0 %", "70 %", "backward 61 %", "9.8 ms", "101k"] {
        assert!(found.because.contains(part), "{part} in {}", found.because);
    }
    assert!(found.advice.contains("[64, 64]") && found.advice.contains("2.0 updates"));
    assert!(!found.because.contains("full"));
}

#[test]
fn the_optimizer_of_small_batches_has_advice_of_its_own() {
    let found =
        judge(&totals([0.2, 0.1, 1.0, 0.5, 1.0, 7.0, 0.1, 0.0], [1.0, 1.0, 0.1, 7.0, 0.1, 0.0]));
    assert_eq!(found.verdict, Verdict::Learner);
    assert!(found.advice.contains("--batch"), "{}", found.advice);
}

#[test]
fn actors_that_compute_gradients_are_bound_by_them() {
    let mut measured =
        totals([8.0, 0.1, 0.0, 0.0, 0.0, 0.1, 0.1, 0.0], [1.0, 2.0, 0.1, 0.0, 0.1, 0.0]);
    measured.actors_s[6] = 4.0 * 6.0;
    let found = judge(&measured);
    assert_eq!(found.verdict, Verdict::Gradients);
    assert!(
        found.because.contains("60 % of it went into gradients (23.8 µs per frame)"),
        "{}",
        found.because
    );
    assert!(found.advice.contains("--exchange trajectories"), "{}", found.advice);
}

#[test]
fn costly_environments_are_environment_bound() {
    let measured = totals([8.0, 0.1, 0.5, 0.1, 1.0, 0.1, 0.1, 0.0], [9.0, 0.5, 0.1, 0.0, 0.1, 0.0]);
    let found = judge(&measured);
    assert_eq!(found.verdict, Verdict::Environment);
    for part in ["80 %", "90 %", "35.6 µs"] {
        assert!(found.because.contains(part), "{part} in {}", found.because);
    }
    assert!(found.advice.contains("more actors (--actors is 4)"), "{}", found.advice);
    assert!(!found.advice.contains("--pin"), "{}", found.advice);
    let python =
        RunSettings { has_workers: true, envs_per_actor: "8".into(), ..RunSettings::default() };
    let advice = |settings: &RunSettings| Bottleneck::judge(&measured, settings).advice;
    assert!(advice(&python).contains("--pin"), "{}", advice(&python));
    let (pinned, slow) = (
        RunSettings { pinned: true, ..python.clone() },
        RunSettings { envs_per_actor: "64".into(), ..python },
    );
    assert!(!advice(&pinned).contains("--pin") && !advice(&slow).contains("--pin"));
    // The same on a machine without a free core.
    let full = judge(&Totals { cores: 3.0, core_wait_s: (2.0, 10.0), ..measured });
    assert!(full.because.contains("The machine was full"), "{}", full.because);
    assert!(full.advice.contains("would not help"), "{}", full.advice);
}

#[test]
fn costly_networks_of_actors_are_inference_bound() {
    let found =
        judge(&totals([8.0, 0.1, 0.5, 0.1, 1.0, 0.1, 0.1, 0.0], [0.5, 9.0, 0.1, 0.0, 0.1, 0.0]));
    assert_eq!(found.verdict, Verdict::Inference);
    assert!(found.advice.contains("--envs-per-actor is 8"), "{}", found.advice);
}

#[test]
fn weights_may_bind_on_either_side() {
    let fetching =
        judge(&totals([8.0, 0.1, 0.5, 0.1, 1.0, 0.1, 0.1, 0.0], [0.5, 1.0, 8.0, 0.0, 0.1, 0.0]));
    assert_eq!(fetching.verdict, Verdict::Weights);
    assert!(fetching.because.contains("8 ms each time"), "{}", fetching.because);
    let publishing =
        judge(&totals([0.1, 0.1, 0.5, 0.1, 1.0, 0.1, 8.0, 0.0], [0.5, 1.0, 1.0, 7.0, 0.1, 0.0]));
    assert_eq!(publishing.verdict, Verdict::Weights);
}

#[test]
fn sides_that_wait_for_each_other_are_told_so() {
    let measured = totals([4.0, 0.1, 2.0, 0.5, 3.0, 0.1, 0.1, 0.0], [1.0, 1.0, 1.0, 6.0, 0.1, 0.0]);
    let found = judge(&measured);
    assert_eq!(found.verdict, Verdict::Handover);
    assert!(found.advice.contains("--blocks"), "{}", found.advice);
    let full = judge(&Totals { core_wait_s: (2.0, 10.0), ..measured });
    assert!(full.advice.contains("fewer actors"), "{}", full.advice);
}

#[test]
fn actors_that_are_held_back_are_told_of() {
    let sleeping = [0.5, 0.5, 0.1, 0.0, 0.1, 8.0];
    let busy = totals([0.2, 0.1, 3.0, 0.5, 6.0, 0.1, 0.1, 0.0], sleeping);
    let found = judge(&busy);
    assert_eq!(found.verdict, Verdict::Learner);
    assert!(found.because.contains("1 of 4 actors would have done"), "{}", found.because);

    let starving = totals([7.0, 0.1, 1.0, 0.5, 1.0, 0.1, 0.1, 0.0], sleeping);
    let found = judge(&starving);
    assert_eq!(found.verdict, Verdict::LagBound);
    assert!(found.advice.contains("Raise --max-lag (now 2)"), "{}", found.advice);
    // On a machine without a free core more actors would be no help.
    let full = judge(&Totals { cpu_s: (9.0, 20.0), cores: 3.0, ..starving });
    assert_ne!(full.verdict, Verdict::LagBound);
}

#[test]
fn nothing_is_said_of_a_run_without_updates() {
    assert_eq!(judge(&Totals::default()).verdict, Verdict::Unknown);
}
