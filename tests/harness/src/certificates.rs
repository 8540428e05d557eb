//! The certificate authority of one control plane, and the keys that its servers need.

use std::net::Ipv4Addr;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType};

use crate::error::{Result, Trying};

pub const AUTHORITY: &str = "ca.crt";
pub const SERVER: &str = "server.crt";
pub const SERVER_KEY: &str = "server.key";
pub const SERVICE_ACCOUNT_KEY: &str = "service-accounts.key";
pub const SERVICE_ACCOUNT_PUBLIC_KEY: &str = "service-accounts.pub";

/// Writes a new authority, a server certificate for 127.0.0.1 and the key that signs service account tokens.
pub fn write(folder: &Path) -> Result<String> {
    let authority = authority()?;
    let server_key = KeyPair::generate()?;
    let server = server_params()?.signed_by(&server_key, &authority)?;
    write_file(folder, AUTHORITY, &authority.pem())?;
    write_file(folder, SERVER, &server.pem())?;
    write_file(folder, SERVER_KEY, &server_key.serialize_pem())?;
    let service_account_key = KeyPair::generate()?;
    write_file(folder, SERVICE_ACCOUNT_KEY, &service_account_key.serialize_pem())?;
    write_file(folder, SERVICE_ACCOUNT_PUBLIC_KEY, &service_account_key.public_key_pem())?;
    Ok(authority.pem())
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "harness");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn server_params() -> Result<CertificateParams> {
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let mut params = CertificateParams::new(names.map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    Ok(params)
}

pub fn write_file(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).trying(|| format!("write `{}`", path.display()))
}
