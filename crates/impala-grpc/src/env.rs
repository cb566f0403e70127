//! The environments of one gRPC stream as a [`VectorEnv`].

use std::path::Path;
use std::time::{Duration, Instant};

use impala_env::{
    Actions, EnvError, EnvOptions, EnvSetting, EnvSpec, RemedyPart, ResetOut, StepOut, VectorEnv,
    next_step_autoreset,
};
use tonic::metadata::{Ascii, MetadataValue};

use super::address::Address;
use super::backoff::Backoff;
use super::error::LinkError;
use super::link::{Link, Opening};
use super::messages::{Argument, Hello, Observed, VERSION};
use super::observed::Expected;
use super::tls::trusting;
use super::{PREFIX, TLS_PREFIX};

/// How long a server may take for an answer, and be gone, if nobody says otherwise.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest token.
const TOKEN_BYTES: u64 = 4096;

/// E environments of a server.
#[derive(Debug)]
pub(super) struct RemoteEnv {
    id: String,
    addresses: Vec<Address>,
    /// Which of them is tried next.
    at: usize,
    options: EnvOptions,
    envs: usize,
    seed: u64,
    spec: EnvSpec,
    notes: Vec<String>,
    /// `None` once it has failed.
    link: Option<Link>,
    /// Who terminated `[E]`, who was truncated `[E]`.
    ends: Vec<u8>,
    /// Whose episode the next step starts.
    over: Vec<bool>,
    /// Whether a step goes on.
    stepping: bool,
}

impl RemoteEnv {
    /// Has `envs` environments made by the server of the place that the options name; for a trial by each, and compares what
    /// they have.
    pub(super) fn new(
        id: &str,
        options: &EnvOptions,
        envs: usize,
        seed: u64,
    ) -> Result<Self, EnvError> {
        let addresses = Address::all_of(id).map_err(|problem| EnvError::not_made(id, problem))?;
        refuse_what_servers_do(id, options)?;
        refuse_authorities_without_tls(id, options, &addresses)?;
        let (place, trial) = (options.external.place, options.external.trial);
        let observation = impala_env::ObservationSpec::new(impala_env::Dtype::F32, &[1]);
        let nothing = impala_env::ActionSpec::Discrete { n: 1 };
        let mut env = Self {
            id: id.to_owned(),
            at: place % addresses.len(),
            addresses,
            options: options.clone(),
            envs,
            seed,
            // Until a server has said what they look like.
            spec: EnvSpec::new(id, observation, nothing),
            notes: Vec::new(),
            link: None,
            ends: vec![0; 2 * envs],
            // A step before any reset is one.
            over: vec![true; envs],
            stepping: false,
        };
        let (link, spec, notes) = env.linked()?;
        (env.spec, env.notes) = (spec, notes);
        if trial && env.options.external.token_file.is_some() {
            let overheard = env.addresses.iter().filter(|address| address.is_overheard());
            let overheard: Vec<_> = overheard.map(ToString::to_string).collect();
            if !overheard.is_empty() {
                env.notes.push(format!(
                    "the token goes to {} in plain text; {TLS_PREFIX} would encrypt it",
                    overheard.join(", ")
                ));
            }
        }
        if trial {
            for _ in 1..env.addresses.len() {
                env.at += 1;
                let (other, spec, _) = env.linked()?;
                if spec != env.spec {
                    let (one, other) = (link.address(), other.address());
                    let problem = format!("{one} and {other} have different environments");
                    return Err(EnvError::not_made(id, problem));
                }
            }
        }
        env.link = Some(link);
        Ok(env)
    }

    /// Opens a stream. A server that is gone is waited for, and then another is tried, if there is one; a trial waits for none.
    fn linked(&mut self) -> Result<(Link, EnvSpec, Vec<String>), EnvError> {
        let external = &self.options.external;
        let token = external.token_file.as_deref().map(token).transpose();
        let token = token.map_err(|problem| EnvError::NotMade {
            id: self.id.clone(),
            problem,
            remedy: vec![RemedyPart::Setting([(EnvSetting::Token, None)].into())],
        })?;
        let tls = self.addresses[0].is_tls().then(|| trusting(external.ca_file.as_deref()));
        let tls = tls.transpose().map_err(|problem| EnvError::NotMade {
            id: self.id.clone(),
            problem: problem.to_string(),
            remedy: vec![
                RemedyPart::Text("name a PEM file of those who sign certificates with ".into()),
                RemedyPart::Setting([(EnvSetting::Authorities, None)].into()),
            ],
        })?;
        let answer_timeout = external.answer_timeout.unwrap_or(ANSWER_TIMEOUT);
        let argument =
            |(key, value): (&str, &str)| Argument { key: key.into(), value: value.into() };
        let opening = Opening {
            hello: Hello {
                version: VERSION,
                envs: u32::try_from(self.envs).map_err(|error| self.failed(error.to_string()))?,
                seed: self.seed,
                arguments: self.options.iter().map(argument).collect(),
                trial: external.trial,
            },
            token,
            tls,
            start_timeout: external.start_timeout.unwrap_or(answer_timeout).min(answer_timeout),
            answer_timeout,
        };
        let max_wait = if external.trial { Duration::ZERO } else { answer_timeout };
        let deadline = Instant::now() + max_wait;
        let mut backoff = Backoff::new(self.seed);
        let (link, told) = loop {
            let address = &self.addresses[self.at % self.addresses.len()];
            let error = match Link::open(address, opening.clone()) {
                Ok(opened) => break opened,
                Err(error) => error,
            };
            let wait = backoff.wait();
            if !error.may_pass() || Instant::now() + wait >= deadline {
                return Err(error.when_made(&self.id));
            }
            self.at += 1;
            #[expect(clippy::disallowed_methods, reason = "a backoff waits for nothing but time")]
            std::thread::sleep(wait);
        };
        let spec = told.checked(&self.id, self.envs).map_err(|problem| {
            let address = link.address().to_owned();
            LinkError::Nonsense { address, problem }.when_made(&self.id)
        })?;
        Ok((link, spec, told.lines()))
    }

