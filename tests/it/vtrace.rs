//! V-trace against the reference data: the explicit sums of equation 1, made in float64 without recursion.

use impala_rl::learner::vtrace::{Inputs, VtraceConfig, vtrace};
use num_traits::Float;
use serde::Deserialize;

use crate::golden;

#[derive(Deserialize)]
struct Case {
    #[serde(rename = "T")]
    steps: usize,
    #[serde(rename = "B")]
    columns: usize,
    clip_rho: Option<f64>,
    clip_c: Option<f64>,
    clip_pg_rho: Option<f64>,
    lambda: f64,
    log_rhos: Vec<Vec<f64>>,
    discounts: Vec<Vec<f64>>,
    rewards: Vec<Vec<f64>>,
    values: Vec<Vec<f64>>,
    bootstrap_value: Vec<f64>,
    vs: Vec<Vec<f64>>,
    pg_advantages: Vec<Vec<f64>>,
}

fn convert<R: Float>(rows: &[Vec<f64>]) -> Vec<R> {
    rows.iter().flatten().map(|&x| R::from(x).expect("a number")).collect()
}

/// Largest error relative to the size of the expected number, but at least to 1.
fn worst<R: Float>(actual: &[R], expected: &[Vec<f64>]) -> f64 {
    let expected: Vec<f64> = expected.iter().flatten().copied().collect();
    assert_eq!(actual.len(), expected.len());
    let errors = actual
        .iter()
        .zip(expected)
        .map(|(a, e)| (a.to_f64().expect("a number") - e).abs() / e.abs().max(1.0));
    errors.fold(0.0, |worst, error| if error.is_nan() { f64::INFINITY } else { worst.max(error) })
}

fn check<R: Float>(tolerance: f64) {
    let cases: Vec<Case> =
        serde_json::from_str(&golden::read("vtrace.json")).expect("vtrace.json is a list of cases");
    assert!(!cases.is_empty(), "vtrace.json holds no case");
    for case in cases {
        let clip = |level: Option<f64>| {
            level.map_or(R::infinity(), |level| R::from(level).expect("a number"))
        };
        let clips = VtraceConfig {
            rho_bar: clip(case.clip_rho),
            c_bar: clip(case.clip_c),
            pg_rho_bar: clip(case.clip_pg_rho),
            lambda: R::from(case.lambda).expect("a number"),
        };
        let ratios: Vec<R> = convert::<R>(&case.log_rhos).into_iter().map(R::exp).collect();
        let mut values = convert::<R>(&case.values);
        values.extend(convert::<R>(std::slice::from_ref(&case.bootstrap_value)));
        let mut vs = vec![R::nan(); case.steps * case.columns];
        let mut advantages = vs.clone();
        vtrace(
            Inputs {
                columns: case.columns,
                ratios: &ratios,
                discounts: &convert::<R>(&case.discounts),
                rewards: &convert::<R>(&case.rewards),
                values: &values,
            },
            clips,
            &mut vs,
            &mut advantages,
        );
        let worst = worst(&vs, &case.vs).max(worst(&advantages, &case.pg_advantages));
        assert!(worst <= tolerance, "T={} B={}: off by {worst:e}", case.steps, case.columns);
    }
}

#[test]
fn f64_equals_the_definition() {
    check::<f64>(1e-10);
}

#[test]
fn f32_equals_the_definition() {
    check::<f32>(1e-5);
}
