//! V-trace targets and advantages, in the notation of Espeholt et al. 2018 ("IMPALA"), section 4.1.
//!
//! Equation 1 defines the target of the value function at `x_s` over an unroll of `n` steps:
//!
//! ```text
//! v_s = V(x_s) + sum_{t=s}^{s+n-1} gamma^{t-s} (prod_{i=s}^{t-1} c_i) delta_t V
//! delta_t V = rho_t (r_t + gamma V(x_{t+1}) - V(x_t))
//! rho_t = min(rho_bar, pi(a_t|x_t) / mu(a_t|x_t)),  c_i = lambda min(c_bar, pi(a_i|x_i) / mu(a_i|x_i))
//! ```
//!
//! Remark 1 gives it as the backward recursion that is computed here:
//! `v_s = V(x_s) + delta_s V + gamma c_s (v_{s+1} - V(x_{s+1}))`. The factor `lambda` on `c` is remark 2.

use num_traits::Float;

/// Truncation levels of the importance ratios; infinity truncates nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VtraceConfig<R> {
    /// rho-bar: fixes the policy whose value function is learnt.
    pub rho_bar: R,
    /// c-bar: how far corrections travel back in time.
    pub c_bar: R,
    /// The level for the policy gradient's own ratio (the paper uses rho-bar).
    pub pg_rho_bar: R,
    /// Discount of the trace, 1 in the paper's experiments.
    pub lambda: R,
}

impl VtraceConfig<f32> {
    /// The paper's levels.
    pub const ONE: Self = Self { rho_bar: 1.0, c_bar: 1.0, pg_rho_bar: 1.0, lambda: 1.0 };
}

/// What V-trace looks at; all time-major.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a, R> {
    /// B: columns of each row.
    pub columns: usize,
    /// `[T][B]` pi(a|x) / mu(a|x), not truncated; 0 cuts the trace and removes the transition.
    pub ratios: &'a [R],
    /// `[T][B]` gamma, or 0 where the episode terminated.
    pub discounts: &'a [R],
    /// `[T][B]` rewards.
    pub rewards: &'a [R],
    /// `[T + 1][B]` V(x); the last row is the bootstrap value.
    pub values: &'a [R],
}

