//! The kubelet, played for the pods of Jobs: the program is run as its pod says, with the account's token, and its end becomes the pod's
//! status. Nodes are simulated and run nothing themselves; their pods are only said to run.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Child, Command},
};

use harness::{Seen, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    lab::{Lab, Ran},
    printed::InCluster,
};

const PODS: &str = "/api/v1/namespaces/calico-upgrader/pods";

/// Runs the programs of pods, and keeps what they said.
pub struct Kubelet<'a> {
    lab: &'a Lab,
    /// Of the account, with another address of the API server than the one that is used outside.
    kubeconfig: PathBuf,
    state: TempDir,
    /// The pods as they were last seen, a line for each.
    seen: Vec<String>,
    running: BTreeMap<String, Child>,
    pub ended: BTreeMap<String, Ran>,
    /// The write boundary, `STEP/…`, at which the next program that takes that step dies.
    pub fault: Option<String>,
}

impl<'a> Kubelet<'a> {
    pub fn new(lab: &'a Lab, account: &InCluster<'_>) -> Self {
        let state = tempfile::tempdir().unwrap();
        let kubeconfig = state.path().join("kubeconfig");
        let outside = std::fs::read_to_string(&account.kubeconfig).unwrap();
        std::fs::write(&kubeconfig, outside.replace("https://127.0.0.1:", "https://localhost:")).unwrap();
        Self { lab, kubeconfig, state, seen: Vec::new(), running: BTreeMap::new(), ended: BTreeMap::new(), fault: None }
    }

    /// Works until the program outside has ended, and answers how.
    pub fn serve(&mut self, mut outside: Child) -> Ran {
        wait_until("the program outside to end", || {
            self.work();
            let ended = outside.try_wait().unwrap();
            Ok(ended.map_or_else(|| Seen::NotYet(self.news()), |_| Seen::Yes(())))
        })
        .unwrap();
        Ran::end_of(outside)
    }

    /// Works until something is so.
    pub fn serve_until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        wait_until(what, || {
            self.work();
            Ok(if is_so(self) { Seen::Yes(()) } else { Seen::NotYet(self.news()) })
        })
        .unwrap();
    }

    /// Answers whether the program of a pod runs.
    pub fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// Kills the programs of all pods, as when their node loses its power and comes back.
    pub fn kill(&mut self) {
        assert!(!self.running.is_empty(), "no pod runs a program");
        self.running.values_mut().for_each(|program| program.kill().unwrap());
    }

    fn news(&self) -> String {
        format!("programs ended: {:?}; pods: {}", self.ended, self.seen.join("; "))
    }

    fn work(&mut self) {
        let pods = self.lab.api().list(PODS).unwrap();
        self.seen = pods.iter().map(shown).collect();
        for pod in pods {
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            let is_new = !self.running.contains_key(&name) && !self.ended.contains_key(&name);
            if is_new && !pod["status"]["containerStatuses"][0]["state"]["running"].is_null() {
                let program = self.start(&pod);
                self.running.insert(name, program);
            }
        }
        let is_over = |(name, program): (&String, &mut Child)| program.try_wait().unwrap().map(|_| name.clone());
        for name in self.running.iter_mut().filter_map(is_over).collect::<Vec<_>>() {
            let program = self.running.remove(&name).unwrap();
            self.tell_end(name, program);
        }
    }

    fn start(&mut self, pod: &Value) -> Child {
        let container = &pod["spec"]["containers"][0];
        let words: Vec<&str> =
            container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let mut command = self.lab.command_in(self.state.path(), &words);
        command.env("KUBECONFIG", &self.kubeconfig);
        let fault = self.fault.take_if(|boundary| words.contains(&boundary.split('/').next().unwrap()));
        command.args(fault.iter().flat_map(|boundary| ["--fault", boundary]));
        set_variables(&mut command, pod, container);
        command.spawn().unwrap()
    }

    fn tell_end(&mut self, name: String, program: Child) {
        let ran = Ran::end_of(program);
        let exit = ran.exit.unwrap_or_else(|| 128 + ran.signal.unwrap());
        let (phase, reason) = if exit == 0 { ("Succeeded", "Completed") } else { ("Failed", "Error") };
        // The last of its words, where a kubelet keeps them.
        let words: String = ran.words.chars().rev().take(2048).collect::<Vec<_>>().into_iter().rev().collect();
        let terminated = json!({"exitCode": exit, "reason": reason, "message": words});
        let status = json!({"name": "calico-upgrader", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": terminated}});
        let patch = json!({"status": {"phase": phase, "containerStatuses": [status]}});
        match self.lab.api().merge_patch(&format!("{PODS}/{name}/status"), &patch) {
            Err(error) if !error.is_not_found() => panic!("{error}"),
            Ok(_) | Err(_) => {}
        }
        self.ended.insert(name, ran);
    }
}

/// Where a pod is, and what is said of it.
fn shown(pod: &Value) -> String {
    let (name, node, status) = (&pod["metadata"]["name"], &pod["spec"]["nodeName"], &pod["status"]);
    let (phase, containers) = (&status["phase"], &status["containerStatuses"]);
    format!("{name} on {node}: {phase} {} {containers}", status["conditions"])
}

impl Drop for Kubelet<'_> {
    fn drop(&mut self) {
        for program in self.running.values_mut() {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

/// Those that the pod names, but for the directory, which is the test's.
fn set_variables(command: &mut Command, pod: &Value, container: &Value) {
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("metadata.name") => &pod["metadata"]["name"],
            Some("spec.nodeName") => &pod["spec"]["nodeName"],
            Some(other) => panic!("no field `{other}`"),
            None => &variable["value"],
        };
        if !["CALICO_UPGRADER_STATE_DIR", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"].contains(&name) {
            command.env(name, value.as_str().unwrap());
        }
    }
}
