//! Entry point of `impala-report`: reads the command line, does what it asks for, and returns the exit code.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

use super::bottleneck::Bottleneck;
use super::plots::groups;
use super::run_data::RunData;
use super::style::PLOTS;
use super::tuned;
use super::window_means::Fall;
use super::{REPORT_FILE, ReportError, page, write};
use crate::serve::{Address, ServeError, serve};

/// Wrong usage, as everywhere in this project.
const USAGE: u8 = 2;
/// Not a run folder, or a folder that cannot be written to.
const RUN_FOLDER: u8 = 3;
/// No thread, or no descriptor.
const RESOURCES: u8 = 5;

/// Turns run folders into one HTML page with plots, and says what held the runs back.
#[derive(Debug, clap::Parser)]
#[command(name = "impala-report", version)]
struct ReportArgs {
    /// Run folders; several are shown side by side. A run that is still going is welcome
    #[arg(required = true, value_name = "RUN_DIR")]
    run_dirs: Vec<PathBuf>,
    /// Where to write the page [default: report.html in the run folder; in the current one for several]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write each plot as an SVG of its own to this folder as well
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Write nothing, and serve a page that follows the runs while they go on, until Ctrl-C. ADDRESS is IP:PORT, PORT (for
    /// this machine alone; 0 for a free one) or IP, without one 127.0.0.1:6170. Whoever reaches it can read the page
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:6170",
        conflicts_with_all = ["output", "svg"]
    )]
    serve: Option<Address>,
}

/// The command line of `impala-report`, for whoever documents or completes it.
#[must_use]
pub fn command() -> clap::Command {
    <ReportArgs as clap::CommandFactory>::command()
}

/// Runs the command line of this process, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let args = match ReportArgs::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _closed_is_fine = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    if let Some(address) = args.serve {
        return match serve(address, &args.run_dirs) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let code = match &error {
                    ServeError::Run(_) => RUN_FOLDER,
                    ServeError::Listen { .. } => USAGE,
                    ServeError::Start(_) => RESOURCES,
                };
                fail(&error, code)
            }
        };
    }
    match report(&args) {
        Ok(text) => {
            let _closed_is_fine = io::stdout().lock().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, RUN_FOLDER),
    }
}

fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let _closed_is_fine = writeln!(io::stderr(), "impala-report: {error}");
    code.into()
}

/// Writes everything; gives what to say.
fn report(args: &ReportArgs) -> Result<String, ReportError> {
    let runs: Vec<RunData> =
        args.run_dirs.iter().map(|path| RunData::load(path)).collect::<Result<_, _>>()?;
    let output = match (&args.output, &args.run_dirs[..]) {
        (Some(path), _) => path.clone(),
        (None, [run_dir]) => run_dir.join(REPORT_FILE),
        (None, _) => PathBuf::from(REPORT_FILE),
    };
    write(&output, &page::html(&runs))?;
    if let Some(folder) = &args.svg {
        fs::create_dir_all(folder).map_err(|source| ReportError::Io {
            path: folder.clone(),
            action: "create",
            source,
        })?;
        for plot in groups(&runs).into_iter().flat_map(|group| group.plots) {
            // Alone, a plot carries its own style.
            let svg = plot.svg.replacen('>', &format!("><style>{PLOTS}</style>"), 1);
            write(&folder.join(format!("{}.svg", plot.id)), &svg)?;
        }
    }
    let mut text = String::new();
    for run in &runs {
        let found = Bottleneck::of(run);
        text.push_str(&format!(
            "{}: {}. {} {}\n",
            run.name,
            found.verdict.name(),
            found.because,
            found.advice
        ));
        if let Some(sentence) = tuned::sentence(run) {
            text.push_str(&format!("{}: {sentence}\n", run.name));
        }
        if let Some(fall) = Fall::of(run) {
            text.push_str(&format!("{}: {}\n", run.name, fall.sentence()));
        }
    }
    text.push_str(&format!("{}\n", output.display()));
    Ok(text)
}
