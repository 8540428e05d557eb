//! The account of Calico's etcd, which has users and roles of its own: what its root is to grant, as comments beside the roles of
//! Kubernetes.

use super::rbac;
use crate::observe::{EtcdPaths, Mode};

/// The commands that make an account with the rights of a mode. Without a password: `etcdctl` asks for it.
pub fn role(mode: Mode) -> Vec<String> {
    let (name, paths) = (rbac::account(mode), EtcdPaths::of(mode));
    if paths.read.is_empty() {
        return Vec::new();
    }
    let grant = |path: &String, right: &str| format!("  etcdctl role grant {name} --path '{path}' --{right}");
    let mut notes = vec![
        "Where etcd has users, root of etcd makes an account of its v2 API (ETCDCTL_API=2):".to_owned(),
        format!("  etcdctl role add {name}"),
    ];
    notes.extend(paths.read.iter().map(|path| grant(path, "read")));
    notes.extend(paths.write.iter().map(|path| grant(path, "write")));
    notes.extend([format!("  etcdctl user add {name}"), format!("  etcdctl user grant {name} --roles {name}")]);
    notes.push(
        "Where etcd has --client-cert-auth and no password is sent, the user is the one that the certificate names."
            .to_owned(),
    );
    if !paths.write.is_empty() {
        notes.push("`restore` writes every key that differs, and needs besides:".to_owned());
        notes.extend(EtcdPaths::of_restore().write.iter().map(|path| grant(path, "write")));
    }
    notes
}
