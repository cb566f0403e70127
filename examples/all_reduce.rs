//! How long an all-reduce takes on the ranks that run this, as OSU's `osu_allreduce` measures it: the floor of what
//! `exchange_ns` in the metrics can be.
//!
//! ```sh
//! cargo build --release --features mpi --example all_reduce
//! mpirun -n 2 target/release/examples/all_reduce 1700000
//! ```

use std::time::Instant;

use anyhow::Context as _;
use mpi::collective::SystemOperation;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _};

const WARM_UP: u32 = 20;
const REPEATS: u32 = 200;

fn main() -> anyhow::Result<()> {
    let numbers = match std::env::args().nth(1) {
        Some(text) => text.parse().context("the argument is how many f32 are summed")?,
        None => 1_700_000_usize,
    };
    let universe = mpi::initialize().context("MPI starts")?;
    let world = universe.world();
    let (own, mut sum) = (vec![1.0_f32; numbers], vec![0.0_f32; numbers]);
    let mut began = Instant::now();
    for round in 0..WARM_UP + REPEATS {
        if round == WARM_UP {
            world.barrier();
            began = Instant::now();
        }
        world.all_reduce_into(&own[..], &mut sum[..], SystemOperation::sum());
    }
    let each_ms = began.elapsed().as_secs_f64() * 1e3 / f64::from(REPEATS);
    anyhow::ensure!(sum.iter().all(|&sum| sum == world.size() as f32), "the sums are wrong");
    if world.rank() == 0 {
        println!("{numbers} f32 over {} ranks: {each_ms:.3} ms", world.size());
    }
    Ok(())
}
