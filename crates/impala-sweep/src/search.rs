//! Makes the combinations of values to try: a grid, random draws, or both.

use impala_rl::config::Settings;
use impala_rl::rng::Rng;
use serde::Deserialize as _;
use toml::Value;

/// Significant digits after the first of a number that is drawn: enough for any search, and short to copy.
const DIGITS: usize = 3;

/// Values for some settings.
pub(crate) type Combination = Vec<(String, Value)>;

/// What is to be tried.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Search {
    /// Settings with all their values.
    pub(crate) grid: Vec<(String, Vec<Value>)>,
    pub(crate) random: Option<Random>,
}

/// Values that are drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Random {
    pub(crate) trials: usize,
    pub(crate) seed: u64,
    pub(crate) draws: Vec<(String, Draw)>,
}

/// How one value is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Draw {
    /// A real number between two; with `log` each power of ten is as likely as any other.
    Real { low: f64, high: f64, log: bool },
    /// A whole number between two, both included.
    Whole { low: i64, high: i64, log: bool },
    /// One of these.
    Choice(Vec<Value>),
}

impl Search {
    /// Names of the settings that vary.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let drawn = self.random.iter().flat_map(|random| &random.draws);
        let grid = self.grid.iter().map(|(key, _)| key.as_str());
        grid.chain(drawn.map(|(key, _)| key.as_str()))
    }

    /// How many combinations there are, those that are drawn twice included.
    pub(crate) fn len(&self) -> usize {
        let grid = self.grid.iter().map(|(_, values)| values.len());
        let drawn = self.random.as_ref().map_or(1, |random| random.trials);
        grid.fold(drawn, usize::saturating_mul)
    }

    /// All combinations of the grid, for each of those that are drawn. What is drawn twice is there once.
    pub(crate) fn combinations(&self) -> Vec<Combination> {
        let drawn = self.random.as_ref().map_or_else(|| vec![Vec::new()], Random::drawn);
        let mut all: Vec<Combination> = Vec::new();
        for draw in drawn {
            for mut point in product(&self.grid) {
                point.extend(draw.iter().cloned());
                if !all.contains(&point) {
                    all.push(point);
                }
            }
        }
        all
    }
}

/// All combinations; the last setting changes fastest.
fn product(grid: &[(String, Vec<Value>)]) -> Vec<Combination> {
    grid.iter().fold(vec![Vec::new()], |points, (key, values)| {
        let with = |point: Combination| {
            values.iter().map(move |value| {
                let mut point = point.clone();
                point.push((key.clone(), value.clone()));
                point
            })
        };
        points.into_iter().flat_map(with).collect()
    })
}

impl Random {
    /// A function of the seed; more trials leave the first ones as they are.
    fn drawn(&self) -> Vec<Combination> {
        let mut rng = Rng::new(self.seed, 0);
        let draw = |rng: &mut Rng| {
            self.draws.iter().map(|(key, draw)| (key.clone(), draw.next(rng))).collect()
        };
        (0..self.trials).map(|_| draw(&mut rng)).collect()
    }
}

impl Draw {
    fn next(&self, rng: &mut Rng) -> Value {
        let between = |rng: &mut Rng, low: f64, high: f64, log: bool| {
            if log {
                rng.uniform_f64(low.ln(), high.ln()).exp()
            } else {
                rng.uniform_f64(low, high)
            }
        };
        match *self {
            Self::Real { low, high, log } => {
                let exact = between(rng, low, high, log);
                let short = format!("{exact:.DIGITS$e}").parse().unwrap_or(exact);
                Value::Float(short.clamp(low, high))
            }
            Self::Whole { low, high, log } => {
                // Each whole number has the stretch up to the next one.
                let real = between(rng, low as f64, high as f64 + 1.0, log);
                Value::Integer((real.floor() as i64).clamp(low, high))
            }
            Self::Choice(ref values) => values[rng.below(values.len())].clone(),
        }
    }
}

