//! The command line of `impala-export`.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use impala_rl::metrics::atomic_file;
use impala_rl::play::Policy;
use impala_rl::supervisor::ExitKind;

use crate::card::card;
use crate::error::ExportError;
use crate::network::onnx;
use crate::weights::safetensors;

/// Writes the policy of a run as a file that other runtimes take, and a model card beside it.
#[derive(Debug, clap::Parser)]
#[command(name = "impala-export", version)]
struct ExportArgs {
    /// A run folder (its newest checkpoint), or one checkpoint: runs/NAME/checkpoints/FRAMES
    #[arg(value_name = "RUN_DIR|CHECKPOINT")]
    path: PathBuf,
    /// Write an ONNX model: normalisation, network and the most likely action
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// Write the weights alone, with PyTorch's names
    #[arg(long, value_name = "FILE")]
    safetensors: Option<PathBuf>,
    /// Write no model card; else it stands beside each file, FILE with the ending md
    #[arg(long)]
    no_card: bool,
}

/// The command line of `impala-export`, for whoever documents or completes it.
#[must_use]
pub fn command() -> clap::Command {
    <ExportArgs as clap::CommandFactory>::command()
}

/// Runs the command line of this process, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let args = match ExportArgs::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _closed_is_fine = error.print();
            let exit = if error.use_stderr() { ExitKind::Usage } else { ExitKind::Finished };
            return exit.into();
        }
    };
    match export(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed_is_fine = writeln!(io::stderr(), "impala-export: {error}");
            error.exit().into()
        }
    }
}

fn export(args: &ExportArgs) -> Result<(), ExportError> {
    if args.onnx.is_none() && args.safetensors.is_none() {
        return Err(ExportError::Nothing);
    }
    let policy = Policy::load(&args.path, 0)?;
    for problem in policy.problems() {
        let _closed_is_fine =
            writeln!(io::stderr(), "impala-export: {problem}; taking the one before");
    }
    let mut written = Vec::new();
    if let Some(path) = &args.onnx {
        write(path, &onnx(&policy))?;
        written.push(path);
    }
    if let Some(path) = &args.safetensors {
        let failed = |problem: String| ExportError::Write { path: path.clone(), problem };
        write(path, &safetensors(&policy).map_err(|error| failed(error.to_string()))?)?;
        written.push(path);
    }
    for path in written {
        let _closed_is_fine = writeln!(io::stdout(), "{}", path.display());
        if !args.no_card {
            write(&path.with_extension("md"), card(&policy, args.onnx.as_deref()).as_bytes())?;
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    atomic_file::replace(path, bytes)
        .map_err(|error| ExportError::Write { path: path.to_owned(), problem: error.to_string() })
}
