//! The allowed range of every numeric setting: one row each; numbers are range-checked nowhere else.

use std::fmt;

use super::error::ConfigError;
use super::settings::Settings;

/// What a whole number may be.
#[derive(Debug, Clone, Copy)]
pub struct Whole {
    /// The setting.
    pub key: &'static str,
    get: fn(&Settings) -> Option<u64>,
    low: u64,
    high: u64,
    /// Why, where that is not plain; else empty.
    why: &'static str,
}

/// What a real number may be. NaN is never allowed.
#[derive(Debug, Clone, Copy)]
pub struct Real {
    /// The setting.
    pub key: &'static str,
    get: fn(&Settings) -> Option<f64>,
    low: Low,
    high: f64,
    /// Whether `inf` is allowed as well.
    or_inf: bool,
}

#[derive(Debug, Clone, Copy)]
enum Low {
    From(f64),
    Above(f64),
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.low, self.high)?;
        if self.why.is_empty() { Ok(()) } else { write!(f, " ({})", self.why) }
    }
}

impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.low {
            Low::From(low) => write!(f, "from {low} to {}", self.high)?,
            Low::Above(low) => write!(f, "above {low}, at most {}", self.high)?,
        }
        if self.or_inf { f.write_str(", or inf") } else { Ok(()) }
    }
}

impl Whole {
    const fn row(
        key: &'static str,
        get: fn(&Settings) -> Option<u64>,
        low: u64,
        high: u64,
    ) -> Self {
        Self { key, get, low, high, why: "" }
    }

    const fn because(self, why: &'static str) -> Self {
        Self { why, ..self }
    }
}

impl Real {
    const fn from(
        key: &'static str,
        get: fn(&Settings) -> Option<f64>,
        low: f64,
        high: f64,
    ) -> Self {
        Self { key, get, low: Low::From(low), high, or_inf: false }
    }

    const fn above(
        key: &'static str,
        get: fn(&Settings) -> Option<f64>,
        low: f64,
        high: f64,
    ) -> Self {
        Self { key, get, low: Low::Above(low), high, or_inf: false }
    }

    const fn or_inf(self) -> Self {
        Self { or_inf: true, ..self }
    }

    fn contains(&self, number: f64) -> bool {
        let low = match self.low {
            Low::From(low) => number >= low,
            Low::Above(low) => number > low,
        };
        low && (number <= self.high || (self.or_inf && number == f64::INFINITY))
    }
}

/// The largest whole number that TOML holds.
const TOML_MAX: u64 = i64::MAX.unsigned_abs();

const fn wide(number: Option<usize>) -> Option<u64> {
    match number {
        Some(number) => Some(number as u64),
        None => None,
    }
}

/// The one of several that is in the range only if all of them are: ranges around 0 may end in infinity.
fn farthest(numbers: Option<&[f64]>) -> Option<f64> {
    let finite = |number: &f64| if *number == f64::INFINITY { 0.0 } else { number.abs() };
    numbers?.iter().copied().max_by(|a, b| finite(a).total_cmp(&finite(b)))
}

/// All whole numbers.
pub const WHOLE: &[Whole] = &[
    Whole::row("frame-stack", |s| wide(s.frame_stack), 1, 16),
    Whole::row("pad-observations", |s| wide(s.pad_observations), 1, 1_048_576),
    Whole::row("actors", |s| wide(s.actors), 1, 8191)
        .because("a slot of the ring has 13 bits for it"),
    Whole::row("envs-per-actor", |s| wide(s.envs_per_actor), 1, 65_536),
    Whole::row("splits", |s| wide(s.splits), 1, 16),
    Whole::row("unroll", |s| wide(s.unroll), 1, 65_536),
    Whole::row("batch", |s| wide(s.batch), 1, 1_048_576),
    Whole::row("blocks", |s| wide(s.blocks), 2, 65_536)
        .because("one to fill while the other is learnt from"),
    Whole::row("max-lag", |s| wide(s.max_lag), 1, 65_536)
        .because("the learner works on one batch while the actors fill another"),
    Whole::row("lag", |s| wide(s.lag), 0, 1024)
        .because("the learner keeps that many versions of the weights"),
    Whole::row("gradients-per-update", |s| wide(s.gradients_per_update), 1, 8192),
    Whole::row("inference-batch", |s| wide(s.inference_batch), 1, 1_048_576),
    Whole::row("inference-wait-us", |s| s.inference_wait_us, 0, 1_000_000)
        .because("all actors wait as long"),
    Whole::row("actor-nice", |s| wide(s.actor_nice), 0, 19).because("nice goes no further"),
    Whole::row("seed", |s| s.seed, 0, TOML_MAX),
    Whole::row("keep-checkpoints", |s| wide(s.keep_checkpoints), 1, 1_000_000),
    Whole::row("total-frames", |s| s.total_frames, 1, TOML_MAX),
    Whole::row("stop-window", |s| wide(s.stop_window), 1, 1_000_000),
    Whole::row("core-size", |s| wide(s.core_size), 1, 65_536),
    Whole::row("learner-threads", |s| wide(s.learner_threads), 1, 1024),
    Whole::row("passes", |s| s.passes, 1, 1000),
    Whole::row("replay-unrolls", |s| wide(s.replay_unrolls), 1, 1_000_000_000),
    Whole::row("minibatches", |s| s.minibatches, 1, 65_536),
    Whole::row("micro-batch", |s| wide(s.micro_batch), 1, 1_048_576),
    Whole::row("publish-every", |s| s.publish_every, 1, 1_000_000),
];

