//! Errors of a gRPC stream: why it cannot be opened, or why it ended.

use std::io;
use std::time::Duration;

use impala_env::{EnvError, EnvSetting, RemedyPart};

use super::tls::Refusal;

/// Longest text of a server that is shown, in characters; the rest is cut.
const TEXT_CHARS: usize = 6_000;

/// Why there is no stream, or no longer one.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Nobody is there.
    #[error("{address} cannot be reached: {source}")]
    Unreachable { address: String, source: io::Error },
    /// It does not answer in time.
    #[error("{address} gave no answer within {} s", limit.as_secs_f64())]
    NoAnswer { address: String, limit: Duration },
    /// The connection ended, or the server ended the stream.
    #[error("the stream of {address} ended: {problem}")]
    Ended { address: String, problem: String },
    /// The connection ended before the server had said anything, as one does that waits for TLS, or for anything but TLS.
    #[error("{address} closed the connection before it had said anything")]
    Closed { address: String, tls: bool },
    /// It is not who it should be, or cannot show it.
    #[error("the certificate of {address} is refused: {reason}")]
    Certificate { address: String, reason: Refusal },
    /// It talks, but not TLS.
    #[error("{address} does not speak TLS")]
    NoTls { address: String },
    /// There is nothing that both can speak, or the server refuses it.
    #[error("{address} and this program do not agree on TLS: {problem}")]
    Handshake { address: String, problem: String },
    /// It wants another token.
    #[error("{address} refuses the token: {problem}")]
    Token { address: String, problem: String },
    /// It cannot make what it was asked for.
    #[error("{address} says: {problem}")]
    Unusable { address: String, problem: String, remedy: String },
    /// An environment failed; the stream goes on.
    #[error("{reason}")]
    Failed { reason: String },
    /// It does not keep to the protocol.
    #[error("{address} sent {problem}")]
    Nonsense { address: String, problem: String },
}

impl LinkError {
    /// Whether another try, or another server, may help.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::NoAnswer { .. }
                | Self::Ended { .. }
                | Self::Closed { .. }
        )
    }

    /// Whether the stream is of no more use (S3).
    pub(super) const fn ends_the_stream(&self) -> bool {
        !matches!(self, Self::Failed { .. })
    }

    /// What the user is told if environments `id` cannot be made.
    pub(super) fn when_made(self, id: &str) -> EnvError {
        let problem = self.to_string();
        let setting = |setting| RemedyPart::Setting([(setting, None)].into());
        let text = |words: &str| RemedyPart::Text(words.to_owned());
        let remedy = match self {
            Self::Failed { reason } => return EnvError::failed(id, reason),
            Self::Unreachable { .. } => {
                vec![
                    text("start a server there, or look at address and port in "),
                    setting(EnvSetting::Env),
                ]
            }
            Self::NoAnswer { .. } => vec![setting(EnvSetting::Timeout), text(" gives it longer")],
            Self::Closed { tls: false, .. } => {
                vec![
                    text("if its server has a certificate, write grpcs:// in "),
                    setting(EnvSetting::Env),
                ]
            }
            Self::Closed { tls: true, .. } => {
                vec![
                    text("if its server has no certificate, write grpc:// in "),
                    setting(EnvSetting::Env),
                ]
            }
            Self::NoTls { .. } => vec![
                text("start its server with a certificate, or write grpc:// in "),
                setting(EnvSetting::Env),
            ],
            Self::Certificate { reason, .. } => match reason {
                Refusal::Issuer => vec![
                    text("give the certificate of who signed it with "),
                    setting(EnvSetting::Authorities),
                ],
                Refusal::Expired => vec![text("give its server a new one")],
                Refusal::NotYet => vec![text("look at the clocks of both machines")],
                Refusal::Name { .. } => vec![
                    text("write a name that it is for in "),
                    setting(EnvSetting::Env),
                    text(", or make one for this name (subjectAltName)"),
                ],
                Refusal::Authority => {
                    vec![text("make one for the server (basicConstraints=CA:FALSE)")]
                }
                Refusal::Other(_) => Vec::new(),
            },
            Self::Token { .. } => {
                vec![text("give the file that the server has with "), setting(EnvSetting::Token)]
            }
            Self::Unusable { remedy, .. } if !remedy.is_empty() => vec![RemedyPart::Text(remedy)],
            Self::Unusable { .. }
            | Self::Ended { .. }
            | Self::Nonsense { .. }
            | Self::Handshake { .. } => Vec::new(),
        };
        EnvError::NotMade { id: id.to_owned(), problem, remedy }
    }
}

/// A text of a server, without what a terminal would take for a command.
pub(super) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    text.chars().take(TEXT_CHARS).map(plain).collect()
}

/// The same on one line.
pub(super) fn shown_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    shown(&words.join(" ")).chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_server_cannot_command_a_terminal() {
        assert_eq!(shown("a\x1b[31m\tb\nc"), "a [31m b\nc");
        assert_eq!(shown_line(" a\n\x1b]0;b \r\n c "), "a  ]0;b c");
        assert_eq!(shown(&"x".repeat(10_000)).len(), TEXT_CHARS);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let address = || "h:1".to_owned();
        let ended = LinkError::Ended { address: address(), problem: "reset".into() };
        assert!(ended.may_pass() && ended.ends_the_stream());
        let token = LinkError::Token { address: address(), problem: "wrong".into() };
        assert!(!token.may_pass() && token.ends_the_stream());
        let refused = LinkError::Certificate { address: address(), reason: Refusal::Expired };
        assert!(!refused.may_pass(), "it is the same the next time");
        assert!(!LinkError::NoTls { address: address() }.may_pass());
        assert!(LinkError::Closed { address: address(), tls: true }.may_pass(), "it may be dying");
        let failed = LinkError::Failed { reason: "raised".into() };
        assert!(!failed.may_pass() && !failed.ends_the_stream());
    }
}
