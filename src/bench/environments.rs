//! Environments alone: in the pool, with a policy that picks at random and a learner that looks at nothing,
//! beside the same environments in a loop of a Python program.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::error::BenchError;
use super::product::Product;
use super::stats::Spread;
use crate::actor::{ActorLoop, ActorParts, EnvRemedy};
use crate::env::SharedMemory;
use crate::gym;
use crate::metrics::Actor;
use crate::params::{ParamPublisher, ParamReader};
use crate::policy::act::UniformPolicy;
use crate::pool::{MemoryPlan, PoolMemory, action_sampler, all_words};
use crate::ring::{Consumer, Owner, Producer, Slab, TakeError};
use crate::rng::Rng;
use crate::shm::{Access, Inherit};

const BARE: &str = include_str!("bare.py");
/// How long the consumer sleeps before it looks at the clock.
const NAP: Duration = Duration::from_millis(20);

/// Steps per second of all environments together.
#[derive(Debug, Clone, Copy)]
pub(super) struct EnvSample {
    pooled: f64,
    bare: Option<f64>,
}

/// Of all repeats.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct EnvReport {
    pooled_steps_per_s: Spread,
    bare_steps_per_s: Option<Spread>,
    ratio: Option<Spread>,
}

impl EnvSample {
    /// One after the other, so that both have the machine to themselves.
    pub(super) fn measure(product: &Product, seconds: f64) -> Result<Self, BenchError> {
        let bare = product.config.env.id.starts_with(gym::PREFIX);
        Ok(Self {
            bare: if bare { Some(bare_loops(product, seconds)?) } else { None },
            pooled: pooled(product, seconds)?,
        })
    }
}

impl EnvReport {
    pub(super) fn of(samples: &[EnvSample]) -> Self {
        let both: Vec<_> = samples.iter().filter_map(|s| Some((s.pooled, s.bare?))).collect();
        let some = |figure: fn(&(f64, f64)) -> f64| {
            (!both.is_empty()).then(|| Spread::over(&both, figure))
        };
        Self {
            pooled_steps_per_s: Spread::over(samples, |sample| sample.pooled),
            bare_steps_per_s: some(|&(_, bare)| bare),
            ratio: some(|&(pooled, bare)| pooled / bare),
        }
    }
}

impl fmt::Display for EnvReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  in the pool       {} steps/s", self.pooled_steps_per_s)?;
        if let (Some(bare), Some(ratio)) = (self.bare_steps_per_s, self.ratio) {
            writeln!(f, "  bare Python loop  {bare} steps/s")?;
            writeln!(f, "  ratio             {ratio}")?;
        }
        Ok(())
    }
}

/// Actors that act at random, one thread each, into a ring whose blocks are released unread.
fn pooled(product: &Product, seconds: f64) -> Result<f64, BenchError> {
    let plan = MemoryPlan::new(&product.config, product.parameters.len());
    let memory = PoolMemory::create(plan)?;
    memory.lay_out_page(&product.parameters)?;
    let page = memory.parameters.map(Access::ReadWrite, Inherit::No)?;
    let (len, fingerprint) = (product.parameters.len(), product.parameters.fingerprint());
    let mut publisher = ParamPublisher::new(all_words(&page), len, fingerprint)?;
    publisher.publish(1, &product.weights())?;
    let mut payload = memory.payload.map(Access::ReadOnly, Inherit::No)?;
    let layout = &product.config.pool.layout;
    let mut consumer = Consumer::new(Slab::new(memory.ring()?, &mut payload, layout)?);
    let actors = product.config.pool.actors;
    let acted = || -> Vec<u64> {
        (0..actors).map(|index| memory.actor(index).get(Actor::FramesActed)).collect()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..actors)
            .map(|index| {
                let memory = &memory;
                scope.spawn(move || act(product, memory, index))
            })
            .collect();
        let mut timed: Option<(Instant, u64)> = None;
        let mut rate = 0.0;
        while rate == 0.0 && !threads.iter().any(std::thread::ScopedJoinHandle::is_finished) {
            match consumer.take(NAP) {
                Ok(block) => drop(block),
                Err(TakeError::TimedOut) => {}
                Err(error) => {
                    memory.ring()?.close();
                    return Err(error.into());
                }
            }
            let frames = acted();
            match timed {
                // Python starts slowly: the clock starts when everybody is at work.
                None if frames.iter().all(|&frames| frames > 0) => {
                    timed = Some((Instant::now(), frames.iter().sum()));
                }
                Some((started, before)) if started.elapsed().as_secs_f64() >= seconds => {
                    let frames: u64 = frames.iter().sum();
                    rate = (frames - before) as f64 / started.elapsed().as_secs_f64();
                }
                _ => {}
            }
        }
        memory.ring()?.close();
        for thread in threads {
            thread.join().map_err(|_| BenchError::Thread)??;
        }
        Ok(rate)
    })
}

