//! The native module `impala_rl._native`: the part of the Python package `impala_rl` that is written in Rust.
//!
//! `policy` acts with the code that acts in training; the rest are names that the package checks what it is given
//! against. Nothing here is an interface of its own: `python/src/impala_rl` is.

mod policy;

use impala_rl::config::{Settings, file};
use impala_rl::supervisor::ExitKind;
use pyo3::prelude::*;

pyo3::create_exception!(
    impala_rl._native,
    NativeError,
    pyo3::exceptions::PyException,
    "A line that says what is wrong, and the exit code that a program would end with."
);

/// Names of all settings: flags of impala-supervisor without their dashes.
#[pyfunction]
fn setting_names() -> Vec<String> {
    Settings::keys()
}

/// The name of a setting most like this one, if any is.
#[pyfunction]
fn nearest_setting(name: &str) -> Option<String> {
    file::nearest(name)
}

/// What an exit code of impala-supervisor means, if it is one.
#[pyfunction]
fn exit_meaning(code: i32) -> Option<String> {
    ExitKind::from_code(code).map(|kind| kind.to_string())
}

/// The module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("NativeError", module.py().get_type::<NativeError>())?;
    module.add_class::<policy::Policy>()?;
    module.add_function(wrap_pyfunction!(setting_names, module)?)?;
    module.add_function(wrap_pyfunction!(nearest_setting, module)?)?;
    module.add_function(wrap_pyfunction!(exit_meaning, module)?)
}
