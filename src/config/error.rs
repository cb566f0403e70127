//! Errors of a configuration. Every message is one line that ends in a remedy.

use std::path::PathBuf;

use crate::env::EnvError;
use crate::env::tasks::TaskError;
use crate::hint::with_hint;
use crate::unroll::LayoutError;

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file of settings cannot be read.
    #[error("cannot read {path:?}: {reason}; check the path")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{path:?}, line {line}:{column}: {problem}; write lines such as `actors = 4`")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What the parser met.
        problem: String,
    },
    /// The file sets something that does not exist.
    #[error("{path:?}, line {line}: unknown key {key:?}{}", suggestion(.nearest))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The name most like it.
        nearest: Option<String>,
    },
    /// The file has tables.
    #[error(
        "{path:?}, line {line}: {key:?} is a table, but settings are flat: write its keys at the top of the file"
    )]
    Table {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Name of the table.
        key: String,
    },
    /// A value in the file is of the wrong type, or none of those possible.
    #[error("{path:?}, line {line}: {key}: {problem}")]
    WrongValue {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// What is there, and what was expected.
        problem: String,
    },
    /// A number outside its range.
    #[error("--{key} {value} is out of range, give a number {range}")]
    OutOfRange {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed, and sometimes why.
        range: String,
    },
    /// A word that names nothing.
    #[error("--{key} {value:?} is unknown, use {}", .known.join(" or "))]
    UnknownName {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// A name or an option with a line break or the like in it.
    #[error("--{key} {value:?} holds control characters, leave them out")]
    ControlCharacter {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// No task, or far too many.
    #[error("{tasks} environments to learn: name one to {most} with --env")]
    TaskCount {
        /// How many were named.
        tasks: usize,
        /// The limit.
        most: usize,
    },
    /// Tasks that one network cannot learn.
    #[error("{}", with_hint(.0))]
    Tasks(#[from] TaskError),
    /// Values cannot be scaled.
    #[error("--popart does not go together with {with}; {remedy}")]
    PopArt {
        /// What is in its way.
        with: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Neither one target nor one for each task.
    #[error(
        "--stop-at-return: {targets} targets for {tasks} tasks; give one for all, or one for each in the order of --env"
    )]
    Targets {
        /// Targets.
        targets: usize,
        /// Tasks.
        tasks: usize,
    },
    /// A batch in which not every task has a place.
    #[error(
        "a batch has {groups} groups of environments, too few for {tasks} tasks in lockstep; use {remedy}"
    )]
    TaskWithoutGroup {
        /// Groups of a block.
        groups: usize,
        /// Tasks.
        tasks: usize,
        /// What to change.
        remedy: String,
    },
    /// The environment does not exist, or does not take these options.
    #[error("{}", with_hint(.0))]
    Env(#[from] EnvError),
    /// Bounds that cannot be squashed to.
    #[error(
        "--action-bounds squash needs finite bounds, but dimension {dimension} of the actions of {env} goes from {low} to {high}; use --action-bounds clip"
    )]
    Endless {
        /// The environment.
        env: String,
        /// Which of the action's dimensions, from 0.
        dimension: usize,
        /// Its lower bound.
        low: f32,
        /// Its upper bound.
        high: f32,
    },
    /// B is no multiple of E.
    #[error("{source}, or envs-per-actor {divisor}")]
    Group {
        /// What is wrong, with the batch to try.
        source: LayoutError,
        /// The next smaller E that divides B.
        divisor: usize,
    },
    /// These sizes have no layout in memory.
    #[error("{source}; {remedy}")]
    Layout {
        /// What is wrong.
        source: LayoutError,
        /// What to change.
        remedy: &'static str,
    },
    /// The ring has fewer slots than there are actors.
    #[error(
        "--blocks {blocks} makes {slots} slots for {actors} actors, use --blocks {needed} or more, or at most {slots} actors"
    )]
    TooFewBlocks {
        /// K.
        blocks: usize,
        /// K * B / E.
        slots: usize,
        /// Actors.
        actors: usize,
        /// The smallest K that works.
        needed: usize,
    },
    /// A lag where weights of any age act.
    #[error(
        "--lag {lag} holds in lockstep only, add --schedule lockstep or leave it out (--max-lag bounds the lag of --schedule async)"
    )]
    LagWithoutLockstep {
        /// L.
        lag: usize,
    },
    /// Actors that would never have anything to fill.
    #[error(
        "--actors {actors}{} is more than the {groups} groups of a batch, each of which one actor fills in lockstep: use --actors {fewer} or fewer, or {remedy}",
        if *.splits > 1 { format!(" times --splits {splits}") } else { String::new() }
    )]
    IdleActors {
        /// Actors.
        actors: usize,
        /// S.
        splits: usize,
        /// Groups of a block.
        groups: usize,
        /// As many as have something to fill.
        fewer: usize,
        /// What makes the batch have a group for each.
        remedy: String,
    },
    /// A setting that does not go with what travels.
    #[error("{what} does not go with what travels: {why}")]
    Exchange {
        /// The setting.
        what: String,
        /// Why, and what to do.
        why: &'static str,
    },
    /// Environments that cannot be split evenly.
    #[error(
        "--splits {splits} does not divide the {envs} environments of an actor; use --envs-per-actor {more}"
    )]
    Splits {
        /// S.
        splits: usize,
        /// E.
        envs: usize,
        /// The next larger E.
        more: usize,
    },
    /// A setting that does not go with who runs the network for the actors.
    #[error("{what} does not go together with --inference {inference}: {why}")]
    Inference {
        /// The setting.
        what: String,
        /// Who runs it.
        inference: &'static str,
        /// Why, and what to do.
        why: &'static str,
    },
    /// Less is kept than one update draws.
    #[error(
        "--replay-unrolls {unrolls} is fewer than the {needed} that one update draws; use --replay-unrolls {needed} or more, or a smaller --replay-fraction"
    )]
    ReplayTooSmall {
        /// What may be kept.
        unrolls: usize,
        /// What an update draws.
        needed: usize,
    },
    /// Publications that lockstep does not leave out.
    #[error(
        "--publish-every {every} does not go with --schedule lockstep, which publishes once for each batch; leave it out"
    )]
    PublishEveryInLockstep {
        /// Updates.
        every: u64,
    },
    /// Something needs libtorch, which is not in this build.
    #[error(
        "{what} needs libtorch, which this build lacks: {remedy}, or build with the feature `torch`"
    )]
    NoLibtorch {
        /// What needs it.
        what: String,
        /// What to choose instead.
        remedy: &'static str,
    },
    /// The native engine was asked for something that only libtorch does.
    #[error("--engine native cannot run {what}, use --engine libtorch or {remedy}")]
    NotNative {
        /// What it cannot do.
        what: String,
        /// What to choose to stay native.
        remedy: &'static str,
    },
    /// Convolutions on something that is no image.
    #[error("--torso {torso} needs images, but {env} shows {shape:?}; use --torso mlp")]
    NotAnImage {
        /// The torso.
        torso: &'static str,
        /// The environment.
        env: String,
        /// Shape of a frame.
        shape: Vec<usize>,
    },
    /// Observations that have no mean and deviation worth taking.
    #[error(
        "--normalize-observations: the observations of {env} are bytes, or go through convolutions; leave it out"
    )]
    NotNormalizable {
        /// The environment.
        env: String,
    },
    /// A torso that both heads share whatever is asked for.
    #[error(
        "--separate-value is for mlp torsos without a core, leave it out or use --torso mlp --core none"
    )]
    NotSeparable,
    /// A convolution whose kernel is larger than what comes in.
    #[error("{conv} does not fit on the {height}x{width} pixels that reach it, {remedy}")]
    ConvTooLarge {
        /// The convolution, and what it comes from.
        conv: String,
        /// What to change.
        remedy: &'static str,
        /// Rows that it gets.
        height: usize,
        /// Columns that it gets.
        width: usize,
    },
}

fn suggestion(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!(", did you mean {name:?}?"),
        None => ", `--help` lists the settings: keys are the flags without dashes".into(),
    }
}
