//! Upstream's own files, each release to each newer one, where a folder of them is given: `calico-v3.31.7.yaml` and the like.

use std::{env, fs, path::PathBuf};

use harness::{Kubernetes, lay_out_published};

use crate::{
    calico_v3::since_start,
    lab::{Lab, lab_laid_out, skipped},
    rollbacks::BACK,
    tier::slice,
};

/// Names the folder.
const FOLDER: &str = "CALICO_UPGRADER_PUBLISHED";

/// A release by its numbers, and its file.
type Release = ((u64, u64), PathBuf);

#[test]
fn calico_yaml_of_each_release_goes_to_each_newer_one_and_back() {
    each_pair("calico", |_, _| None);
}

#[test]
fn calico_vxlan_yaml_of_each_release_goes_to_each_newer_one_and_back() {
    each_pair("calico-vxlan", |_, _| None);
}

#[test]
fn calico_policy_only_yaml_of_each_release_goes_to_each_newer_one_and_back() {
    each_pair("calico-policy-only", over_v3_32);
}

#[test]
fn canal_yaml_of_each_release_goes_to_each_newer_one_and_back() {
    each_pair("canal", |_, _| None);
}

#[test]
fn calico_typha_yaml_of_each_release_goes_to_each_newer_one_and_back() {
    each_pair("calico-typha", over_v3_32);
}

#[test]
fn v3_on_etcd_is_refused_with_the_reason() {
    let Some(releases) = releases("calico-etcd") else { return };
    let [.., old, new] = releases.as_slice() else { panic!("there are too few files") };
    let lab = laid_out(old);
    lab.tool(&pair("plan", old, new)).exits(65).says("in etcd").says("calicoctl datastore migrate");
}

/// With Typha that step is refused.
fn over_v3_32(from: u64, to: u64) -> Option<&'static str> {
    (from < 32 && to >= 32).then_some("CU-P008")
}

/// `refused` answers the code of a way that is refused.
fn each_pair(kind: &str, refused: impl Fn(u64, u64) -> Option<&'static str>) {
    let Some(releases) = releases(kind) else { return };
    let numbers: Vec<usize> = (0..releases.len()).collect();
    let pairs: Vec<(usize, usize)> =
        numbers.iter().flat_map(|from| (from + 1..releases.len()).map(|to| (*from, to))).collect();
    for (from, to) in slice("pairs", &pairs, 4) {
        let (from, to) = (&releases[from], &releases[to]);
        let too_far = (to.0.1 >= 33 && from.0.1 < 31).then_some("CU-P002");
        let lab = laid_out(from);
        match too_far.or_else(|| refused(from.0.1, to.0.1)) {
            Some(code) => drop(lab.tool(&pair("plan", from, to)).exits(16).says(code)),
            None => there_and_back(&lab, from, to),
        }
    }
}

fn there_and_back(lab: &Lab, from: &Release, to: &Release) {
    lab.tool(&[pair("run", from, to), vec!["--yes"]].concat()).exits(0);
    lab.tool(&["verify"]).exits(0);
    lab.tool(&[pair("plan", from, to), vec!["--detailed-exitcode"]].concat()).exits(0).says("Nothing to do");
    lab.tool(&BACK).exits(0);
    assert_eq!(since_start(lab), Vec::<String>::new(), "{} to {} and back", from.1.display(), to.1.display());
}

fn pair<'a>(verb: &'a str, from: &'a Release, to: &'a Release) -> Vec<&'a str> {
    let (from, to) = (from.1.to_str().unwrap(), to.1.to_str().unwrap());
    vec![verb, "--manifests", to, "--manifests-before", from, "--allow-untested"]
}

/// The files of a kind, the oldest first.
fn releases(kind: &str) -> Option<Vec<Release>> {
    let Some(folder) = env::var_os(FOLDER) else {
        skipped(&format!("{FOLDER} names no folder with upstream's manifests"));
        return None;
    };
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let mut releases: Vec<Release> = files.filter_map(|file| Some((numbers(&file, kind)?, file))).collect();
    releases.sort();
    assert!(releases.len() > 1, "{} has no two files {kind}-vX.Y.Z.yaml", folder.display());
    Some(releases)
}

/// The major and the minor of `KIND-vX.Y.Z.yaml`.
fn numbers(file: &std::path::Path, kind: &str) -> Option<(u64, u64)> {
    let mut parts = file.file_name()?.to_str()?.strip_prefix(kind)?.strip_prefix("-v")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn laid_out(release: &Release) -> Lab {
    let name = release.1.file_name().unwrap().to_str().unwrap();
    lab_laid_out(Kubernetes::V1_34, name, |plane| lay_out_published(plane, &release.1))
}
