//! The command line of `impala-play`.

use std::io::{self, IsTerminal as _, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use nix::poll::{PollTimeout, poll};
use serde_json::json;

use super::agent::{Choice, Trained};
use super::draw::draw;
use super::error::PlayError;
use super::evaluate::{Evaluation, evaluate};
use super::output::Output;
use super::show::{Gif, half_blocks};
use crate::env::Registry;
use crate::env::reference::{Reference, mean_scores};
use crate::supervisor::ExitKind;

/// Environments that are stepped together when nobody watches.
const ENVS: usize = 16;

/// Plays episodes with the weights of a checkpoint: how well they do, on a terminal, as a GIF.
#[derive(Debug, clap::Parser)]
#[command(name = "impala-play", version)]
struct PlayArgs {
    /// A run folder (its newest checkpoint), or one checkpoint: runs/NAME/checkpoints/FRAMES
    #[arg(value_name = "RUN_DIR|CHECKPOINT")]
    path: PathBuf,
    /// Episodes to play [default: 100; 1 with --render or --gif]
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    episodes: Option<u32>,
    /// Of a run of several tasks play only this one, by its name or its number from 0 [default: all]
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Take the most likely action
    #[arg(long, conflicts_with = "sampled")]
    greedy: bool,
    /// Draw actions from the policy, as in training [default]
    #[arg(long)]
    sampled: bool,
    /// Seed of environments and actions
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write that object to a file; what was there stays until it is whole
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show the episodes on the terminal
    #[arg(long)]
    render: bool,
    /// Pictures per second on the terminal; 0 for as fast as it goes
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=1000))]
    fps: u32,
    /// Write the episodes to an animated GIF
    #[arg(long, value_name = "FILE")]
    gif: Option<PathBuf>,
}

/// The command line of `impala-play`, for whoever documents or completes it.
#[must_use]
pub fn command() -> clap::Command {
    <PlayArgs as clap::CommandFactory>::command()
}

/// Runs the command line of this process with the environments in `registry`, and gives the exit code.
#[must_use]
pub fn main(registry: &Registry) -> ExitCode {
    let args = match PlayArgs::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _closed_is_fine = error.print();
            let exit = if error.use_stderr() { ExitKind::Usage } else { ExitKind::Finished };
            return exit.into();
        }
    };
    match play(&args, registry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed_is_fine = writeln!(io::stderr(), "impala-play: {error}");
            error.exit().into()
        }
    }
}

fn play(args: &PlayArgs, registry: &Registry) -> Result<(), PlayError> {
    let watched = args.render || args.gif.is_some();
    let episodes = args.episodes.unwrap_or(if watched { 1 } else { 100 }) as usize;
    let choice = if args.greedy { Choice::Greedy } else { Choice::Sampled };
    // A picture shows one environment; fewer episodes than environments leave some idle.
    let envs = if watched { 1 } else { ENVS.min(episodes) };
    // Before anything is played: a place that cannot be written to is better known now.
    let output = args.output.as_deref().map(Output::create).transpose()?;
    let (trained, problems) = Trained::load(&args.path, registry)?;
    for problem in problems {
        let _closed_is_fine =
            writeln!(io::stderr(), "impala-play: {problem}; taking the one before");
    }
    if args.gif.is_some() && args.task.is_none() && trained.tasks().len() > 1 {
        return Err(PlayError::GifOfOneTask);
    }
    let mut gif = None;
    let mut played = Vec::new();
    for task in chosen(&trained, args.task.as_deref())? {
        let mut agent = trained.agent(task, registry, envs, args.seed, choice)?;
        if let (None, Some(path)) = (&gif, &args.gif) {
            gif = Some(Gif::create(path, &draw(agent.spec(), agent.frame()))?);
        }
        let mut first = true;
        let evaluation = evaluate(&mut agent, episodes, |agent| {
            if !args.render && gif.is_none() {
                return Ok(());
            }
            let picture = draw(agent.spec(), agent.frame());
            if let Some(gif) = &mut gif {
                gif.add(&picture)?;
            }
            if args.render {
                on_terminal(&half_blocks(&picture, 2), first, args.fps);
                first = false;
            }
            Ok(())
        })?;
        played.push(Played { env: agent.env_id().to_owned(), evaluation });
    }
    if let Some(gif) = gif {
        gif.finish()?;
    }
    let object = to_json(args, &trained, &played).to_string();
    if let Some(output) = output {
        output.finish(&object)?;
    }
    let text = if args.json { object } else { to_text(args, &trained, &played) };
    let _closed_is_fine = writeln!(io::stdout(), "{text}");
    Ok(())
}