/// All real numbers.
pub const REAL: &[Real] = &[
    Real::from("log-interval", |s| s.log_interval, 0.05, 3600.0),
    Real::above("checkpoint-interval", |s| s.checkpoint_interval, 0.0, 1e9).or_inf(),
    Real::from("env-timeout", |s| s.env_timeout, 0.1, 1e6),
    Real::from("actor-hang-timeout", |s| s.actor_hang_timeout, 1.0, 1e9).or_inf(),
    Real::from("actor-start-timeout", |s| s.actor_start_timeout, 1.0, 1e9).or_inf(),
    Real::from("learner-hang-timeout", |s| s.learner_hang_timeout, 1.0, 1e9).or_inf(),
    Real::from("stop-at-return", |s| farthest(s.stop_at_return.as_deref()), -1e9, 1e9).or_inf(),
    Real::above("time-limit", |s| s.time_limit, 0.0, 1e9).or_inf(),
    Real::from("discount", |s| s.discount, 0.0, 1.0),
    Real::from("entropy-cost", |s| s.entropy_cost, 0.0, 1000.0),
    Real::from("baseline-cost", |s| s.baseline_cost, 0.0, 1000.0),
    Real::above("rho-bar", |s| s.rho_bar, 0.0, 1e6).or_inf(),
    Real::from("c-bar", |s| s.c_bar, 0.0, 1e6).or_inf(),
    Real::above("pg-rho-bar", |s| s.pg_rho_bar, 0.0, 1e6).or_inf(),
    Real::from("lambda", |s| s.lambda, 0.0, 1.0),
    Real::above("reward-scale", |s| s.reward_scale, 0.0, 1e6),
    Real::above("observation-clip", |s| s.observation_clip, 0.0, 1e6),
    Real::above("clip-range", |s| s.clip_range, 0.0, 1e6).or_inf(),
    Real::from("kl-cost", |s| s.kl_cost, 0.0, 1e6),
    Real::above("kl-target", |s| s.kl_target, 0.0, 1e6).or_inf(),
    Real::above("stop-passes-at-kl", |s| s.stop_passes_at_kl, 0.0, 1e6).or_inf(),
    Real::above("learning-rate", |s| s.learning_rate, 0.0, 10.0),
    // Above these, 1 - beta is lost in single precision and Adam's bias correction divides by 0.
    Real::from("adam-beta1", |s| s.adam_beta1, 0.0, 0.999_999),
    Real::from("adam-beta2", |s| s.adam_beta2, 0.0, 0.999_999),
    Real::from("optimizer-epsilon", |s| s.optimizer_epsilon, 1e-12, 1.0),
    Real::from("rmsprop-decay", |s| s.rmsprop_decay, 0.0, 0.999_999),
    Real::from("rmsprop-momentum", |s| s.rmsprop_momentum, 0.0, 0.999_999),
    Real::above("max-grad-norm", |s| s.max_grad_norm, 0.0, 1e9).or_inf(),
    Real::above("worker-max-grad-norm", |s| s.worker_max_grad_norm, 0.0, 1e9).or_inf(),
    Real::from("replay-fraction", |s| s.replay_fraction, 0.0, 0.99),
];

/// Most fully connected layers, and most convolutions.
pub(crate) const MAX_LAYERS: usize = 16;
/// Most units of a layer.
pub(crate) const MAX_WIDTH: usize = 65_536;

