//! Helpers for tests that compare an engine with its reference implementation.

use impala_env::rng::Rng;

pub(crate) fn normals(rng: &mut Rng, count: usize, scale: f64) -> Vec<f32> {
    (0..count).map(|_| (scale * rng.normal_f64()) as f32).collect()
}

pub(crate) fn close(what: &str, actual: &[f32], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    // Of the size of the largest: sums over a batch cancel, their errors do not.
    let scale = expected.iter().fold(1.0_f64, |a, b| a.max(b.abs()));
    for (at, (a, e)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(*a) - e).abs();
        assert!(error <= 1e-5 * scale, "{what} [{at}]: {a} instead of {e} (scale {scale})");
    }
}
