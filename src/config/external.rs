//! Settings for environments in other processes (the Python interpreter, paths, wrappers), with absolute paths, so that
//! they hold in another folder or shell.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConfigError;
use super::settings::Settings;
use crate::env::{EnvError, ExternalEnv, Registry};

/// The settings for environment `id`; nothing for one that is built in.
pub(super) fn external(
    all: &Settings,
    id: &str,
    registry: &Registry,
) -> Result<ExternalEnv, ConfigError> {
    let odd = |text: &str| text.contains(char::is_control);
    if let Some(value) = all.env_wrapper.clone().filter(|wrapper| odd(wrapper)) {
        return Err(ConfigError::ControlCharacter { key: "env-wrapper", value });
    }
    let keys = all.observation_keys.clone().unwrap_or_default();
    if let Some(value) = keys.iter().find(|key| odd(key)).cloned() {
        return Err(ConfigError::ControlCharacter { key: "observation-keys", value });
    }
    if !registry.is_of_family(id) {
        let given =
            [("observation-keys", !keys.is_empty()), ("env-wrapper", all.env_wrapper.is_some())];
        if let Some((key, _)) = given.into_iter().find(|(_, given)| *given) {
            let problem =
                format!("it is built in, --{key} is for those in Python (gym:ID, envpool:ID)");
            return Err(EnvError::not_made(id, problem).into());
        }
        return Ok(ExternalEnv::new());
    }
    let python_path = all.python_path.as_deref().unwrap_or(Path::new("."));
    Ok(ExternalEnv {
        python: Some(all.python.as_deref().map_or_else(usual_python, python)),
        python_path: Some(absolute(python_path)),
        wrapper: all.env_wrapper.as_deref().map(wrapper),
        observation_keys: keys,
        token_file: all.env_token_file.as_deref().map(absolute),
        ca_file: all.env_ca_file.as_deref().map(absolute),
        answer_timeout: all.env_timeout.and_then(|s| Duration::try_from_secs_f64(s).ok()),
        ..ExternalEnv::new()
    })
}

/// A path with a folder in it is one; anything else is a name on the search path.
fn python(given: &Path) -> PathBuf {
    if given.components().count() > 1 { absolute(given) } else { on_search_path(given) }
}

fn usual_python() -> PathBuf {
    let of_environment =
        env::var_os("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("bin/python"));
    // That of a virtual environment that this program was installed into, whether or not it is active.
    let beside = env::current_exe().ok().map(|program| program.with_file_name("python"));
    let found = [of_environment, beside].into_iter().flatten().find(|path| path.is_file());
    found.unwrap_or_else(|| on_search_path("python3".as_ref()))
}

/// The whole path, so that a run is continued with the same Python in whatever shell. Links are not
/// followed: a virtual environment is known by the path of its link.
fn on_search_path(name: &Path) -> PathBuf {
    let folders = env::var_os("PATH").unwrap_or_default();
    let found =
        env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.map_or_else(|| name.to_owned(), |path| absolute(&path))
}

/// `folder/file.py:function` with the whole path; `module:function` as it is.
fn wrapper(given: &str) -> String {
    match given.rsplit_once(':') {
        Some((file, function)) if file.ends_with(".py") => {
            format!("{}:{function}", absolute(Path::new(file)).display())
        }
        _ => given.to_owned(),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        let mut registry = Registry::builtin();
        registry.add_family("gym:", "gym:ID", "any", |id, _, _, _| {
            Err(EnvError::not_made(id, "a test"))
        });
        registry
    }

    #[test]
    fn what_is_relative_becomes_whole() {
        let here = env::current_dir().expect("a current folder");
        let explicit = Settings {
            python: Some("venv/bin/python".into()),
            env_wrapper: Some("wraps/mine.py:wrap".into()),
            ..Settings::default()
        };
        let found = external(&explicit, "gym:X-v0", &registry()).expect("valid");
        assert_eq!(found.python, Some(here.join("venv/bin/python")));
        assert_eq!(found.python_path, Some(here.clone()));
        assert_eq!(found.wrapper, Some(format!("{}:wrap", here.join("wraps/mine.py").display())));
        let module = Settings { env_wrapper: Some("a.b:c.d".into()), ..Settings::default() };
        let found = external(&module, "gym:X-v0", &registry()).expect("valid");
        assert_eq!(found.wrapper.as_deref(), Some("a.b:c.d"));
        let shell = Settings { python: Some("sh".into()), ..Settings::default() };
        let found = external(&shell, "gym:X-v0", &registry()).expect("valid").python;
        assert!(found.as_ref().is_some_and(|path| path.is_absolute()), "{found:?}");
    }

    #[test]
    fn built_in_environments_take_none_of_it() {
        let python = Settings { python: Some("python3".into()), ..Settings::default() };
        assert_eq!(external(&python, "CartPole-v1", &registry()), Ok(ExternalEnv::new()));
        let wrapped = Settings { env_wrapper: Some("a:b".into()), ..Settings::default() };
        let refused = external(&wrapped, "CartPole-v1", &registry()).expect_err("built in");
        assert!(refused.to_string().contains("gym:ID"), "{refused}");
        let keyed =
            Settings { observation_keys: Some(vec!["image".into()]), ..Settings::default() };
        let refused = external(&keyed, "CartPole-v1", &registry()).expect_err("built in");
        assert!(refused.to_string().contains("--observation-keys"), "{refused}");
        let found = external(&keyed, "gym:X-v0", &registry()).expect("valid");
        assert_eq!(found.observation_keys, ["image"]);
        let odd = Settings { env_wrapper: Some("a:\nb".into()), ..Settings::default() };
        assert!(external(&odd, "gym:X-v0", &registry()).is_err());
    }
}
