//! `targets.<name>` on a Rancher: a workload, in one of the spellings that people hold.

use config::{Faults, Node};

use super::{TargetKind, TypedTarget, things};
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
    things::foreign(node, &["takes", "ends", "dawdles", "blind", "stack", "service"], "rancher", faults);
    let Some(text) = typed.workload.as_deref() else {
        let fault = node.fault("no `workload` is given");
        faults.push(fault.hint(
            "write `workload: c-xxxxx:p-xxxxx/deployment:namespace:name`, or the address that a script puts to",
        ));
        return None;
    };
    let mut told = |wrong: NameError, key: &str| {
        let hint = wrong.hint();
        faults.push(node.get(key).unwrap_or(node).fault(wrong.to_string()).hint(hint));
    };
    let named = match (&typed.cluster, &typed.namespace) {
        (None, None) => RancherWorkload::read(text, &system.url),
        (Some(cluster), Some(namespace)) => match text.split_once(['/', ':']) {
            Some((kind, name)) => RancherWorkload::of_parts(cluster, namespace, (kind, name)),
            None => Err(NameError::Bare(text.to_owned())),
        },
        (Some(_), None) => Err(NameError::Half("namespace")),
        (None, Some(_)) => Err(NameError::Half("cluster")),
    };
    let container = typed.container.as_deref().map(|name| checked("container", name, is_label)).transpose();
    match (named, container) {
        (Ok(workload), Ok(container)) => {
            let policy = Policy {
                stable: typed.stable.map(|span| span.0),
                rollback: typed.rollback.unwrap_or_default(),
            };
            Some(TargetKind::RancherWorkload { workload, container, policy })
        }
        (named, container) => {
            for (wrong, key) in [(named.err(), "workload"), (container.err(), "container")] {
                if let Some(wrong) = wrong {
                    told(wrong, key);
                }
            }
            None
        }
    }
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
        assert!(meant.contains(r#"cluster: Id("c-l5nxb"), project: Some("p-x"), workload: WorkloadName { namespace: "shop""#), "{meant}");
        let address = "https://rancher.lan/v3/project/c-l5nxb:p-x/workloads/deployment:shop:web";
        assert_eq!(told(&format!("workload: '{address}'")), Ok(meant));
        for workload in ["deployment/web", "deployment:web"] {
            let parts = format!("cluster: office, namespace: shop, workload: '{workload}', container: app");
            let meant = told(&parts).unwrap();
            assert!(meant.contains(r#"cluster: Name("office"), project: None, workload: WorkloadName { namespace: "shop""#), "{meant}");
            assert!(meant.contains(r#"container: Some("app")"#), "{meant}");
        }
        let with_project = told("cluster: 'c-l5nxb:p-x', namespace: shop, workload: deployment/web").unwrap();
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
            ("workload: web, cluster: c, namespace: a", "targets.one.workload: `web` does not say its kind"),
            ("workload: deployment/web, cluster: c", "targets.one.workload: no `namespace` is given"),
            ("workload: deployment/web, namespace: c", "targets.one.workload: no `cluster` is given"),
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
            "workload: 'local:p-x/deployment:a:b'}, two: {at: r, cluster: local, namespace: a, workload: deployment/b",
        );
        let faults = two.unwrap_err();
        assert!(faults.contains("the workload `local/deployment:a:b` is already the target `targets.one`"), "{faults}");
    }
}
