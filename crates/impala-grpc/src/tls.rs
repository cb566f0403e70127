//! TLS to a server: whose certificates are taken, and why one is not.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error as Rustls, RootCertStore};

use super::address::Address;
use super::error::{LinkError, shown_line};
use super::provider::provider;

/// The one protocol of gRPC, as TLS calls it.
const HTTP2: &[u8] = b"h2";

/// Why nobody's certificate can be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    #[error("its file of authorities {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("its file of authorities {} holds no certificate in PEM", path.display())]
    NoCertificate { path: PathBuf },
    #[error("its file of authorities {} holds a damaged certificate: {problem}", path.display())]
    Damaged { path: PathBuf, problem: String },
    #[error("this system trusts no authority, or does not say which")]
    NoneOfTheSystem,
}

/// What is wrong with the certificate of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("nobody who is trusted here has signed it")]
    Issuer,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("it is for {names}, not for {host}")]
    Name { host: String, names: String },
    #[error("it is that of an authority, which is to sign others")]
    Authority,
    #[error("{0}")]
    Other(String),
}

/// Takes the certificates that the authorities of a file have signed, or those of the system. One that is in the file itself is
/// taken as well, if it is not that of an authority.
pub(super) fn trusting(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => of_file(path, &mut roots)?,
        None => {
            // Some that cannot be read are no reason not to take the others.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TrustError::NoneOfTheSystem);
            }
        }
    }
    // Explicit: one for the process would have to be agreed on with whoever else uses rustls in it.
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("it has suites for TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Arc::new(config))
}

fn of_file(path: &Path, roots: &mut RootCertStore) -> Result<(), TrustError> {
    let path = || path.to_owned();
    let text =
        std::fs::read(path()).map_err(|source| TrustError::Unreadable { path: path(), source })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    // What of it is not PEM is not shown: it may be a key.
    let found = found.unwrap_or_default();
    if found.is_empty() {
        return Err(TrustError::NoCertificate { path: path() });
    }
    for certificate in found {
        roots
            .add(certificate)
            .map_err(|error| TrustError::Damaged { path: path(), problem: error.to_string() })?;
    }
    Ok(())
}

/// Makes of a connection one that is encrypted, to a server that has shown who it is.
pub(super) async fn encrypted(
    socket: TcpStream,
    address: &Address,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, LinkError> {
    let host = address.host().to_owned();
    let name = ServerName::try_from(host).map_err(|_| LinkError::Certificate {
        address: address.to_string(),
        reason: Refusal::Other(format!("there is none for the name {}", address.host())),
    })?;
    let made = TlsConnector::from(config).connect(name, socket).await;
    made.map_err(|error| of_handshake(&error, address))
}

fn of_handshake(error: &io::Error, address: &Address) -> LinkError {
    let (shown, host) = (address.to_string(), address.host());
    match error.get_ref().and_then(|source| source.downcast_ref()) {
        Some(Rustls::InvalidCertificate(problem)) => {
            LinkError::Certificate { address: shown, reason: of_certificate(problem, host) }
        }
        Some(Rustls::InvalidMessage(_)) => LinkError::NoTls { address: shown },
        Some(other) => {
            LinkError::Handshake { address: shown, problem: shown_line(&other.to_string()) }
        }
        None => LinkError::Closed { address: shown, tls: true },
    }
}

fn of_certificate(problem: &CertificateError, host: &str) -> Refusal {
    match problem {
        // The signature is wrong if an authority of the same name has another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Refusal::Issuer,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Refusal::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Refusal::NotYet
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().map(|name| bare_name(name)).collect();
            let names =
                if names.is_empty() { "no host".to_owned() } else { shown_line(&names.join(", ")) };
            Refusal::Name { host: host.to_owned(), names }
        }
        other => {
            let text = other.to_string();
            // That of webpki, which rustls does not name.
            if text.contains("CaUsedAsEndEntity") {
                Refusal::Authority
            } else {
                Refusal::Other(shown_line(&text))
            }
        }
    }
}

