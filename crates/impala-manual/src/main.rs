//! `impala-manual DIR`: writes man pages and shell completions of all programs below the prefix DIR, in the folders
//! where `man` and each shell look.
//!
//! ```text
//! DIR/share/man/man1/PROGRAM.1
//! DIR/share/bash-completion/completions/PROGRAM
//! DIR/share/zsh/site-functions/_PROGRAM
//! DIR/share/fish/vendor_completions.d/PROGRAM.fish
//! ```
//!
//! A program of its own, which `make install` runs and nobody installs: the others carry nothing of it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Command, Parser as _};
use clap_complete::Shell;
use clap_mangen::Man;
use impala_rl::supervisor::ExitKind;

/// Writes man pages and completions for bash, zsh and fish.
#[derive(Debug, clap::Parser)]
#[command(name = "impala-manual", version)]
struct ManualArgs {
    /// Prefix below which they are written
    #[arg(value_name = "DIR")]
    prefix: PathBuf,
}

/// Where each shell looks for completions of a program, below a prefix.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "share/bash-completion/completions"),
    (Shell::Zsh, "share/zsh/site-functions"),
    (Shell::Fish, "share/fish/vendor_completions.d"),
];

/// The programs that are installed.
fn commands() -> [Command; 7] {
    [
        impala_rl::pool::command(),
        impala_rl::play::command(),
        impala_rl::report::command(),
        impala_rl::top::command(),
        impala_sweep::command(),
        impala_export::command(),
        impala_bench::bench::command(),
    ]
}

fn main() -> anyhow::Result<()> {
    let ManualArgs { prefix } = ManualArgs::parse();
    for command in commands() {
        write(command, &prefix)?;
    }
    Ok(())
}

fn write(mut command: Command, prefix: &Path) -> anyhow::Result<()> {
    let name = command.get_name().to_owned();
    for (shell, folder) in SHELLS {
        let folder = prefix.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = clap_complete::generate_to(shell, &mut command, &name, &folder)
            .with_context(|| format!("cannot write into {}", folder.display()))?;
        // bash looks for a file with the name of the program.
        if shell == Shell::Bash {
            fs::rename(&path, folder.join(&name))
                .with_context(|| format!("cannot rename {}", path.display()))?;
        }
    }
    let folder = prefix.join("share/man/man1");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, page(command)?).with_context(|| format!("cannot write {}", path.display()))
}

fn page(command: Command) -> std::io::Result<Vec<u8>> {
    let names_codes = command.get_name() == "impala-supervisor";
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    if names_codes {
        writeln!(page, ".SH \"EXIT STATUS\"")?;
        for kind in ExitKind::ALL {
            writeln!(page, ".TP\n{}\n{kind}", kind.code())?;
        }
    }
    Ok(page)
}
