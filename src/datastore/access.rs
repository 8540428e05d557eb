//! Where etcd is and as whom to speak to it. Keys and passwords come from files or Secrets and show in no log.

use std::{fmt, path::PathBuf};

use http::Uri;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::EtcdError;
use crate::web::is_loopback;

/// What is needed to reach one etcd cluster.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Addresses like `https://10.0.0.1:2379`; all must lead to one cluster.
    pub endpoints: Vec<String>,
    pub authority: Option<Authority>,
    pub identity: Option<Identity>,
    pub credentials: Option<Credentials>,
    /// Whether plain http may go to other machines; to this one it always may.
    pub allow_plain_http: bool,
}

/// Certificates in PEM, and the file or Secret that they are from.
#[derive(Clone, Debug)]
pub struct Authority {
    pub from: PathBuf,
    pub pem: Vec<u8>,
}

/// Our own certificate and its key in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    pub from: PathBuf,
    pub certificate: Vec<u8>,
    pub key: SecretSlice<u8>,
}

/// A name and a password of etcd's v2 users.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub user: String,
    pub password: SecretString,
}

/// One address of etcd.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    url: String,
    is_secure: bool,
}

impl Endpoint {
    /// Reads an address, and refuses one that holds more than an address or would send in the clear.
    fn read(text: &str, allow_plain_http: bool) -> Result<Self, EtcdError> {
        // A password in an address would be repeated in messages, so such an address is not repeated either.
        let wrong = |why| {
            let endpoint = if text.contains('@') { "…".to_owned() } else { text.to_owned() };
            EtcdError::NoEndpoint { endpoint, why }
        };
        let uri: Uri = text.parse().map_err(|_| wrong("it is not written like https://host:2379"))?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("it begins neither with https:// nor with http://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a name and a password do not belong there"));
        }
        if !["", "/"].contains(&uri.path()) || uri.query().is_some() {
            return Err(wrong("there is something behind the host and port"));
        }
        if !is_secure && !allow_plain_http && !is_loopback(authority.host()) {
            return Err(EtcdError::PlainHttp { endpoint: text.to_owned() });
        }
        Ok(Self { url: text.trim_end_matches('/').to_owned(), is_secure })
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url)
    }
}

impl Access {
    pub(super) fn endpoints(&self) -> Result<Vec<Endpoint>, EtcdError> {
        let read = |text: &String| Endpoint::read(text.trim(), self.allow_plain_http);
        let endpoints: Vec<Endpoint> = self.endpoints.iter().map(read).collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(EtcdError::NoEndpoints);
        }
        match endpoints.iter().find(|one| one.is_secure && self.authority.is_none()) {
            Some(secure) => Err(EtcdError::NoAuthority { endpoint: secure.url.clone() }),
            None => Ok(endpoints),
        }
    }

    /// As whom etcd knows us, in words: it goes by the name in a certificate only where no password is sent.
    pub(super) fn who(&self, endpoints: &[Endpoint]) -> String {
        let is_shown = endpoints.iter().any(|endpoint| endpoint.is_secure);
        match (&self.credentials, self.identity.as_ref().filter(|_| is_shown)) {
            (Some(Credentials { user, .. }), _) => format!("`{user}`"),
            (None, Some(Identity { from, .. })) => format!("the user of certificate `{}`", from.display()),
            (None, None) => "us without a name".to_owned(),
        }
    }

    /// How TLS is spoken: the server is verified with the given authority and no other.
    ///
    /// Where no endpoint is https, certificates that an install still holds are not even read.
    pub(super) fn tls(&self, endpoints: &[Endpoint]) -> Result<ClientConfig, EtcdError> {
        let is_spoken = endpoints.iter().any(|endpoint| endpoint.is_secure);
        let mut roots = RootCertStore::empty();
        if let Some(Authority { from, pem }) = self.authority.as_ref().filter(|_| is_spoken) {
            for certificate in certificates(from, pem)? {
                roots.add(certificate).map_err(|error| unusable(from, error.to_string()))?;
            }
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks every version of TLS that rustls does")
            .with_root_certificates(roots);
        let identity = self.identity.as_ref().filter(|_| is_spoken);
        let Some(Identity { from, certificate, key }) = identity else { return Ok(config.with_no_client_auth()) };
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret())
            .map_err(|_| unusable(from, "it holds no private key in PEM".to_owned()))?;
        config
            .with_client_auth_cert(certificates(from, certificate)?, key)
            .map_err(|error| unusable(from, error.to_string()))
    }
}

fn certificates(from: &std::path::Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, EtcdError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = read.map_err(|error| unusable(from, error.to_string()))?;
    if all.is_empty() { Err(unusable(from, "it holds no certificate in PEM".to_owned())) } else { Ok(all) }
}

fn unusable(from: &std::path::Path, what: String) -> EtcdError {
    EtcdError::Credentials { path: from.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Endpoint>, EtcdError> {
        Access { endpoints: vec![text.to_owned()], ..Access::default() }.endpoints()
    }

    #[test]
    fn plain_http_goes_to_this_machine_alone() {
        for loopback in ["http://127.0.0.1:2379", "http://localhost:2379/", "http://[::1]:2379"] {
            assert!(read(loopback).is_ok(), "{loopback}");
        }
        assert!(matches!(read("http://10.0.0.1:2379"), Err(EtcdError::PlainHttp { .. })));
        let allowed =
            Access { endpoints: vec!["http://10.0.0.1:2379".to_owned()], allow_plain_http: true, ..Access::default() };
        assert!(allowed.endpoints().is_ok());
    }

    #[test]
    fn an_address_with_a_password_is_refused_and_not_repeated() {
        let error = read("https://root:hunter2@10.0.0.1:2379").unwrap_err();
        assert!(!error.to_string().contains("hunter2") && matches!(error, EtcdError::NoEndpoint { .. }), "{error}");
    }

    #[test]
    fn https_without_an_authority_is_refused() {
        assert!(matches!(read("https://10.0.0.1:2379"), Err(EtcdError::NoAuthority { .. })));
    }

    #[test]
    fn what_is_secret_shows_in_no_debug_text() {
        let credentials = Credentials { user: "root".to_owned(), password: "hunter2".into() };
        let identity = Identity { from: "a".into(), certificate: Vec::new(), key: b"hunter2".to_vec().into() };
        let access = Access { credentials: Some(credentials), identity: Some(identity), ..Access::default() };
        let text = format!("{access:?}");
        assert!(!text.contains("hunter2") && !text.contains("104, 117"), "{text}");
    }
}
