//! What the API server serves, by plain lists of groups and resources, which every version has.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::{Api, ApiError};
use crate::error::{HarnessError, Result, Trying};
use crate::parallel;

/// A kind of object in the version that its group prefers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub is_namespaced: bool,
    pub can_list: bool,
}

impl Resource {
    /// The path of all objects of the kind in all namespaces.
    pub fn path(&self) -> String {
        format!("{}/{}", group_version_path(&self.group_version()), self.plural)
    }

    fn group_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// All kinds, each group in its preferred version, without subresources.
pub fn resources(api: &Api) -> Result<Vec<Resource>> {
    let groups = api.get("/apis").trying(|| "list the API groups".to_owned())?;
    let groups = groups["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let preferred = groups.iter().filter_map(|group| group["preferredVersion"]["groupVersion"].as_str());
    let versions: Vec<String> = std::iter::once("v1").chain(preferred).map(str::to_owned).collect();
    let lists = parallel::map(&versions, |version| resources_of(api, version))?;
    Ok(lists.into_iter().flatten().collect())
}

fn resources_of(api: &Api, group_version: &str) -> Result<Vec<Resource>> {
    let list = match api.get(&group_version_path(group_version)) {
        Ok(list) => list,
        // A group that went between the two requests, or one whose server is not there yet, has no objects.
        Err(ApiError { status: 404 | 503, .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error).trying(|| format!("list the kinds of `{group_version}`")),
    };
    let (group, version) = group_version.rsplit_once('/').unwrap_or(("", group_version));
    let resources = list["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(resources.iter().filter_map(|resource| parsed(group, version, resource)).collect())
}

fn parsed(group: &str, version: &str, resource: &Value) -> Option<Resource> {
    let plural = resource["name"].as_str().filter(|name| !name.contains('/'))?;
    let verbs = resource["verbs"].as_array().map(Vec::as_slice).unwrap_or_default();
    Some(Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        kind: resource["kind"].as_str()?.to_owned(),
        is_namespaced: resource["namespaced"] == true,
        can_list: verbs.iter().any(|verb| verb == "list"),
    })
}

fn group_version_path(group_version: &str) -> String {
    if group_version.contains('/') { format!("/apis/{group_version}") } else { format!("/api/{group_version}") }
}

/// Finds where an object of a kind goes, by its `apiVersion` and `kind`.
#[derive(Default)]
pub struct Paths {
    known: BTreeMap<(String, String), (String, bool)>,
}

impl Paths {
    /// The path of the collection that the object belongs to.
    pub fn collection(&mut self, api: &Api, object: &Value) -> Result<String> {
        let field = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let key = (field("apiVersion"), field("kind"));
        if !self.known.contains_key(&key) {
            self.learn(api, &key.0)?;
        }
        let (plural, is_namespaced) = self
            .known
            .get(&key)
            .ok_or_else(|| HarnessError::NotServed { api_version: key.0.clone(), kind: key.1.clone() })?;
        let base = group_version_path(&key.0);
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
        Ok(if *is_namespaced { format!("{base}/namespaces/{namespace}/{plural}") } else { format!("{base}/{plural}") })
    }

    fn learn(&mut self, api: &Api, group_version: &str) -> Result<()> {
        for resource in resources_of(api, group_version)? {
            let key = (group_version.to_owned(), resource.kind);
            self.known.insert(key, (resource.plural, resource.is_namespaced));
        }
        Ok(())
    }
}
