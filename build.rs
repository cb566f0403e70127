//! Makes every binary, test and example find libtorch at run time, wherever it is started.
//!
//! torch-sys passes no rpath on to the programs that use it, so without this file each of them
//! would need `LD_LIBRARY_PATH`. The lookup below follows torch-sys 0.26's own, step by step.
//! The packages whose own programs or tests link libtorch (this one, impala-nn, impala-bench,
//! impala-export, impala-sweep, impala-manual) share it.
//! Cargo passes link arguments on to no other package: a program that depends on this one with the
//! feature `torch` sets `LD_LIBRARY_PATH`, or has the line with `-rpath` in a build script of its own.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const NOT_SET: &str = "the feature torch needs a libtorch 2.13: name its folder in LIBTORCH, or set LIBTORCH_USE_PYTORCH=1 for \
that of an installed PyTorch, or build without the feature; cargo finds the one of `make libtorch` when started in the repository";

fn main() {
    // Also said without the feature: a script that says nothing runs again with every file that changes.
    for name in ["LIBTORCH", "LIBTORCH_LIB", "LIBTORCH_USE_PYTORCH", "VIRTUAL_ENV"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if env::var_os("CARGO_FEATURE_TORCH").is_none() {
        return;
    }
    match lib_dir() {
        Ok(lib) => link(&lib.display().to_string()),
        Err(why) => println!("cargo::error={why}"),
    }
}

fn link(lib: &str) {
    // A libtorch put together anew is linked anew.
    println!("cargo::rerun-if-changed={lib}/libtorch.so");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    // No symbol of ours lives in libtorch_cuda.so: it registers itself when loaded. rustc links
    // with --as-needed, which would drop it; libtorch.so names it (and libtorch_cpu.so) instead.
    println!("cargo::rustc-link-arg=-Wl,--push-state,--no-as-needed");
    println!("cargo::rustc-link-arg=-L{lib}");
    println!("cargo::rustc-link-arg=-ltorch");
    println!("cargo::rustc-link-arg=-Wl,--pop-state");
}

/// The folder of libtorch.so, absolute.
fn lib_dir() -> Result<PathBuf, String> {
    let lib = if env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        python_lib_dir()?
    } else {
        let root = env::var_os("LIBTORCH_LIB").or_else(|| env::var_os("LIBTORCH"));
        // .cargo/config.toml sets it, which cargo reads only when started in the repository.
        PathBuf::from(root.ok_or(NOT_SET)?).join("lib")
    };
    if lib.join("libtorch.so").exists() {
        Ok(lib)
    } else {
        Err(format!(
            "no libtorch.so in {}: run `make libtorch`, or build without the feature torch",
            lib.display()
        ))
    }
}

/// Where the PyTorch of the interpreter that torch-sys would ask keeps its libraries.
fn python_lib_dir() -> Result<PathBuf, String> {
    let python = if env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
    // Not by importing it: that takes seconds.
    let ask =
        "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])";
    let answer =
        Command::new(python).args(["-c", ask]).output().map_err(|e| format!("{python}: {e}"))?;
    let folder = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if answer.status.success() {
        Ok(PathBuf::from(folder).join("lib"))
    } else {
        Err(format!("LIBTORCH_USE_PYTORCH is set, but {python} has no torch"))
    }
}
