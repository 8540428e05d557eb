//! The files of `manifests/upgrader`, and the steps that fit them to a release of Kubernetes.

use rust_embed::Embed;
use serde_json::{Value, json};

use crate::version::Version;

#[derive(Embed)]
#[folder = "manifests/upgrader"]
struct Files;

/// The objects of one file, as they are for the newest Kubernetes.
pub fn objects<const N: usize>(name: &str) -> [Value; N] {
    let file = Files::get(name).expect("the file is part of the program");
    let text = String::from_utf8_lossy(&file.data).into_owned();
    let parts = text.split("\n---\n").map(serde_saphyr::from_str::<Value>);
    let objects = parts.collect::<Result<Vec<_>, _>>().expect("the file was read in a test");
    objects.try_into().unwrap_or_else(|found: Vec<Value>| panic!("{name} has {} objects", found.len()))
}

/// Fields, and the minor release of Kubernetes that has them by default first (its API reference and changelogs).
const FIELDS: [(&str, &str, u64); 7] = [
    ("/spec", "backoffLimit", 8),
    ("/spec", "podFailurePolicy", POLICY_SINCE),
    ("/spec", "ttlSecondsAfterFinished", 21),
    ("/spec/template/spec", "priorityClassName", PRIORITY_SINCE),
    ("/spec/template/spec/securityContext", "runAsGroup", 14),
    ("/spec/template/spec/securityContext", "seccompProfile", SECCOMP_FIELD_SINCE),
    ("/spec/template/spec/containers/0/securityContext", "allowPrivilegeEscalation", 8),
];

/// Before, a Job makes another pod whatever the last one ended with.
const POLICY_SINCE: u64 = 26;

/// PriorityClass v1.
const PRIORITY_SINCE: u64 = 14;
const SECCOMP_FIELD_SINCE: u64 = 19;

/// The profile's name in the annotation changed from Docker's to one of any runtime.
const RUNTIME_DEFAULT_SINCE: u64 = 11;

/// What must be there before a pod of ours can be: it is printed with the account and with the Job, whichever is applied first.
pub fn ground(kubernetes: Version) -> Vec<Value> {
    let mut all = Vec::from(objects::<1>("namespace.yaml"));
    if has_priority_classes(kubernetes) {
        all.extend(objects::<1>("priority-class.yaml"));
    }
    all
}

fn has_priority_classes(kubernetes: Version) -> bool {
    is_since(kubernetes, PRIORITY_SINCE)
}

/// Answers whether a Job looks at exit codes.
pub fn has_pod_failure_policies(kubernetes: Version) -> bool {
    is_since(kubernetes, POLICY_SINCE)
}

fn is_since(kubernetes: Version, minor: u64) -> bool {
    kubernetes >= Version::new(1, minor, 0)
}

/// Takes away what that Kubernetes does not have, and says it the old way where there is one.
pub fn fit_job(job: &mut Value, kubernetes: Version) {
    for (place, field, since) in FIELDS {
        if !is_since(kubernetes, since) {
            let fields = job.pointer_mut(place).and_then(Value::as_object_mut);
            fields.expect("every place is in the file").remove(field);
        }
    }
    let annotations = &mut job["spec"]["template"]["metadata"]["annotations"];
    if is_since(kubernetes, SECCOMP_FIELD_SINCE) {
        job["spec"]["template"]["metadata"].as_object_mut().expect("it is in the file").remove("annotations");
    } else {
        let profile = if is_since(kubernetes, RUNTIME_DEFAULT_SINCE) { "runtime/default" } else { "docker/default" };
        *annotations = json!({"seccomp.security.alpha.kubernetes.io/pod": profile});
    }
}

/// The API version of CronJobs; before v1.8 they are served only where someone switched them on.
pub fn cron_job_version(kubernetes: Version) -> &'static str {
    if is_since(kubernetes, 21) {
        "batch/v1"
    } else if is_since(kubernetes, 8) {
        "batch/v1beta1"
    } else {
        "batch/v2alpha1"
    }
}

/// The API version of roles and bindings.
pub fn rbac_version(kubernetes: Version) -> &'static str {
    if is_since(kubernetes, 8) { "rbac.authorization.k8s.io/v1" } else { "rbac.authorization.k8s.io/v1beta1" }
}

/// Answers whether a CronJob can name its time zone (stable since v1.27).
pub fn has_time_zones(kubernetes: Version) -> bool {
    is_since(kubernetes, 27)
}