    /// Another stream in place of one that has failed, with other episodes.
    fn start_again(&mut self) -> Result<(), EnvError> {
        self.seed = self.seed.wrapping_add(1);
        let (link, spec, _) = self.linked()?;
        if spec != self.spec {
            let address = link.address();
            return Err(self.failed(format!("{address} has another environment than before")));
        }
        self.link = Some(link);
        Ok(())
    }

    fn failed(&self, reason: String) -> EnvError {
        EnvError::failed(&self.id, reason)
    }

    /// Writes what came of a step.
    fn show(
        &mut self,
        answer: Result<Observed, LinkError>,
        out: StepOut<'_>,
    ) -> Result<(), EnvError> {
        let StepOut { frames, rewards, flags, masks } = out;
        let observed = self.settled(answer)?;
        observed.show(frames, masks);
        observed.judge(rewards, &mut self.ends);
        next_step_autoreset(&self.ends, &mut self.over, rewards, flags);
        Ok(())
    }

    /// What is done with an answer, or what became of the stream.
    fn settled<T>(&mut self, answer: Result<T, LinkError>) -> Result<T, EnvError> {
        answer.map_err(|error| {
            if error.ends_the_stream() {
                self.link = None;
            }
            self.failed(error.to_string())
        })
    }
}

/// Settings that only the server can follow.
fn refuse_what_servers_do(id: &str, options: &EnvOptions) -> Result<(), EnvError> {
    let external = &options.external;
    let given = [
        (EnvSetting::Wrapper, external.wrapper.is_some()),
        (EnvSetting::Keys, !external.observation_keys.is_empty()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((setting, _)) => Err(EnvError::NotMade {
            id: id.to_owned(),
            problem: "its server says what it shows and what it is wrapped in".into(),
            remedy: vec![
                RemedyPart::Text("start the server with it, and leave out ".into()),
                RemedyPart::Setting([(setting, None)].into()),
            ],
        }),
    }
}

/// Who says whom to trust does not expect to trust anybody.
fn refuse_authorities_without_tls(
    id: &str,
    options: &EnvOptions,
    addresses: &[Address],
) -> Result<(), EnvError> {
    if options.external.ca_file.is_none() || addresses.iter().all(Address::is_tls) {
        return Ok(());
    }
    let setting = |setting| RemedyPart::Setting([(setting, None)].into());
    Err(EnvError::NotMade {
        id: id.to_owned(),
        problem: format!(
            "there are no certificates with {PREFIX}, and authorities for them are given"
        ),
        remedy: vec![
            RemedyPart::Text(format!("write {TLS_PREFIX} in ")),
            setting(EnvSetting::Env),
            RemedyPart::Text(", or leave out ".into()),
            setting(EnvSetting::Authorities),
        ],
    })
}

/// What a server asks for; in words what is wrong with the file.
fn token(path: &Path) -> Result<MetadataValue<Ascii>, String> {
    use std::io::Read as _;
    let shown = path.display();
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(TOKEN_BYTES + 1).read_to_string(&mut text));
    read.map_err(|error| format!("its token file {shown} cannot be read: {error}"))?;
    let text = text.trim();
    let plain = !text.is_empty()
        && text.len() as u64 <= TOKEN_BYTES
        && text.bytes().all(|b| b.is_ascii_graphic());
    let value = plain.then(|| MetadataValue::try_from(format!("Bearer {text}")).ok()).flatten();
    let mut value = value.ok_or_else(|| {
        format!("its token file {shown} holds no token, which is a line of letters and digits")
    })?;
    // In no log.
    value.set_sensitive(true);
    Ok(value)
}

