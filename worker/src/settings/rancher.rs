//! `targets.<name>` on a Rancher: a workload, in one of the spellings that people hold.

use config::{Faults, Node};

use super::{TargetKind, TypedTarget, things, workloads};
use crate::target::{
    rancher::{
        RancherSettings,
        name::{NameError, RancherWorkload, checked, is_label},
    },
    swarm::Policy,
};

/// What a target on a Rancher is: a workload, and its container where it has several.
pub(super) fn rancher_kind(
    typed: &TypedTarget,
    system: &RancherSettings,
    node: &Node,
    faults: &mut Faults,
) -> Option<TargetKind> {
    things::foreign(node, &[things::OF_REHEARSALS, &["service", "stack"]], "rancher", faults);
    let container = typed.container.as_deref().map(|name| checked("container", name, is_label)).transpose();
    let container = taken(container, "container", node, faults);
    let workload = named(typed, system, node, faults)?;
    let policy =
        Policy { stable: typed.stable.map(|span| span.0), rollback: typed.rollback.unwrap_or_default() };
    Some(TargetKind::RancherWorkload { workload, container: container?, policy })
}

fn named(
    typed: &TypedTarget,
    system: &RancherSettings,
    node: &Node,
    faults: &mut Faults,
) -> Option<RancherWorkload> {
    if let Some(cluster) = &typed.cluster {
        let place = workloads::place(typed, node, faults)?;
        return taken(RancherWorkload::of_cluster(cluster, place), "cluster", node, faults);
    }
    if let Some(key) = ["namespace", "kind", "name"].into_iter().find(|key| node.get(key).is_some()) {
        return taken(Err(NameError::NoCluster), key, node, faults);
    }
    match typed.workload.as_deref() {
        Some(text) => taken(RancherWorkload::read(text, &system.url), "workload", node, faults),
        None => taken(Err(NameError::Nothing), "workload", node, faults),
    }
}

/// What was read; a fault at its key where it could not be.
fn taken<T>(read: Result<T, NameError>, key: &str, node: &Node, faults: &mut Faults) -> Option<T> {
    read.inspect_err(|wrong| {
        faults.push(node.get(key).unwrap_or(node).fault(wrong.to_string()).hint(wrong.hint()));
    })
    .ok()
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use config::{Document, Faults};

    fn told(target: &str) -> Result<String, String> {
        let text = format!(
            "systems: {{r: {{kind: rancher, url: 'https://rancher.lan', token: 'token-a:b'}}}}\n\
             targets: {{one: {{at: r, {target}}}}}\n"
        );
        let document = Document::parse("longshore.yaml", &text).unwrap();
        let mut faults = Faults::new();
        let settings = Settings::read(&document, &mut faults).ok_or_else(|| faults.to_string())?;
        Ok(format!("{:?}", settings.targets[0].kind))
    }

    #[test]
    fn a_workload_is_named_in_three_ways() {
        let meant = told("workload: 'c-l5nxb:p-x/deployment:shop:web'").unwrap();
        assert!(
            meant.contains(
                r#"cluster: Id("c-l5nxb"), project: Some("p-x"), workload: WorkloadName { namespace: "shop""#
            ),
            "{meant}"
        );
        let address = "https://rancher.lan/v3/project/c-l5nxb:p-x/workloads/deployment:shop:web";
        assert_eq!(told(&format!("workload: '{address}'")), Ok(meant));
        for workload in ["workload: shop/deployment/web", "namespace: shop, kind: deployment, name: web"] {
            let meant = told(&format!("cluster: office, {workload}, container: app")).unwrap();
            assert!(
                meant.contains(
                    r#"cluster: Name("office"), project: None, workload: WorkloadName { namespace: "shop""#
                ),
                "{meant}"
            );
            assert!(meant.contains(r#"container: Some("app")"#), "{meant}");
        }
        let with_project = told("cluster: 'c-l5nxb:p-x', workload: shop/deployment/web").unwrap();
        assert!(with_project.contains(r#"project: Some("p-x")"#), "{with_project}");
    }

    #[test]
    fn the_example_of_the_guide_can_be_used() {
        let guide = include_str!("../../../docs/rancher.md");
        let example = guide.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
        let digest = "a3f1".repeat(16);
        let example = example
            .replace("token_file: /run/secrets/rancher", "token: 'token-a:b'")
            .replace("a3f1c2…", &digest);
        let document = Document::parse("longshore.yaml", &example).unwrap();
        let mut faults = Faults::new();
        let settings = Settings::read(&document, &mut faults).unwrap_or_else(|| panic!("{faults}"));
        assert_eq!(settings.targets.len(), 2);
    }

    #[test]
    fn each_mistake_is_told_at_its_key() {
        for (target, said) in [
            ("container: app", "targets.one: no `workload` is given"),
            ("workload: web", "targets.one.workload: `web` names no workload"),
            ("workload: web, cluster: c", "targets.one.workload: `web` names no workload"),
            ("cluster: c, namespace: a", "targets.one: no `kind` and no `name` is given"),
            (
                "cluster: 'a/b', workload: a/deployment/b",
                "targets.one.cluster: `a/b` can be the name of no cluster",
            ),
            ("namespace: a, kind: deployment, name: b", "targets.one.namespace: no `cluster` is given"),
            ("workload: a/deployment/b", "targets.one.workload: `a/deployment/b` names no workload"),
            (
                "workload: 'local/deployment:a:b', container: 'A B'",
                "targets.one.container: `A B` can be the name of no container",
            ),
            ("workload: 'local/deployment:a:b', stack: x", "a target on a rancher system has no `stack`"),
            (
                "workload: 'https://other.lan/v3/project/local:p-x/workloads/deployment:a:b'",
                "begins with `https://other.lan`, and the system is at `https://rancher.lan`",
            ),
        ] {
            let faults = told(target).unwrap_err();
            assert!(faults.contains(said) && faults.contains("hint: "), "{target}\n---\n{faults}");
        }
    }

    #[test]
    fn a_workload_is_one_target_in_whatever_spelling() {
        let two = told(
            "workload: 'local:p-x/deployment:a:b'}, two: {at: r, cluster: local, workload: a/deployment/b",
        );
        let faults = two.unwrap_err();
        assert!(
            faults.contains("the deployment `b` in the namespace `a` is already the target `targets.one`"),
            "{faults}"
        );
    }
}
