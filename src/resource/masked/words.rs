//! Which names say that what stands under them is a secret, which only name one, and what is filled in later.

/// Parts of a name that make its value nobody's business.
const TELLING: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "credential",
    "authorization",
    "kubeconfig",
    "privatekey",
    "private_key",
    "apikey",
];

/// Fields that name a Secret or a key in one, and hold none.
const REFERENCES: [&str; 8] = [
    "secretkeyref",
    "configmapkeyref",
    "secretref",
    "imagepullsecrets",
    "pullsecrets",
    "secretname",
    "secret_name",
    "secret-name",
];

/// Lists whose elements have a `key` that is the name of a label.
const OF_LABELS: [&str; 4] = ["tolerations", "taints", "matchexpressions", "matchfields"];

/// What the names in a path say of the value at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    IsSecret,
    NamesSecret,
}

pub(super) fn said_by(path: &str) -> Said {
    let path = without_elements(path);
    let names: Vec<String> = path.split(['.', ':', '[', ']']).map(str::to_ascii_lowercase).collect();
    let is_of_labels = names.iter().any(|name| OF_LABELS.contains(&name.as_str()));
    let judged = match path.strip_suffix(".key") {
        Some(shorter) if is_of_labels => shorter,
        Some(_) | None => &path,
    };
    if names.iter().any(|name| is_reference(name)) {
        Said::NamesSecret
    } else if is_telling(judged) && !path.ends_with(".mountPath") {
        Said::IsSecret
    } else {
        Said::Nothing
    }
}

/// References name a key or a Secret, and do not hold it.
pub(super) fn is_reference(name: &str) -> bool {
    REFERENCES.contains(&name.to_ascii_lowercase().as_str())
}

/// A path without what tells elements of a set apart, as in `tolerations[{"key":"dedicated"}]`: that is content.
fn without_elements(path: &str) -> String {
    let mut parts = path.split("[{");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once("}]").map_or("", |(_, rest)| rest))
}

/// Answers whether a name says that its value is a secret.
pub(super) fn is_telling(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    TELLING.iter().any(|telling| lower.contains(telling))
        || words(name).iter().any(|word| {
            word.ends_with("key")
                || word.ends_with("keys")
                || word.starts_with("cert")
                || ["ca", "pem", "psk"].contains(&word.as_str())
        })
}

/// The words of a name, whether it is written `etcd_key`, `etcd-key` or `etcdKey`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for one in name.chars() {
        if !one.is_alphanumeric() || (was_lower && one.is_uppercase()) {
            words.push(String::new());
        }
        was_lower = one.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| one.is_alphanumeric()) {
            word.extend(one.to_lowercase());
        }
    }
    words
}

/// Where keys and certificates lie on a host or in a pod, as manifests of Calico name it.
const FOLDERS: [&str; 3] = ["/calico-secrets/", "/etc/", "/var/"];

/// A path says where a secret lies, and not what it is.
pub(super) fn is_file(text: &str) -> bool {
    let is_of_path = |one: char| one.is_ascii_alphanumeric() || "/._-".contains(one);
    FOLDERS.iter().any(|folder| text.starts_with(folder)) && text.chars().all(is_of_path)
}

/// `__SERVICEACCOUNT_TOKEN__` is filled in on the node.
pub(super) fn is_placeholder(text: &str) -> bool {
    let inner = text.strip_prefix("__").and_then(|text| text.strip_suffix("__"));
    let is_plain = |one: u8| one.is_ascii_uppercase() || one.is_ascii_digit() || one == b'_';
    inner.is_some_and(|inner| !inner.is_empty() && inner.bytes().all(is_plain))
}
