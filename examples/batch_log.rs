//! Writes down which weights filled each batch: one line for each group of columns of each batch that is learnt from.
//!
//! ```sh
//! BATCH_LOG=batches.csv cargo run --release --example batch_log -- --schedule lockstep --lag 1 --total-frames 1e5
//! ```
//!
//! Takes the flags of `impala-supervisor`. The columns of the file: batch, group, actor, incarnation, stream, sequence,
//! version of the weights that acted. Batches are numbered from 0, and again from 0 when a learner is replaced.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;

use impala_rl::env::Registry;
use impala_rl::pool::Program;
use impala_rl::unroll::BlockRef;

/// The log, and the number of the next batch.
static LOG: Mutex<Option<(File, u64)>> = Mutex::new(None);

/// Called in the learner with each batch before it learns from it.
fn log(batch: &BlockRef<'_>) {
    let mut guard = LOG.lock().expect("one thread");
    let (file, number) = guard.get_or_insert_with(|| {
        let path = std::env::var_os("BATCH_LOG").unwrap_or_else(|| "batches.csv".into());
        let file = OpenOptions::new().create(true).append(true).open(path);
        (file.expect("BATCH_LOG names a file that can be written"), 0)
    });
    let lines: String = (batch.headers().iter().enumerate())
        .map(|(group, header)| {
            format!(
                "{number},{group},{},{},{},{},{}\n",
                header.actor,
                header.incarnation,
                header.stream,
                header.sequence,
                header.policy_version
            )
        })
        .collect();
    file.write_all(lines.as_bytes()).expect("the log takes a line");
    *number += 1;
}

fn main() -> ExitCode {
    Program::new(Registry::builtin()).on_batch(log).run()
}
