//! Starts the Python process of a worker, with the Python package that is compiled into this program.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::wire::Channel;
use impala_env::ExternalEnv;

/// Given to `python -c`: takes the modules from the socket and runs the worker.
const BOOT: &str = include_str!("../python/boot.py");

/// The modules of the worker.
const MODULES: [(&str, &str); 13] = [
    ("impala_env", include_str!("../python/__init__.py")),
    ("impala_env.errors", include_str!("../python/errors.py")),
    ("impala_env.keys", include_str!("../python/keys.py")),
    ("impala_env.values", include_str!("../python/values.py")),
    ("impala_env.spaces", include_str!("../python/spaces.py")),
    ("impala_env.actions", include_str!("../python/actions.py")),
    ("impala_env.naming", include_str!("../python/naming.py")),
    ("impala_env.making", include_str!("../python/making.py")),
    ("impala_env.batch", include_str!("../python/batch.py")),
    ("impala_env.pools", include_str!("../python/pools.py")),
    ("impala_env.trying", include_str!("../python/trying.py")),
    ("impala_env.compat", include_str!("../python/compat.py")),
    ("impala_env.worker", include_str!("../python/worker.py")),
];

/// Threads of numerical libraries: there are as many workers as actors already.
const THREAD_COUNTS: [&str; 3] = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"];

/// The Python that environments run in.
#[must_use]
pub fn python_of(external: &ExternalEnv) -> PathBuf {
    external.python.clone().unwrap_or_else(|| "python3".into())
}

/// Starts `python` and gives it what it needs to become a worker. Its standard input is the other end of
/// the channel; what it prints goes to `output`. It gets no other descriptor: all others of this program
/// are closed on exec.
pub(super) fn start(python: &Path, output: &File) -> io::Result<(Child, Channel)> {
    let (channel, theirs): (_, OwnedFd) = Channel::pair()?;
    let mut command = Command::new(python);
    // Unbuffered, and with a traceback even from a segmentation fault: both end in `output`.
    command.args(["-u", "-X", "faulthandler", "-c", BOOT]).arg(std::process::id().to_string());
    command.stdin(theirs).stdout(output.try_clone()?).stderr(Stdio::from(output.try_clone()?));
    one_thread_each(&mut command);
    let child = command.spawn()?;
    Ok((child, channel))
}

/// Numerical libraries get one thread, unless the user says otherwise.
pub fn one_thread_each(command: &mut Command) {
    for name in THREAD_COUNTS {
        if std::env::var_os(name).is_none() {
            command.env(name, "1");
        }
    }
}

/// Sends the modules. An error means that there is nobody to take them.
pub(super) fn send_modules(channel: &Channel) -> io::Result<()> {
    for (name, text) in MODULES {
        channel.send(format!("{name}\0{text}").as_bytes())?;
    }
    channel.send(b"\0")
}

/// Where the worker prints to: the log, or memory that is gone with it.
pub(super) fn output_of(external: &ExternalEnv) -> io::Result<File> {
    match &external.log {
        Some(path) => OpenOptions::new().create(true).read(true).append(true).open(path),
        None => Ok(File::from(memfd_create("impala-worker-output", MFdFlags::MFD_CLOEXEC)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::PACKET_BYTES;

    #[test]
    fn every_module_fits_into_a_packet_and_is_sent() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
        for entry in std::fs::read_dir(folder).expect("the package") {
            let name = entry.expect("entry").file_name().into_string().expect("UTF-8");
            let Some(stem) = name.strip_suffix(".py").filter(|stem| *stem != "boot") else {
                continue;
            };
            let module = match stem {
                "__init__" => "impala_env".to_owned(),
                other => format!("impala_env.{other}"),
            };
            // Programs of their own, for whoever installs the package.
            let programs = ["check", "serve", "streams", "messages"];
            assert!(
                programs.contains(&stem) || MODULES.iter().any(|(sent, _)| *sent == module),
                "{module}"
            );
        }
        assert!(MODULES.iter().all(|(_, text)| text.len() < PACKET_BYTES));
    }
}