/// Holds every number of `settings` against its range.
pub(super) fn check(settings: &Settings) -> Result<(), ConfigError> {
    for row in WHOLE {
        if let Some(number) = (row.get)(settings).filter(|n| !(row.low..=row.high).contains(n)) {
            return Err(out_of_range(row.key, number, row));
        }
    }
    for row in REAL {
        if let Some(number) = (row.get)(settings).filter(|&n| !row.contains(n)) {
            return Err(out_of_range(row.key, number, row));
        }
    }
    let hidden = settings.hidden.as_deref().unwrap_or_default();
    let bad_width = hidden.iter().find(|&&width| !(1..=MAX_WIDTH).contains(&width));
    if let Some(width) = bad_width {
        return Err(out_of_range("hidden", width, format!("from 1 to {MAX_WIDTH} for each layer")));
    }
    let convs = settings.conv.as_deref().unwrap_or_default();
    let bad_conv =
        convs.iter().find(|conv| conv.filters == 0 || conv.kernel == 0 || conv.stride == 0);
    if let Some(conv) = bad_conv {
        return Err(out_of_range("conv", conv, "from 1 for each of filters, kernel and stride"));
    }
    let layers = [
        ("hidden", settings.hidden.as_ref().map(Vec::len)),
        ("conv", settings.conv.as_ref().map(Vec::len)),
    ];
    for (key, layers) in layers {
        if let Some(layers) = layers.filter(|layers| !(1..=MAX_LAYERS).contains(layers)) {
            let count = format!("with {layers} layers");
            return Err(out_of_range(key, count, format!("of layers from 1 to {MAX_LAYERS}")));
        }
    }
    Ok(())
}

fn out_of_range(
    key: &'static str,
    value: impl fmt::Display,
    range: impl fmt::Display,
) -> ConfigError {
    ConfigError::OutOfRange { key, value: value.to_string(), range: range.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{defaults, render};

    #[test]
    fn every_number_has_a_range() {
        let full = defaults::built_in()
            .or(defaults::find(defaults::OPTIMIZERS, "adam").expect("adam"))
            .or(defaults::find(defaults::OPTIMIZERS, "rmsprop-tf").expect("rmsprop-tf"))
            .or(Settings {
                frame_stack: Some(4),
                pad_observations: Some(6),
                micro_batch: Some(8),
                blocks: Some(4),
                lag: Some(1),
                gradients_per_update: Some(2),
                inference_batch: Some(4),
                inference_wait_us: Some(100),
                learner_threads: Some(2),
                stop_at_return: Some(vec![475.0]),
                time_limit: Some(60.0),
                ..Settings::default()
            });
        for (key, value) in render::values(&full) {
            if value.parse::<f64>().is_ok() && key != "hidden" {
                let rows = WHOLE.iter().map(|row| row.key).chain(REAL.iter().map(|row| row.key));
                assert_eq!(rows.filter(|&row| row == key).count(), 1, "{key}");
            }
        }
        // A getter that reads another row's field would show as a value missing here.
        let none = Settings::default();
        assert!(WHOLE.iter().all(|row| (row.get)(&full).is_some() && (row.get)(&none).is_none()));
        assert!(REAL.iter().all(|row| (row.get)(&full).is_some() && (row.get)(&none).is_none()));
    }

    #[test]
    fn each_row_reads_its_own_field() {
        for key in WHOLE.iter().map(|row| row.key).chain(REAL.iter().map(|row| row.key)) {
            let text = format!("{key} = 1");
            let settings = super::super::file::parse(&text, "x".as_ref()).expect("a number");
            let whole =
                WHOLE.iter().filter(|row| (row.get)(&settings).is_some()).map(|row| row.key);
            let real = REAL.iter().filter(|row| (row.get)(&settings).is_some()).map(|row| row.key);
            assert_eq!(whole.chain(real).collect::<Vec<_>>(), [key]);
        }
    }

    #[test]
    fn bounds_hold() {
        let row = |key| REAL.iter().find(|row| row.key == key).expect("a row");
        assert!(row("learning-rate").contains(1e-6) && row("learning-rate").contains(10.0));
        for bad in [0.0, -1.0, 10.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!row("learning-rate").contains(bad), "{bad}");
        }
        assert!(row("rho-bar").contains(f64::INFINITY) && !row("rho-bar").contains(f64::NAN));
        assert!(!row("rho-bar").contains(0.0) && row("c-bar").contains(0.0));
        assert_eq!(row("rho-bar").to_string(), "above 0, at most 1000000, or inf");
        assert_eq!(WHOLE[3].to_string(), "from 1 to 65536");
    }
}
