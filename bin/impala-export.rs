//! Writes a trained policy as an ONNX or safetensors file; see `impala-export --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    impala_export::main()
}