/// The settings that have these values.
///
/// # Errors
/// What serde says of the first value that does not fit its setting, on one line.
pub(crate) fn settings(values: &[(String, Value)]) -> Result<Settings, String> {
    let mut all = Settings::default();
    for (key, value) in values {
        let single = toml::Table::from_iter([(key.clone(), value.clone())]);
        let one = Settings::deserialize(single).map_err(|error| {
            let lines = error.message().lines().map(str::trim).filter(|line| !line.is_empty());
            format!("{key}: {}", lines.collect::<Vec<_>>().join(", "))
        })?;
        all = one.or(all);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Vec<(String, Vec<Value>)> {
        vec![
            ("actors".to_owned(), vec![Value::Integer(1), Value::Integer(2)]),
            ("optimizer".to_owned(), ["adam", "rmsprop-tf"].map(Value::from).to_vec()),
        ]
    }

    fn random(seed: u64, trials: usize) -> Random {
        let draws = vec![
            ("learning-rate".to_owned(), Draw::Real { low: 1e-4, high: 1e-2, log: true }),
            ("unroll".to_owned(), Draw::Whole { low: 4, high: 64, log: true }),
            ("batch".to_owned(), Draw::Choice(vec![Value::Integer(8), Value::Integer(16)])),
        ];
        Random { trials, seed, draws }
    }

    #[test]
    fn a_grid_is_every_combination_once() {
        let search = Search { grid: grid(), random: None };
        let found = search.combinations();
        let text: Vec<String> = found
            .iter()
            .map(|point| point.iter().map(|(key, value)| format!("{key}={value} ")).collect())
            .collect();
        assert_eq!(
            text,
            [
                "actors=1 optimizer=\"adam\" ",
                "actors=1 optimizer=\"rmsprop-tf\" ",
                "actors=2 optimizer=\"adam\" ",
                "actors=2 optimizer=\"rmsprop-tf\" ",
            ]
        );
        assert_eq!(search.len(), 4);
        assert_eq!(search.keys().collect::<Vec<_>>(), ["actors", "optimizer"]);
    }

    #[test]
    fn what_is_drawn_is_a_function_of_the_seed() {
        let drawn = |seed, trials| random(seed, trials).drawn();
        assert_eq!(drawn(3, 20), drawn(3, 20));
        assert_ne!(drawn(3, 20), drawn(4, 20));
        assert_eq!(drawn(3, 20)[..10], drawn(3, 10)[..], "more trials keep the first ones");
    }

    #[test]
    fn what_is_drawn_lies_between_its_bounds_and_spreads() {
        let (mut small, mut wholes, mut choices) = (0, Vec::new(), Vec::new());
        for point in random(1, 400).drawn() {
            let [(_, rate), (_, unroll), (_, batch)] = &point[..] else { panic!("three") };
            let rate = rate.as_float().expect("real");
            assert!((1e-4..=1e-2).contains(&rate));
            assert!(format!("{rate:e}").len() <= "1.234e-4".len(), "{rate:e}");
            small += usize::from(rate < 1e-3);
            wholes.push(unroll.as_integer().expect("whole"));
            choices.push(batch.as_integer().expect("whole"));
        }
        assert!((150..250).contains(&small), "half of two decades: {small}");
        assert!(wholes.iter().all(|whole| (4..=64).contains(whole)));
        assert!(wholes.contains(&4) && wholes.iter().any(|&whole| whole > 50));
        assert!(choices.contains(&8) && choices.contains(&16));
        let Value::Integer(only) =
            Draw::Whole { low: 7, high: 7, log: false }.next(&mut Rng::new(1, 0))
        else {
            panic!("whole")
        };
        assert_eq!(only, 7);
    }

    #[test]
    fn grid_and_draws_combine_and_repeats_are_left_out() {
        let few = Random { draws: random(1, 0).draws[2..].to_vec(), ..random(1, 50) };
        let search = Search { grid: grid(), random: Some(few) };
        assert_eq!(search.len(), 200);
        assert_eq!(search.combinations().len(), 8, "four of the grid, two batches");
    }

    #[test]
    fn values_must_fit_their_settings() {
        let point = |value: Value| settings(&[("actors".to_owned(), value)]);
        assert_eq!(point(Value::Integer(3)).expect("fits").actors, Some(3));
        let error = point(Value::from("many")).expect_err("no number");
        assert!(error.starts_with("actors: ") && error.contains("many"), "{error}");
    }
}