/// `a` of `DnsName("a")`, as rustls shows the names of a certificate.
fn bare_name(shown: &str) -> &str {
    let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(shown).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::rustls::{ServerConfig, ServerConnection};

    use super::*;

    /// An authority, or who signs itself; all of them have one name.
    struct Signer {
        pem: String,
        issuer: Issuer<'static, KeyPair>,
    }

    fn authority() -> Signer {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Signer { pem, issuer: Issuer::new(params, key) }
    }

    type Shown = (CertificateDer<'static>, KeyPair);

    fn signed(
        signer: &Signer,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Shown {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("params");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &signer.issuer).expect("signed").der().clone(), key)
    }

    fn by_itself(is_ca: IsCa) -> (String, Shown) {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("params");
        params.is_ca = is_ca;
        let key = KeyPair::generate().expect("a key");
        let own = params.self_signed(&key).expect("signed");
        (own.pem(), (own.der().clone(), key))
    }

    /// Somebody who takes one connection.
    fn listening(serve: impl FnOnce(std::net::TcpStream) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("bound");
        std::thread::spawn(move || serve(listener.accept().expect("a client").0));
        at
    }

    fn with_certificate((certificate, key): Shown) -> SocketAddr {
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
        config.alpn_protocols = vec![HTTP2.to_vec()];
        listening(move |mut socket| {
            let mut server = ServerConnection::new(Arc::new(config)).expect("a server");
            let _refused_is_fine = server.complete_io(&mut socket);
        })
    }

    fn in_file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    /// What becomes of a handshake with who listens there.
    fn shaken(at: SocketAddr, authorities: &str) -> Result<(), LinkError> {
        let config = trusting(Some(in_file(authorities).path())).expect("authorities");
        let address = &Address::all_of(&format!("grpcs://{at}")).expect("valid")[0];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        runtime.expect("a runtime").block_on(async {
            let socket = TcpStream::connect(at).await.expect("it listens");
            encrypted(socket, address, config).await.map(drop)
        })
    }

    fn refusal(at: SocketAddr, authorities: &str) -> Refusal {
        match shaken(at, authorities) {
            Err(LinkError::Certificate { reason, .. }) => reason,
            other => panic!("it is taken for {other:?}"),
        }
    }

    #[test]
    fn what_an_authority_has_signed_is_taken() {
        let (one, other) = (authority(), authority());
        let at = with_certificate(signed(&one, &["127.0.0.1"], |_| ()));
        shaken(at, &format!("Any words.\n{}{}", other.pem, one.pem)).expect("taken");
        let (pem, own) = by_itself(IsCa::ExplicitNoCa);
        shaken(with_certificate(own), &pem).expect("the file names it");
    }

    #[test]
    fn a_certificate_is_refused_for_what_is_wrong_with_it() {
        let (one, other) = (authority(), authority());
        let here = ["127.0.0.1"];
        let stranger = with_certificate(signed(&other, &here, |_| ()));
        assert_eq!(refusal(stranger, &one.pem), Refusal::Issuer);
        let (_, own) = by_itself(IsCa::ExplicitNoCa);
        assert_eq!(refusal(with_certificate(own), &one.pem), Refusal::Issuer);
        let old = signed(&one, &here, |params| params.not_after = date_time_ymd(2020, 1, 1));
        assert_eq!(refusal(with_certificate(old), &one.pem), Refusal::Expired);
        let early = signed(&one, &here, |params| params.not_before = date_time_ymd(4000, 1, 1));
        assert_eq!(refusal(with_certificate(early), &one.pem), Refusal::NotYet);
        let named = |names: &str| Refusal::Name { host: "127.0.0.1".into(), names: names.into() };
        let elsewhere = signed(&one, &["simulator", "127.0.0.2"], |_| ());
        assert_eq!(refusal(with_certificate(elsewhere), &one.pem), named("simulator, 127.0.0.2"));
        let nobody = signed(&one, &[], |_| ());
        assert_eq!(refusal(with_certificate(nobody), &one.pem), named("no host"));
        let (pem, own) = by_itself(IsCa::Ca(BasicConstraints::Unconstrained));
        assert_eq!(refusal(with_certificate(own), &pem), Refusal::Authority);
    }

    #[test]
    fn who_does_not_speak_tls_is_told_from_who_is_gone() {
        let authorities = authority().pem;
        // As HTTP/2 begins.
        let plain = listening(|mut socket| {
            let _gone_is_fine = socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
            let _until_it_is_read = socket.read_to_end(&mut Vec::new());
        });
        let said = shaken(plain, &authorities).expect_err("no TLS");
        assert!(matches!(said, LinkError::NoTls { .. }), "{said}");
        let gone = shaken(listening(drop), &authorities).expect_err("gone");
        assert!(matches!(gone, LinkError::Closed { tls: true, .. }), "{gone}");
    }

    #[test]
    fn files_that_name_nobody_are_refused() {
        let refused =
            |text: &str| trusting(Some(in_file(text).path())).expect_err("nobody").to_string();
        let key = KeyPair::generate().expect("a key").serialize_pem();
        let cut = authority().pem.replace("-----END", "");
        for text in ["", "Nobody.", &key, &cut] {
            let problem = refused(text);
            assert!(problem.contains("holds no certificate in PEM"), "{problem}");
        }
        let damaged = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
        assert!(refused(damaged).contains("a damaged certificate"), "{}", refused(damaged));
        let missing = trusting(Some(Path::new("/nowhere/ca.pem"))).expect_err("missing");
        assert!(missing.to_string().contains("/nowhere/ca.pem cannot be read"), "{missing}");
    }
}