impl VectorEnv for RemoteEnv {
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }

    fn envs(&self) -> usize {
        self.envs
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn reset(&mut self, out: ResetOut<'_>) -> Result<(), EnvError> {
        out.assert_fits(&self.spec, self.envs);
        let ResetOut { frames, masks } = out;
        if std::mem::take(&mut self.stepping) {
            // Its answer would be taken for that to the reset.
            self.link = None;
        }
        if self.link.is_none() {
            self.start_again()?;
        }
        let Self { spec, envs, link, .. } = self;
        let expected = Expected { spec, envs: *envs, number: 0, step: false };
        let answer = link.as_mut().expect("opened above").reset(expected);
        let observed = self.settled(answer)?;
        observed.show(frames, masks);
        self.over.fill(false);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: StepOut<'_>) -> Result<(), EnvError> {
        out.assert_fits(&self.spec, self.envs);
        self.spec.check_actions(actions, self.envs)?;
        let Self { spec, envs, link, .. } = self;
        let expected = Expected { spec, envs: *envs, number: 0, step: true };
        let Some(link) = link.as_mut() else {
            return Err(self.failed("its stream is gone".into()));
        };
        let answer = link.step(actions.as_bytes(), expected);
        self.show(answer, out)
    }

    fn start_step(&mut self, actions: Actions<'_>) -> Result<bool, EnvError> {
        self.spec.check_actions(actions, self.envs)?;
        if self.stepping {
            return Err(self.failed("a step goes on".into()));
        }
        let Some(link) = self.link.as_mut() else {
            return Err(self.failed("its stream is gone".into()));
        };
        link.start_step(actions.as_bytes());
        self.stepping = true;
        Ok(true)
    }

    fn finish_step(&mut self, out: StepOut<'_>) -> Result<(), EnvError> {
        out.assert_fits(&self.spec, self.envs);
        let started = std::mem::take(&mut self.stepping);
        let Self { spec, envs, link, .. } = self;
        let expected = Expected { spec, envs: *envs, number: 0, step: true };
        let Some(link) = link.as_mut().filter(|_| started) else {
            return Err(self.failed("no step was started".into()));
        };
        let answer = link.answer(expected);
        self.show(answer, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_one_word_of_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret-\u{41}\n").expect("written");
        assert_eq!(token(&path).expect("a token"), "Bearer s3cret-A");
        assert!(token(&path).expect("a token").is_sensitive());
        for text in [&b""[..], b"\n", b"two words", b"\xff\xfe", &[b'x'; 5000]] {
            std::fs::write(&path, text).expect("written");
            let problem = token(&path).expect_err("no token");
            assert!(problem.contains("token file") && problem.contains("token"), "{problem}");
            assert!(!problem.contains("two words"), "no part of it is shown: {problem}");
        }
        assert!(
            token(&folder.path().join("none")).expect_err("missing").contains("cannot be read")
        );
    }

    #[test]
    fn what_only_a_server_can_do_is_refused_before_it_is_asked() {
        let mut options = EnvOptions::new();
        options.external.wrapper = Some("m:f".into());
        let refused = RemoteEnv::new("grpc://127.0.0.1:1", &options, 1, 0).expect_err("a wrapper");
        assert!(refused.to_string().contains("its server says"), "{refused}");
    }

    #[test]
    fn nobody_there_is_said_at_once_in_a_trial() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = closed.local_addr().expect("bound").port();
        drop(closed);
        let mut options = EnvOptions::new();
        options.external.trial = true;
        let id = format!("grpc://127.0.0.1:{port}");
        let refused = RemoteEnv::new(&id, &options, 1, 0).expect_err("nobody is there");
        assert!(refused.to_string().contains("cannot be reached: "), "{refused}");
    }

    #[test]
    fn who_closes_without_a_word_may_want_tls() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let id = format!("grpc://{}", listener.local_addr().expect("bound"));
        let server = std::thread::spawn(move || {
            use std::io::Read as _;
            let (mut socket, _) = listener.accept().expect("a client");
            // As a server with TLS does with what is none.
            let _begun = socket.read(&mut [0; 24]);
        });
        let mut options = EnvOptions::new();
        options.external.trial = true;
        let refused = RemoteEnv::new(&id, &options, 1, 0).expect_err("closed");
        server.join().expect("no panic");
        let EnvError::NotMade { problem, remedy, .. } = refused else { panic!("{refused}") };
        assert!(problem.contains("closed the connection before"), "{problem}");
        assert!(format!("{remedy:?}").contains("grpcs://"), "{remedy:?}");
    }

    #[test]
    fn authorities_are_for_tls_and_must_be_there() {
        let mut options = EnvOptions::new();
        options.external.ca_file = Some("/nowhere/ca.pem".into());
        let refused = |id| RemoteEnv::new(id, &options, 1, 0).expect_err("refused").to_string();
        let plain = refused("grpc://127.0.0.1:1");
        assert!(plain.contains("there are no certificates with grpc://"), "{plain}");
        let missing = refused("grpcs://127.0.0.1:1");
        assert!(missing.contains("/nowhere/ca.pem cannot be read"), "{missing}");
    }
}
