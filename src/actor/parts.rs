//! What an actor works with: its environments, what acts in them, and where it writes.

use super::ActorError;
use super::recorder::Recorder;
use super::remedy::EnvRemedy;
use crate::env::VectorEnv;
use crate::metrics::ActorCounters;
use crate::params::ParamReader;
use crate::policy::act::Policy;
use crate::policy::sampler::ActionSampler;
use crate::ring::{OwnGroups, Owner};
use crate::unroll::Producer;

/// E environments that fill one group of columns, and what acts in them.
pub struct EnvGroup<'m> {
    /// The environments.
    pub env: Box<dyn VectorEnv>,
    /// What is done when they fail.
    pub remedy: EnvRemedy<'m>,
    /// The policy, with whatever it remembers of their episodes.
    pub policy: Box<dyn Policy + 'm>,
    /// Chooses their actions.
    pub sampler: ActionSampler,
    /// Number of their stream of experience: unrolls of one stream follow each other.
    pub stream: u32,
    /// Number of the task that they are of.
    pub task: u32,
}

impl std::fmt::Debug for EnvGroup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvGroup").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// A part of an actor's environments that fills slots of its own. Of several, one steps while the actor acts in another.
#[derive(Debug)]
pub struct Split<'m> {
    /// Its end of the ring.
    pub producer: Producer<'m>,
    /// The groups of every block that are its own, where blocks are filled in turn; `None`: it fills whatever is free.
    pub own_groups: Option<OwnGroups>,
    /// Its environments: groups that it acts with in turn, or where blocks are filled in turn one for each of `own_groups`.
    pub groups: Vec<EnvGroup<'m>>,
}

/// All that an actor works with.
pub struct ActorParts<'m> {
    /// Its environments; one split unless they are to step while it acts.
    pub splits: Vec<Split<'m>>,
    /// Makes gradients of its unrolls, where these are what travels. Of one split alone.
    pub recorder: Option<Recorder<'m>>,
    /// Its view of the parameter page; `None` if its policies have their weights from elsewhere.
    pub reader: Option<ParamReader<'m>>,
    /// Its counters.
    pub counters: ActorCounters<'m>,
    /// Is told of each failure that a remedy is tried on.
    pub on_failure: Box<dyn FnMut(&ActorError) + 'm>,
    /// Who it is.
    pub owner: Owner,
    /// T.
    pub unroll: usize,
    /// Length of the flat parameter vector.
    pub parameter_count: usize,
}

impl std::fmt::Debug for ActorParts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActorParts")
            .field("owner", &self.owner)
            .field("unroll", &self.unroll)
            .finish_non_exhaustive()
    }
}
