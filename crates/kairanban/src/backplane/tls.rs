//! Configures TLS for the LISTEN connection, as libpq does for the others.
//!
//! tokio-postgres knows neither `sslmode=verify-full` nor `sslrootcert`, so both are taken out of
//! the URL here and turned into a rustls configuration.

use std::{str::FromStr as _, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio_postgres::{Config, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A Postgres URL, split into what tokio-postgres understands and the rest.
pub(super) struct Dsn {
    /// The part that tokio-postgres reads.
    pub(super) config: Config,
    verify: bool,
    root_certificate: Option<String>,
}

/// Parameters of libpq that tokio-postgres does not know, and a LISTEN connection does not need.
const NOT_NEEDED: [&str; 5] = [
    "sslcompression",
    "gssencmode",
    "client_encoding",
    "sslsni",
    "tcp_user_timeout",
];

impl Dsn {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut root_certificate, mut rest) = (String::from("prefer"), None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = value.to_owned(),
                Some(("sslrootcert", value)) => {
                    let path = percent_encoding::percent_decode_str(value).decode_utf8();
                    root_certificate = Some(path.map_err(|error| error.to_string())?.into_owned());
                }
                Some((name, _)) if NOT_NEEDED.contains(&name) => {}
                _ => rest.push(pair),
            }
        }
        // The error would quote the URL, and the URL holds the password.
        let mut config = Config::from_str(&format!("{base}?{}", rest.join("&")))
            .map_err(|_| "the URL cannot be read".to_owned())?;
        config.ssl_mode(match mode.as_str() {
            "disable" => SslMode::Disable,
            "allow" | "prefer" => SslMode::Prefer,
            _ => SslMode::Require,
        });
        config
            .application_name("kairanban listen")
            .keepalives_idle(Duration::from_secs(30))
            .connect_timeout(Duration::from_secs(5));
        let verify =
            mode.starts_with("verify-") || (mode == "require" && root_certificate.is_some());
        Ok(Self {
            config,
            verify,
            root_certificate,
        })
    }
}

/// Returns how to encrypt, or `None` for `sslmode=disable`.
pub(super) fn connector(dsn: &Dsn) -> Result<Option<MakeRustlsConnect>, String> {
    if dsn.config.get_ssl_mode() == SslMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(ring::default_provider());
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions();
    let client = client.map_err(|error| error.to_string())?;
    let client = if dsn.verify {
        client.with_root_certificates(roots(dsn.root_certificate.as_deref())?)
    } else {
        // libpq's `prefer` and `require` ask for encryption, not for proof of who answers.
        client
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    };
    Ok(Some(MakeRustlsConnect::new(client.with_no_client_auth())))
}

fn roots(file: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) if path != "system" => {
            // No error repeats a value of the URL.
            let unusable = |error: &dyn std::fmt::Display| format!("sslrootcert: {error}");
            for certificate in
                CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))?
            {
                let certificate = certificate.map_err(|error| unusable(&error))?;
                roots.add(certificate).map_err(|error| unusable(&error))?;
            }
        }
        _ => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    Ok(roots)
}

/// Takes every certificate, but checks that the other side holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_libpq_reads() {
        fn dsn(url: &str) -> Dsn {
            Dsn::parse(url).expect("a URL")
        }
        let plain = dsn("postgres://ann:p%40ss@h:5433/d");
        assert_eq!(
            (plain.config.get_ssl_mode(), plain.verify),
            (SslMode::Prefer, false)
        );
        let full = dsn(
            "postgres://h/d?sslmode=verify-full&sslrootcert=/etc/my%20ca.pem&tcp_user_timeout=5",
        );
        assert_eq!(
            (full.config.get_ssl_mode(), full.verify),
            (SslMode::Require, true)
        );
        assert_eq!(full.root_certificate.as_deref(), Some("/etc/my ca.pem"));
        assert_eq!(
            dsn("postgres://h/d?sslmode=disable").config.get_ssl_mode(),
            SslMode::Disable
        );
        let secret = Dsn::parse("postgres://ann:secret@h:port/d")
            .err()
            .expect("no URL");
        assert!(!secret.contains("secret"), "{secret}");
    }
}
