//! Manifests that are another one but for some lines, as `tests/fixtures/alike.yaml` lists them.

use std::path::Path;

use serde_json::Value;

use crate::error::{HarnessError, Result};

const LIST: &str = include_str!("../../fixtures/alike.yaml");

/// A manifest made from another one.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alike {
    manifest: String,
    /// The file that it is like; that one may be made from another one, too.
    pub like: String,
    replace: Vec<(String, String)>,
    #[serde(default)]
    without: Vec<String>,
}

impl Alike {
    /// The manifest of that name, if it is one that is made from another.
    pub fn find(file: &str) -> Option<Self> {
        let list: Vec<Self> = serde_saphyr::from_str(LIST).expect("a test reads the list");
        list.into_iter().find(|alike| alike.manifest == file)
    }

    /// The text of this manifest, from that of the other one.
    pub fn text(&self, other: String) -> Result<String> {
        self.replace.iter().try_fold(other, |text, (old, new)| {
            let message = || format!("{} has no `{old}`, which is to be replaced", self.like);
            let path = Path::new(&self.manifest).to_owned();
            if text.contains(old) {
                Ok(text.replace(old, new))
            } else {
                Err(HarnessError::Fixture { path, message: message() })
            }
        })
    }

    /// Whether the release had such an object.
    pub fn has(&self, object: &Value) -> bool {
        !self.without.iter().any(|kind| object["kind"] == **kind)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Flavour, Release, Size, WornIn};

    #[test]
    fn a_manifest_that_is_like_another_differs_from_it_as_the_list_says() {
        let of = |release| WornIn { release, flavour: Flavour::Etcd, size: Size::Small }.objects().unwrap();
        let (old, new) = (of(Release::V2_0_2), of(Release::V2_3_0));
        let has = |objects: &[serde_json::Value], text: &str| objects.iter().any(|one| one.to_string().contains(text));
        assert!(has(&old, "calico/node:v1.0.2") && !has(&old, "calico/node:v1.3.0") && has(&new, "calico/node:v1.3.0"));
        assert!(has(&old, "NO_DEFAULT_POOLS") && !has(&old, "ClusterRole") && has(&new, "ClusterRole"));
    }
}
