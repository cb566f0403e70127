//! Measures the ring as a transport: forked actors that only write, and a forked learner that only reads.
//!
//! It runs in a process of its own, because a supervisor takes its process over for good.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::load::Load;
use super::outcome::{Outcome, Reader, Writers};
use super::rivals::STUCK;
use crate::bench::args::TransportArgs;
use crate::bench::cpu::cpu_time;
use crate::bench::error::BenchError;
use impala_rl::metrics::{ActorCounter, LearnerCounter};
use impala_rl::pool::{MemoryPlan, PoolMemory};
use impala_rl::ring::{ClaimError, CrashRecord, Owner, RingError, RingShape, TakeError};
use impala_rl::shm::{Access, Inherit, Memory, Region};
use impala_rl::supervisor::{
    ChildControl, Dead, ExitKind, Level, Options, Pool, PoolCorrupt, PoolStatus, Reclaimed, Role,
    Supervisor, Verdict,
};
use impala_rl::sync::Ordering;
use impala_rl::unroll::{BlockRef, Consumer, Field, GroupMut, Producer};

/// How long a wait lasts before the loop looks round.
const NAP: Duration = Duration::from_millis(100);
/// Figures of an outcome, in the order of its fields.
const FIGURES: usize = 4;

/// Runs [`print`] in another process and reads what it says.
pub(super) fn measure(load: &Load, args: &TransportArgs) -> Result<Outcome, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::io("find this program"))?;
    let output = Command::new(&program)
        .args(["transport-ring", "--load", &Load::flag(load.name)])
        .args(["--actors", &args.actors.to_string()])
        .args(["--seconds", &args.common.seconds.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(BenchError::io("start the ring's process"))?;
    serde_json::from_slice(&output.stdout).map_err(|_| BenchError::Program {
        program,
        how: format!("transport-ring ended with {}", output.status),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Measures one load and prints the outcome as JSON.
pub(crate) fn print(args: &TransportArgs) -> Result<(), BenchError> {
    let name = args.load.unwrap_or(super::load::LoadName::Cartpole);
    let mut supervisor = Supervisor::new(Options::new(args.actors))?;
    let mut pool = WriteAndRead::new(Load::new(name, args.actors)?, args.common.seconds)?;
    let outcome = supervisor.run(&mut pool);
    if outcome.exit != ExitKind::Finished {
        return Err(BenchError::Program {
            program: "transport-ring".into(),
            how: outcome.exit.to_string(),
            said: outcome.reason,
        });
    }
    let text = serde_json::to_string(&pool.outcome(args.actors))
        .map_err(|source| BenchError::Json { what: "the outcome", source })?;
    writeln!(io::stdout(), "{text}").map_err(BenchError::io("print the outcome"))
}

/// A pool whose children move bytes and do nothing else.
#[derive(Debug)]
struct WriteAndRead {
    load: Load,
    seconds: f64,
    memory: PoolMemory,
    /// Figures of the learner, written when it is done.
    results: Region,
    crashes: CrashRecord,
}

impl WriteAndRead {
    fn new(load: Load, seconds: f64) -> Result<Self, BenchError> {
        let pool = &load.setup.config.pool;
        let memory = PoolMemory::create(MemoryPlan::new(&load.setup.config, 1))?;
        let results = Memory::create("impala-bench-results", FIGURES * size_of::<u64>())?;
        Ok(Self {
            crashes: CrashRecord::new(RingShape {
                blocks: pool.blocks,
                groups: pool.groups_per_block(),
            }),
            results: results.map(Access::ReadWrite, Inherit::Yes)?,
            memory,
            seconds,
            load,
        })
    }

    /// Writes unrolls until the ring is closed.
    fn write(
        &self,
        index: u16,
        incarnation: u16,
        control: &ChildControl,
    ) -> Result<(), BenchError> {
        let mut seat = self.memory.seat(Access::ReadWrite)?;
        let mut producer = Producer::new(seat.slab()?, Owner::new(index, incarnation)?)?;
        let counters = self.memory.actor(usize::from(index));
        control.ready();
        let mut started = None;
        loop {
            match producer.claim(NAP) {
                Ok(mut grant) => {
                    let mut group = GroupMut::new(grant.slot_mut());
                    for (field, row, _) in self.load.rows() {
                        self.load.write(group.row_mut(field, row));
                    }
                    grant.commit()?;
                    match started {
                        // The first unroll is the first touch of its pages.
                        None => started = Some(cpu_time()),
                        Some(started) => {
                            counters.add(ActorCounter::UnrollsCommitted, 1);
                            counters.set(ActorCounter::EnvNs, nanos(cpu_time() - started));
                        }
                    }
                }
                Err(ClaimError::TimedOut | ClaimError::HeldBack) => {}
                Err(ClaimError::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads blocks until the time is up.
    fn read(&self, control: &mut ChildControl) -> Result<(), BenchError> {
        let mut seat = self.memory.seat(Access::ReadOnly)?;
        let mut consumer = Consumer::new(seat.slab()?);
        let counters = self.memory.learner();
        control.ready();
        let mut reader = Reader::new(&self.load, self.seconds);
        let mut last = Instant::now();
        while last.elapsed() < STUCK {
            let asked = Instant::now();
            // A block that is there is taken at once, which is part of batching; a wait is not.
            let (block, waited) = match consumer.try_take()? {
                Some(block) => (block, Duration::ZERO),
                None => match consumer.take(NAP) {
                    Ok(block) => (block, asked.elapsed()),
                    Err(TakeError::TimedOut) => continue,
                    Err(TakeError::Closed) => return Ok(()),
                    Err(error) => return Err(error.into()),
                },
            };
            let view = BlockRef::new(block.block());
            let fields = Field::ALL.map(|field| view.field::<u8>(field));
            let batching = asked.elapsed().saturating_sub(waited);
            let done = reader.read(fields, batching)?;
            block.release()?;
            counters.add(LearnerCounter::Blocks, 1);
            last = Instant::now();
            if done {
                break;
            }
        }
        let outcome = reader.outcome(Writers::default());
        for (word, figure) in self.results.words(0, FIGURES).iter().zip([
            outcome.blocks_per_s,
            outcome.bytes_per_s,
            outcome.batching_ns,
            outcome.reader_bytes_per_cpu_s,
        ]) {
            word.store(figure.to_bits(), Ordering::Relaxed);
        }
        control.finished("all time used");
        Ok(())
    }

    /// What the children left.
    fn outcome(&self, actors: u16) -> Outcome {
        let words = self.results.words(0, FIGURES);
        let figure = |index: usize| f64::from_bits(words[index].load(Ordering::Relaxed));
        let counters = (0..usize::from(actors)).map(|index| self.memory.actor(index));
        let (unrolls, cpu_ns) = counters.fold((0, 0), |(unrolls, ns), actor| {
            (
                unrolls + actor.get(ActorCounter::UnrollsCommitted),
                ns + actor.get(ActorCounter::EnvNs),
            )
        });
        let bytes = unrolls as f64 * self.load.unroll_bytes() as f64;
        Outcome {
            blocks_per_s: figure(0),
            bytes_per_s: figure(1),
            batching_ns: figure(2),
            reader_bytes_per_cpu_s: figure(3),
            writer_bytes_per_cpu_s: bytes / (cpu_ns.max(1) as f64 * 1e-9),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn corrupt(error: RingError) -> PoolCorrupt {
    PoolCorrupt { what: error.to_string() }
}

impl Pool for WriteAndRead {
    fn run_child(&mut self, role: Role, incarnation: u16, mut control: ChildControl) -> ExitKind {
        let played = match role {
            Role::Learner => self.read(&mut control),
            Role::Actor(index) => self.write(index, incarnation, &control),
            Role::Policy => Ok(()),
        };
        match played {
            Ok(()) => ExitKind::Finished,
            Err(error) => {
                control.failed(&error.to_string(), true);
                ExitKind::Corrupt
            }
        }
    }

    fn request_stop(&mut self) {
        if let Ok(ring) = self.memory.ring() {
            ring.close();
        }
    }

    fn reclaim(&mut self, dead: &Dead) -> Result<Reclaimed, PoolCorrupt> {
        match dead.role() {
            Role::Actor(_) => {
                self.memory.actor_died(dead).map_err(corrupt)?;
            }
            Role::Learner => {
                self.memory.learner_died(dead, &mut self.crashes).map_err(corrupt)?;
            }
            Role::Policy => {}
        }
        Ok(Reclaimed::default())
    }

    fn progress(&self, role: Role) -> u64 {
        match role {
            Role::Learner => self.memory.learner().get(LearnerCounter::Blocks),
            Role::Actor(index) => {
                let counters = self.memory.actor(usize::from(index));
                counters.get(ActorCounter::UnrollsCommitted)
            }
            Role::Policy => 0,
        }
    }

    fn tick(&mut self, status: &PoolStatus) -> Verdict {
        if status.uptime > Duration::from_secs_f64(self.seconds) + 2 * STUCK {
            return Verdict::Stop {
                exit: ExitKind::Internal,
                reason: "the learner never finished".into(),
            };
        }
        Verdict::Continue
    }

    fn log(&mut self, level: Level, line: &str) {
        if matches!(level, Level::Warn | Level::Error) {
            let _closed_is_fine = writeln!(io::stderr(), "{line}");
        }
    }
}