/// Writes the targets `vs` (`[T][B]`) and the policy-gradient advantages (`[T][B]`),
/// `min(pg_rho_bar, rho_t) (r_t + gamma v_{t+1} - V(x_t))` with `v_T = V(x_T)`.
///
/// # Panics
/// If the lengths of the slices do not agree.
pub fn vtrace<R: Float>(
    inputs: Inputs<'_, R>,
    clips: VtraceConfig<R>,
    vs: &mut [R],
    pg_advantages: &mut [R],
) {
    let Inputs { columns, ratios, discounts, rewards, values } = inputs;
    let steps = ratios.len();
    assert!(columns > 0 && steps.is_multiple_of(columns), "{steps} ratios in rows of {columns}");
    assert_eq!(discounts.len(), steps, "discounts");
    assert_eq!(rewards.len(), steps, "rewards");
    assert_eq!(values.len(), steps + columns, "values with bootstrap row");
    assert_eq!(vs.len(), steps, "vs");
    assert_eq!(pg_advantages.len(), steps, "advantages");

    // Row by row from the end; the columns of a row are independent, which the compiler vectorises.
    // `vs` of the row below is read back from the output, so there is no state between rows.
    for start in (0..steps).step_by(columns).rev() {
        let row = start..start + columns;
        let (head, below) = vs.split_at_mut(row.end);
        let v_next = &values[row.end..row.end + columns];
        let vs_next = if below.is_empty() { v_next } else { &below[..columns] };
        let vs_row = &mut head[row.clone()];
        let advantage_row = &mut pg_advantages[row.clone()];
        let [ratio, discount, reward, v] =
            [ratios, discounts, rewards, values].map(|field| &field[row.clone()]);
        for b in 0..columns {
            let delta = ratio[b].min(clips.rho_bar) * (reward[b] + discount[b] * v_next[b] - v[b]);
            let c = clips.lambda * ratio[b].min(clips.c_bar);
            let advantage = reward[b] + discount[b] * vs_next[b] - v[b];
            vs_row[b] = v[b] + delta + discount[b] * c * (vs_next[b] - v_next[b]);
            advantage_row[b] = ratio[b].min(clips.pg_rho_bar) * advantage;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ON_POLICY: VtraceConfig<f64> =
        VtraceConfig { rho_bar: 1.0, c_bar: 1.0, pg_rho_bar: 1.0, lambda: 1.0 };

    fn run(inputs: Inputs<'_, f64>, clips: VtraceConfig<f64>) -> (Vec<f64>, Vec<f64>) {
        let mut vs = vec![0.0; inputs.ratios.len()];
        let mut advantages = vs.clone();
        vtrace(inputs, clips, &mut vs, &mut advantages);
        (vs, advantages)
    }

    #[test]
    fn on_policy_it_is_the_n_step_return() {
        let (vs, advantages) = run(
            Inputs {
                columns: 1,
                ratios: &[1.0; 3],
                discounts: &[0.5; 3],
                rewards: &[1.0, 2.0, 4.0],
                values: &[10.0, 20.0, 30.0, 8.0],
            },
            ON_POLICY,
        );
        assert_eq!(vs, [1.0 + 0.5 * (2.0 + 0.5 * (4.0 + 0.5 * 8.0)), 2.0 + 0.5 * 8.0, 8.0]);
        assert_eq!(advantages[0], vs[0] - 10.0);
    }

    #[test]
    fn a_cut_transition_keeps_its_value_and_stops_the_trace() {
        // Step 1 crosses a reset: ratio 0, discount 0.
        let (vs, advantages) = run(
            Inputs {
                columns: 1,
                ratios: &[1.0, 0.0, 1.0],
                discounts: &[0.9, 0.0, 0.9],
                rewards: &[1.0, 0.0, 100.0],
                values: &[5.0, 7.0, 3.0, 2.0],
            },
            ON_POLICY,
        );
        assert_eq!(vs[1], 7.0);
        assert_eq!(advantages[1], 0.0);
        assert_eq!(vs[0], 1.0 + 0.9 * 7.0, "bootstraps from the final observation");
    }

    proptest! {
        /// Against the n-step return of A2C: a walk forward to the end of the unroll, of the episode, or to a time
        /// limit, from whose observation it bootstraps.
        #[test]
        fn equals_a2c_where_the_policies_are_equal(
            steps in 1_usize..40,
            columns in 1_usize..5,
            seed in any::<u64>(),
        ) {
            #[derive(Clone, Copy, PartialEq)]
            enum Kind { Inner, Terminal, Limit, Reset }
            let mut rng = crate::rng::Rng::new(seed, 0);
            let gamma = 0.97;
            let mut kinds = vec![Kind::Inner; steps * columns];
            for at in 0..kinds.len() {
                let over = at >= columns && matches!(kinds[at - columns], Kind::Terminal | Kind::Limit);
                kinds[at] = match rng.below(6) {
                    _ if over => Kind::Reset,
                    0 => Kind::Terminal,
                    1 => Kind::Limit,
                    _ => Kind::Inner,
                };
            }
            let mut draw = |n: usize, scale: f64| -> Vec<f64> {
                (0..n).map(|_| scale * rng.normal_f64()).collect()
            };
            let (rewards, values) = (draw(steps * columns, 2.0), draw((steps + 1) * columns, 3.0));
            let of = |kind, this, other| if kind == Kind::Reset { this } else { other };
            let ratios: Vec<f64> = kinds.iter().map(|&kind| of(kind, 0.0, 1.0)).collect();
            let discounts: Vec<f64> = kinds
                .iter()
                .map(|&kind| if kind == Kind::Terminal { 0.0 } else { of(kind, 0.0, gamma) })
                .collect();
            let inputs = Inputs {
                columns,
                ratios: &ratios,
                discounts: &discounts,
                rewards: &rewards,
                values: &values,
            };
            let (vs, advantages) = run(inputs, ON_POLICY);
            for first in 0..steps * columns {
                let (mut expected, mut weight, mut at) = (0.0, 1.0, first);
                while at < kinds.len() && kinds[at] != Kind::Reset {
                    expected += weight * rewards[at];
                    weight *= if kinds[at] == Kind::Terminal { 0.0 } else { gamma };
                    at += columns;
                }
                expected += weight * values[at];
                let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
                prop_assert!(close(vs[first], expected), "{} {expected}", vs[first]);
                prop_assert!(close(advantages[first], expected - values[first]));
            }
        }

        /// Against equation 1 as it is written, a sum of products without recursion.
        #[test]
        fn equals_the_definition(
            steps in 1_usize..12,
            seed in any::<u64>(),
            rho_bar in 0.2_f64..4.0,
            c_bar in 0.2_f64..4.0,
            lambda in 0.0_f64..=1.0,
        ) {
            let mut rng = crate::rng::Rng::new(seed, 0);
            let mut draw = |n: usize, scale: f64| -> Vec<f64> {
                (0..n).map(|_| scale * rng.normal_f64()).collect()
            };
            let (ratios, rewards, values): (Vec<f64>, _, _) =
                (draw(steps, 1.0).iter().map(|x| x.exp()).collect(), draw(steps, 2.0), draw(steps + 1, 3.0));
            let discounts: Vec<f64> = draw(steps, 1.0).iter().map(|x| if *x > 1.0 { 0.0 } else { 0.97 }).collect();
            let clips = VtraceConfig { rho_bar, c_bar, pg_rho_bar: rho_bar, lambda };
            let (vs, _) = run(
                Inputs { columns: 1, ratios: &ratios, discounts: &discounts, rewards: &rewards, values: &values },
                clips,
            );
            for s in 0..steps {
                let mut expected = values[s];
                for t in s..steps {
                    let path: f64 = (s..t).map(|i| discounts[i] * lambda * ratios[i].min(c_bar)).product();
                    let rho = ratios[t].min(rho_bar);
                    expected += path * rho * (rewards[t] + discounts[t] * values[t + 1] - values[t]);
                }
                prop_assert!((vs[s] - expected).abs() <= 1e-9 * expected.abs().max(1.0));
            }
        }
    }
}
