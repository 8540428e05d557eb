//! Who may talk to the API server, and the files that let programs do so.

use std::path::Path;

use serde_json::{Value, json};

use crate::api::Api;
use crate::error::{Result, Trying};

/// A user that the API server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// May do everything.
    Admin,
    /// May get, list and watch everything, and change nothing.
    Viewer,
    /// May do nothing, until a test binds a role to the user `nobody`.
    Nobody,
}

pub const TOKENS: &str = "tokens.csv";
const SIMULATOR_TOKEN: &str = "token-of-simulator";

impl User {
    /// The name that role bindings use.
    pub fn name(self) -> &'static str {
        match self {
            User::Admin => "admin",
            User::Viewer => "viewer",
            User::Nobody => "nobody",
        }
    }

    /// The bearer token of the user.
    pub fn token(self) -> &'static str {
        match self {
            User::Admin => "token-of-admin",
            User::Viewer => "token-of-viewer",
            User::Nobody => "token-of-nobody",
        }
    }
}

/// The lines of the file that tells the API server whose token is whose.
pub fn tokens() -> String {
    let line = |token: &str, name: &str, groups: &str| format!("{token},{name},{name},\"{groups}\"\n");
    line(User::Admin.token(), User::Admin.name(), "system:masters")
        + &line(User::Viewer.token(), User::Viewer.name(), "harness:viewers")
        + &line(User::Nobody.token(), User::Nobody.name(), "harness:nobodies")
        + &line(SIMULATOR_TOKEN, "system:simulator", "system:masters")
}

/// A kubeconfig with the context `worn-in`.
pub fn kubeconfig(server: &str, authority: &Path, user: User) -> Value {
    kubeconfig_with(server, authority, user.name(), user.token())
}

/// The kubeconfig of the servers that belong to the cluster itself.
pub fn kubeconfig_of_servers(server: &str, authority: &Path) -> Value {
    kubeconfig_with(server, authority, "system:simulator", SIMULATOR_TOKEN)
}

/// A kubeconfig with the context `worn-in` for whoever has the token.
pub fn kubeconfig_with(server: &str, authority: &Path, name: &str, token: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "worn-in", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": "worn-in", "context": {"cluster": "worn-in", "user": name}}],
        "current-context": "worn-in",
    })
}

/// Gives `viewer` its rights.
pub fn grant_viewing(api: &Api) -> Result<()> {
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"nonResourceURLs": ["*"], "verbs": ["get"]},
    ]);
    let role = json!({"metadata": {"name": "harness-viewer"}, "rules": rules});
    let binding = json!({
        "metadata": {"name": "harness-viewer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "harness-viewer"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": User::Viewer.name()}],
    });
    for (resource, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        api.create(&format!("{RBAC}/{resource}"), &object).trying(|| "let `viewer` read".to_owned())?;
    }
    Ok(())
}
