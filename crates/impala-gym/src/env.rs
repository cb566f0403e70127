//! The environments of one Python worker as a [`VectorEnv`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;

use super::messages::{Command, Region};
use super::worker::Worker;
use impala_env::{
    Actions, EnvError, EnvOptions, EnvSpec, ResetOut, SharedMemory, StepOut, VectorEnv,
    next_step_autoreset,
};
use impala_shm::Memory;

/// Arrays in the scratch memory start on multiples of this.
const ALIGN_BYTES: u64 = 64;

/// E environments in a worker process.
#[derive(Debug)]
pub(super) struct GymEnv {
    id: String,
    options: EnvOptions,
    envs: usize,
    seed: u64,
    spec: EnvSpec,
    notes: Vec<String>,
    worker: Worker,
    ring: Option<Ring>,
    scratch: Scratch,
    /// As the worker wrote it last: who terminated `[E]`, who was truncated `[E]`.
    ends: Vec<u8>,
    /// Whose episode the next step starts.
    over: Vec<bool>,
    /// Whether a step goes on.
    stepping: bool,
}

/// Memory of the ring, as it lies in this process.
#[derive(Debug)]
struct Ring {
    file: OwnedFd,
    address: usize,
    len_bytes: usize,
}

/// A small memory of this worker alone, for slices that are not in the ring. Never mapped here.
#[derive(Debug)]
struct Scratch {
    file: File,
    len_bytes: usize,
    /// Where frames, rewards, ends, masks and actions begin.
    offsets: [u64; 5],
}

/// Which array of a step.
#[derive(Debug, Clone, Copy)]
enum Array {
    Frames = 0,
    Rewards = 1,
    Ends = 2,
    Masks = 3,
    Actions = 4,
}

impl GymEnv {
    pub(super) fn new(
        id: &str,
        options: &EnvOptions,
        envs: usize,
        seed: u64,
    ) -> Result<Self, EnvError> {
        let (worker, spec, notes) = Worker::start(id, options, envs, seed)?;
        let scratch = Scratch::new(&spec, envs).map_err(|reason| EnvError::failed(id, reason))?;
        let mut env = Self {
            id: id.to_owned(),
            options: options.clone(),
            envs,
            seed,
            spec,
            notes,
            worker,
            ring: None,
            scratch,
            ends: vec![0; 2 * envs],
            // A step before any reset is one.
            over: vec![true; envs],
            stepping: false,
        };
        env.map_memory()?;
        Ok(env)
    }

    fn map_memory(&mut self) -> Result<(), EnvError> {
        let Self { worker, scratch, ring, .. } = self;
        worker.map(Region::Scratch, scratch.file.as_fd(), scratch.len_bytes)?;
        if let Some(ring) = ring {
            worker.map(Region::Ring, ring.file.as_fd(), ring.len_bytes)?;
        }
        Ok(())
    }

    /// Another worker in place of one that has died, with other episodes.
    fn start_again(&mut self) -> Result<(), EnvError> {
        self.seed = self.seed.wrapping_add(1);
        let (worker, spec, _) = Worker::start(&self.id, &self.options, self.envs, self.seed)?;
        if spec != self.spec {
            return Err(self.failed("it looks otherwise than before its worker died".into()));
        }
        self.worker = worker;
        self.map_memory()
    }

    fn failed(&self, reason: String) -> EnvError {
        EnvError::failed(&self.id, reason)
    }

    /// Where the worker finds a slice: in the ring, or in the scratch memory.
    fn place(&self, array: Array, address: usize, len_bytes: usize) -> Place {
        let of_ring = self.ring.as_ref().and_then(|ring| {
            let offset = address.checked_sub(ring.address)?;
            (offset.checked_add(len_bytes)? <= ring.len_bytes).then_some(offset as u64)
        });
        match of_ring {
            Some(offset) => Place { address: Region::Ring.address(offset), scratch: None },
            None => self.scratch.place(array),
        }
    }

    /// Where a slice is that the worker writes. Exposes its address (G1).
    fn place_of<T>(&self, array: Array, slice: &mut [T]) -> Place {
        let len_bytes = size_of_val(slice);
        self.place(array, slice.as_mut_ptr().expose_provenance(), len_bytes)
    }

    /// Copies what the worker wrote, unless it is there already.
    fn fetch<T: bytemuck::Pod>(&self, place: Place, slice: &mut [T]) -> Result<(), EnvError> {
        let fetched = self.scratch.fetch(place, slice);
        fetched.map_err(|error| self.scratch_failed(&error))
    }

    fn may_step(&self, actions: Actions<'_>) -> Result<(), EnvError> {
        self.spec.check_actions(actions, self.envs)?;
        self.stands_still()?;
        if self.worker.is_gone() {
            return Err(self.failed("its worker is gone".into()));
        }
        Ok(())
    }

    /// A command after a step that goes on would take its answer for its own, and come back before the worker is done (G1).
    fn stands_still(&self) -> Result<(), EnvError> {
        if self.stepping { Err(self.failed("a step goes on".into())) } else { Ok(()) }
    }

    fn write_actions(&self, offset: u64, words: &[u8]) -> Result<(), EnvError> {
        let written = self.scratch.file.write_all_at(words, offset);
        written.map_err(|error| self.scratch_failed(&error))
    }

