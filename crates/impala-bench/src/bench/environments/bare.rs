//! Measures environments in a plain loop of a Python program, to compare actors with.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use crate::bench::error::BenchError;
use crate::bench::setup::Setup;
use impala_rl::gym;

const BARE: &str = include_str!("bare.py");
/// As long as the command that an actor sends to its worker.
const MESSAGE_BYTES: usize = 48;
const STEP: [u8; MESSAGE_BYTES] = message("step");

const fn message(text: &str) -> [u8; MESSAGE_BYTES] {
    let (mut bytes, text) = ([b' '; MESSAGE_BYTES], text.as_bytes());
    let mut at = 0;
    while at < text.len() {
        bytes[at] = text[at];
        at += 1;
    }
    bytes
}

/// As many Python programs as there are actors. They end when this is dropped.
pub(super) struct BareLoops {
    python: String,
    programs: Vec<(Child, BufReader<ChildStdout>)>,
}

impl BareLoops {
    /// They stand still when this returns.
    pub(super) fn start(setup: &Setup) -> Result<Self, BenchError> {
        let env = &setup.config.env.tasks[0];
        let (source, name) =
            gym::Source::of(&env.id).unwrap_or((gym::Source::Gymnasium, env.id.as_str()));
        let python = gym::python_of(&env.options.external);
        let options: serde_json::Map<String, serde_json::Value> = env
            .options
            .iter()
            .map(|(key, value)| {
                let typed = serde_json::from_str(&value.to_lowercase());
                (key.to_owned(), typed.unwrap_or_else(|_| value.into()))
            })
            .collect();
        let options = serde_json::Value::Object(options).to_string();
        let envs = setup.config.pool.envs_per_group().to_string();
        let mut loops = Self { python: python.display().to_string(), programs: Vec::new() };
        for _ in 0..setup.config.pool.actors {
            let mut command = Command::new(&python);
            command.args(["-c", BARE, source.name(), name, &envs, &options]);
            gym::one_thread_each(&mut command);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn().map_err(|error| loops.failed(&error.to_string()))?;
            if let Some(answers) = child.stdout.take() {
                loops.programs.push((child, BufReader::new(answers)));
            }
        }
        for index in 0..loops.programs.len() {
            loops.answer(index)?;
        }
        Ok(loops)
    }

    /// Lets all of them step for `seconds`, at the same time.
    pub(super) fn steps_per_s(&mut self, seconds: f64) -> Result<f64, BenchError> {
        for (child, _) in &mut self.programs {
            if let Some(input) = &mut child.stdin {
                let _shows_in_the_answer = input.write_all(&message(&format!("{seconds:.6}")));
            }
        }
        let mut sum = 0.0;
        for index in 0..self.programs.len() {
            let answer = self.answer(index)?;
            sum += answer.parse::<f64>().map_err(|error| self.failed(&error.to_string()))?;
        }
        Ok(sum)
    }

    /// The same for steps that are asked for one by one, through pipes and by a thread that does nothing else: as fast as two
    /// processes for acting and stepping can be.
    pub(super) fn asked_steps_per_s(
        &mut self,
        seconds: f64,
        envs: usize,
    ) -> Result<f64, BenchError> {
        let ask_for = |(child, answers): &mut (Child, BufReader<ChildStdout>)| {
            let input = child.stdin.as_mut()?;
            let (started, mut steps, mut done) = (Instant::now(), 0_u32, [0; 4]);
            while started.elapsed().as_secs_f64() < seconds {
                input.write_all(&STEP).ok()?;
                answers.read_exact(&mut done).ok()?;
                steps += 1;
            }
            Some(f64::from(steps) * envs as f64 / started.elapsed().as_secs_f64())
        };
        let rates: Vec<Option<f64>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                self.programs.iter_mut().map(|program| scope.spawn(|| ask_for(program))).collect();
            threads.into_iter().map(|thread| thread.join().ok().flatten()).collect()
        });
        let sum: Option<f64> = rates.into_iter().sum();
        sum.ok_or_else(|| self.failed("it does not step it"))
    }

    fn answer(&mut self, index: usize) -> Result<String, BenchError> {
        let mut line = String::new();
        match self.programs[index].1.read_line(&mut line) {
            Ok(length) if length > 0 => Ok(line.trim().to_owned()),
            _ => Err(self.failed("it does not step it")),
        }
    }

    fn failed(&self, problem: &str) -> BenchError {
        BenchError::Flags(format!("the bare Python loop in {}: {problem}", self.python))
    }
}

impl Drop for BareLoops {
    fn drop(&mut self) {
        for (child, _) in &mut self.programs {
            let _ended_is_fine = child.kill();
            let _reaped = child.wait();
        }
    }
}
