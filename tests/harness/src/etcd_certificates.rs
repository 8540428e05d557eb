//! Certificates of an etcd and of its clients, right ones and wrong ones.

use std::net::Ipv4Addr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::certificates::write_file;
use crate::error::Result;

pub const AUTHORITY: &str = "etcd-ca.crt";
pub const OTHER_AUTHORITY: &str = "other-ca.crt";
pub const SERVER: &str = "etcd.crt";
pub const SERVER_KEY: &str = "etcd.key";
pub const CLIENT: &str = "client.crt";
pub const CLIENT_KEY: &str = "client.key";
/// Whom the client's certificate names.
pub const CLIENT_NAME: &str = "calico";

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// It is for another address.
    OtherName,
}

/// Writes an authority, a server certificate for 127.0.0.1, a client certificate, and an authority that signed neither.
pub fn write(folder: &Path, of_server: Fault, of_client: Fault) -> Result<()> {
    let (ours, other) = (authority("etcd")?, authority("another")?);
    let (server_key, client_key) = (KeyPair::generate()?, KeyPair::generate()?);
    let server = server(of_server)?.signed_by(&server_key, &ours)?;
    let client = client(of_client).signed_by(&client_key, &ours)?;
    for (name, text) in [
        (AUTHORITY, ours.pem()),
        (OTHER_AUTHORITY, other.pem()),
        (SERVER, server.pem()),
        (SERVER_KEY, server_key.serialize_pem()),
        (CLIENT, client.pem()),
        (CLIENT_KEY, client_key.serialize_pem()),
    ] {
        write_file(folder, name, &text)?;
    }
    Ok(())
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn server(fault: Fault) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "etcd");
    let address = match fault {
        Fault::OtherName => Ipv4Addr::new(192, 0, 2, 1),
        Fault::None | Fault::Expired | Fault::NotYetValid => Ipv4Addr::LOCALHOST,
    };
    params.subject_alt_names.push(SanType::IpAddress(address.into()));
    set_time(&mut params, fault);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn set_time(params: &mut CertificateParams, fault: Fault) {
    match fault {
        Fault::None | Fault::OtherName => {}
        Fault::Expired => params.not_after = date_time_ymd(2018, 1, 1),
        Fault::NotYetValid => params.not_before = date_time_ymd(4000, 1, 1),
    }
}

fn client(fault: Fault) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, CLIENT_NAME);
    set_time(&mut params, fault);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}