    /// Which episodes end with a step.
    fn judge(&mut self, rewards: &mut [f32], flags: &mut [u8]) -> Result<(), EnvError> {
        let fetched = self.scratch.fetch(self.scratch.place(Array::Ends), &mut self.ends);
        fetched.map_err(|error| self.scratch_failed(&error))?;
        next_step_autoreset(&self.ends, &mut self.over, rewards, flags);
        Ok(())
    }

    fn scratch_failed(&self, error: &io::Error) -> EnvError {
        self.failed(format!("its scratch memory: {error}"))
    }
}

/// An address for the worker, and the offset to copy from or to where it is not in the ring.
#[derive(Debug, Clone, Copy)]
struct Place {
    address: u64,
    scratch: Option<u64>,
}

impl Scratch {
    fn new(spec: &EnvSpec, envs: usize) -> Result<Self, String> {
        let lengths = [
            envs * spec.observation.frame_bytes(),
            envs * size_of::<f32>(),
            2 * envs,
            envs * spec.mask_bytes(),
            envs * spec.action.words() * size_of::<i32>(),
        ];
        let mut end = 0_u64;
        let offsets = lengths.map(|length| {
            let start = end;
            end = (start + length as u64).next_multiple_of(ALIGN_BYTES);
            start
        });
        let len_bytes = usize::try_from(end).map_err(|error| error.to_string())?;
        let memory =
            Memory::create("impala-worker-scratch", len_bytes).map_err(|e| e.to_string())?;
        let len_bytes = memory.len_bytes();
        Ok(Self { file: File::from(OwnedFd::from(memory)), len_bytes, offsets })
    }

    fn place(&self, array: Array) -> Place {
        let offset = self.offsets[array as usize];
        Place { address: Region::Scratch.address(offset), scratch: Some(offset) }
    }

    /// Copies what the worker wrote, unless it is elsewhere.
    fn fetch<T: bytemuck::Pod>(&self, place: Place, slice: &mut [T]) -> io::Result<()> {
        match place.scratch {
            Some(offset) => self.file.read_exact_at(bytemuck::cast_slice_mut(slice), offset),
            None => Ok(()),
        }
    }
}

impl VectorEnv for GymEnv {
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }

    fn envs(&self) -> usize {
        self.envs
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn attach(&mut self, memory: &SharedMemory<'_>) -> Result<(), EnvError> {
        self.stands_still()?;
        let file = memory.file.try_clone_to_owned().map_err(|error| {
            self.failed(format!("cannot share the ring: {error}; raise `ulimit -n`"))
        })?;
        self.worker.map(Region::Ring, file.as_fd(), memory.len_bytes)?;
        self.ring = Some(Ring { file, address: memory.address, len_bytes: memory.len_bytes });
        Ok(())
    }

    fn reset(&mut self, out: ResetOut<'_>) -> Result<(), EnvError> {
        out.assert_fits(&self.spec, self.envs);
        let ResetOut { frames, masks } = out;
        if std::mem::take(&mut self.stepping) {
            let _forgotten = self.worker.wait();
        }
        if self.worker.is_gone() {
            self.start_again()?;
        }
        let [seen, masked] =
            [self.place_of(Array::Frames, frames), self.place_of(Array::Masks, masks)];
        self.worker.call(&Command::reset(seen.address, masked.address))?;
        self.over.fill(false);
        self.fetch(seen, frames)?;
        self.fetch(masked, masks)
    }

    fn step(&mut self, actions: Actions<'_>, out: StepOut<'_>) -> Result<(), EnvError> {
        out.assert_fits(&self.spec, self.envs);
        self.may_step(actions)?;
        let StepOut { frames, rewards, flags, masks } = out;
        let words = actions.as_bytes();
        let acted = self.place(Array::Actions, words.as_ptr().expose_provenance(), words.len());
        if let Some(offset) = acted.scratch {
            self.write_actions(offset, words)?;
        }
        let [seen, rewarded, masked] = [
            self.place_of(Array::Frames, frames),
            self.place_of(Array::Rewards, rewards),
            self.place_of(Array::Masks, masks),
        ];
        let ended = self.scratch.place(Array::Ends);
        let addresses =
            [seen.address, rewarded.address, ended.address, masked.address, acted.address];
        self.worker.call(&Command::step(addresses))?;
        self.fetch(seen, frames)?;
        self.fetch(rewarded, rewards)?;
        self.fetch(masked, masks)?;
        self.judge(rewards, flags)
    }

    /// All of it goes through the scratch memory: what the ring holds is the caller's meanwhile (G1).
    fn start_step(&mut self, actions: Actions<'_>) -> Result<bool, EnvError> {
        self.may_step(actions)?;
        let arrays = [Array::Frames, Array::Rewards, Array::Ends, Array::Masks, Array::Actions];
        let places = arrays.map(|array| self.scratch.place(array));
        let [.., acted] = self.scratch.offsets;
        self.write_actions(acted, actions.as_bytes())?;
        self.worker.send(&Command::step(places.map(|place| place.address)))?;
        self.stepping = true;
        Ok(true)
    }

    fn finish_step(&mut self, out: StepOut<'_>) -> Result<(), EnvError> {
        out.assert_fits(&self.spec, self.envs);
        if !std::mem::take(&mut self.stepping) {
            return Err(self.failed("no step was started".into()));
        }
        self.worker.wait()?;
        let StepOut { frames, rewards, flags, masks } = out;
        self.fetch(self.scratch.place(Array::Frames), frames)?;
        self.fetch(self.scratch.place(Array::Rewards), rewards)?;
        self.fetch(self.scratch.place(Array::Masks), masks)?;
        self.judge(rewards, flags)
    }
}