fn act(product: &Product, memory: &PoolMemory, index: usize) -> Result<(), BenchError> {
    let config = &product.config;
    let actor = u16::try_from(index).unwrap_or(u16::MAX);
    let mut payload = memory.payload.map(Access::ReadWrite, Inherit::No)?;
    let page = memory.parameters.map(Access::ReadOnly, Inherit::No)?;
    let seed = Rng::new(config.run.seed, index as u64).next_u64();
    let registry = gym::registry();
    let mut env =
        registry.make(&config.env.id, &config.env.options, config.pool.envs_per_actor, seed)?;
    let (address, len_bytes) = (payload.address(), payload.len_bytes());
    env.attach(&SharedMemory { file: memory.payload.as_fd(), address, len_bytes })?;
    let slab = Slab::new(memory.ring()?, &mut payload, &config.pool.layout)?;
    let (len, fingerprint) = (product.parameters.len(), product.parameters.fingerprint());
    let owner = Owner::new(actor, 1)?;
    let mut acting = ActorLoop::new(ActorParts {
        producer: Producer::new(slab, owner)?,
        reader: ParamReader::new(all_words(&page), len, fingerprint)?,
        counters: memory.actor(index),
        env,
        remedy: EnvRemedy::Fail,
        on_failure: Box::new(|_| {}),
        policy: Box::new(UniformPolicy),
        sampler: action_sampler(config, Rng::new(config.run.seed, index as u64)),
        owner,
        unroll: config.pool.unroll,
        parameter_count: len,
    })?;
    Ok(acting.run()?)
}

/// As many Python programs as there are actors, at the same time.
fn bare_loops(product: &Product, seconds: f64) -> Result<f64, BenchError> {
    let env = &product.config.env;
    let name = env.id.strip_prefix(gym::PREFIX).unwrap_or(&env.id);
    let python = gym::python_of(&env.options.hosting);
    let options: serde_json::Map<String, serde_json::Value> = env
        .options
        .iter()
        .map(|(key, value)| {
            let typed = serde_json::from_str(&value.to_lowercase());
            (key.to_owned(), typed.unwrap_or_else(|_| value.into()))
        })
        .collect();
    let options = serde_json::Value::Object(options).to_string();
    let envs = product.config.pool.envs_per_actor.to_string();
    let seconds = seconds.to_string();
    let failed = |problem: String| BenchError::Flags(format!("the bare Python loop: {problem}"));
    let start = || {
        let mut command = Command::new(&python);
        command.args(["-c", BARE, name, &envs, &seconds, &options]);
        for threads in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
            command.env(threads, "1");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map_err(|error| failed(error.to_string()))
    };
    let mut programs =
        (0..product.config.pool.actors).map(|_| start()).collect::<Result<Vec<Child>, _>>()?;
    let mut answers: Vec<_> =
        programs.iter_mut().filter_map(|child| child.stdout.take().map(BufReader::new)).collect();
    let mut line = String::new();
    for answer in &mut answers {
        let _checked_below = answer.read_line(&mut line);
    }
    for child in &mut programs {
        if let Some(input) = &mut child.stdin {
            let _shows_in_the_answer = input.write_all(b"go\n");
        }
    }
    let mut sum = 0.0;
    for answer in &mut answers {
        line.clear();
        let _checked_below = answer.read_line(&mut line);
        let rate: f64 = line
            .trim()
            .parse()
            .map_err(|_| failed(format!("{} does not step it", python.display())))?;
        sum += rate;
    }
    for child in &mut programs {
        let _ended = child.wait();
    }
    Ok(sum)
}