/// What was played of one task.
struct Played {
    env: String,
    evaluation: Evaluation,
}

impl Played {
    fn score(&self) -> Option<f64> {
        Some(Reference::of(&self.env)?.score(self.evaluation.mean))
    }
}

/// The tasks to play: one, or all.
fn chosen(trained: &Trained, task: Option<&str>) -> Result<Range<usize>, PlayError> {
    let Some(asked) = task else { return Ok(0..trained.tasks().len()) };
    let number = asked.parse().ok().filter(|&number| number < trained.tasks().len());
    match trained.tasks().position(|id| id == asked).or(number) {
        Some(task) => Ok(task..task + 1),
        None => {
            let known = trained.tasks().collect::<Vec<_>>().join(", ");
            Err(PlayError::NoTask { task: asked.to_owned(), known })
        }
    }
}

/// Draws over the picture before.
fn on_terminal(text: &str, first: bool, fps: u32) {
    let mut out = io::stdout().lock();
    let again = if first || !io::stdout().is_terminal() {
        String::new()
    } else {
        format!("\x1b[{}A", text.lines().count())
    };
    let _closed_is_fine = write!(out, "{again}{text}").and_then(|()| out.flush());
    if fps > 0 {
        let pause = Duration::from_secs(1) / fps;
        // Early is no harm: it is a picture.
        let _woken = poll(&mut [], PollTimeout::try_from(pause).unwrap_or(PollTimeout::ZERO));
    }
}

const fn choice_name(args: &PlayArgs) -> &'static str {
    if args.greedy { "greedy" } else { "sampled" }
}

/// One object for one task; for several a list of them, and the means of their scores where all have one.
fn to_json(args: &PlayArgs, trained: &Trained, played: &[Played]) -> serde_json::Value {
    if let [one] = played {
        return task_json(args, trained, one);
    }
    let scores = mean_scores(played.iter().map(Played::score));
    json!({
        "score_mean": scores.map(|[mean, _]| mean),
        "score_mean_capped": scores.map(|[_, capped]| capped),
        "tasks": played.iter().map(|one| task_json(args, trained, one)).collect::<Vec<_>>(),
    })
}

fn task_json(args: &PlayArgs, trained: &Trained, played: &Played) -> serde_json::Value {
    let found = &played.evaluation;
    let [quarter, median, three_quarters] = found.quartiles;
    json!({
        "env": played.env,
        "checkpoint": trained.checkpoint(),
        "trained_frames": trained.frames(),
        "actions": choice_name(args),
        "seed": args.seed,
        "episodes": found.returns.len(),
        "return_mean": found.mean,
        "return_std": found.std,
        "return_min": found.min,
        "return_q25": quarter,
        "return_median": median,
        "return_q75": three_quarters,
        "return_max": found.max,
        "length_mean": found.length_mean,
        "score": played.score(),
        "returns": found.returns,
        "lengths": found.lengths,
    })
}

fn to_text(args: &PlayArgs, trained: &Trained, played: &[Played]) -> String {
    let line = |played: &Played| {
        let found = &played.evaluation;
        format!(
            "{}: {} episodes, {} actions, weights after {} frames: return {:.2} +- {:.2} (min {:.2}, median {:.2}, max \
             {:.2}), length {:.1}",
            played.env,
            found.returns.len(),
            choice_name(args),
            trained.frames(),
            found.mean,
            found.std,
            found.min,
            found.quartiles[1],
            found.max,
            found.length_mean
        )
    };
    played.iter().map(line).collect::<Vec<_>>().join("\n")
}
