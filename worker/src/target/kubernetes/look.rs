//! What is read of a workload: the object, its pods, and what is said of it.

use proto::{ImageRef, Job, Operation, Reason, ask::TargetNow, reason};
use serde_json::Value;

use super::{
    KubernetesWorkload,
    apply::FoundWorkload,
    fence::{Concern, job_key, last_job},
    kind::WorkloadKind,
    object::{Container, Workload},
    pods::{Newest, Pods, Trouble},
};
use crate::target::{Found, TargetError, Wanted, wire::Call};

const REVISION: &str = "deployment.kubernetes.io/revision";
const TEMPLATE_HASH: &str = "pod-template-hash";
const REVISION_HASH: &str = "controller-revision-hash";

impl KubernetesWorkload {
    /// The workload as it stands.
    pub(super) async fn workload(&self) -> Result<Workload, TargetError> {
        let what = self.place.to_string();
        let call = Call::read("show the workload", &what);
        let object = self.kubernetes.client.get(&self.place.path(), call).await?;
        Ok(Workload::new(self.place.kind, object))
    }

    pub(super) async fn found(&self, job: &Job) -> Result<Box<dyn Found>, TargetError> {
        let operation = &job.operation;
        let concern = Concern::of(operation).ok_or_else(|| {
            let why = format!("`{}` is not carried out on workloads of Kubernetes", operation.type_name());
            self.refused("read the workload", why)
        })?;
        let workload = self.workload().await?;
        let container = self.container_for(&workload, operation)?;
        let mark = concern.mark(&workload, &container);
        let may_be_undone = concern == Concern::Image && mark < Some(job.id);
        let tried = may_be_undone && self.was_tried(&workload, (&container, job)).await?;
        Ok(Box::new(FoundWorkload { target: self.clone(), workload, container, concern, tried }))
    }

    /// Whether a replica set of a deployment has the mark of the job, though the deployment has it no more: somebody
    /// undid it, and the marks went back with the template.
    async fn was_tried(
        &self,
        workload: &Workload,
        (container, job): (&str, &Job),
    ) -> Result<bool, TargetError> {
        let key = job_key(container);
        let id = job.id.to_string();
        let sets = self.revisions(workload).await?;
        Ok(sets.iter().any(|set| set["metadata"]["annotations"][key.as_str()] == id))
    }

    /// The container that `operation` concerns.
    ///
    /// # Errors
    /// [`TargetError::NoPart`] naming those that are there; [`TargetError::Declined`] where one has to be named.
    pub(super) fn container_for(
        &self,
        workload: &Workload,
        operation: &Operation,
    ) -> Result<String, TargetError> {
        let named = match operation {
            Operation::SetImage { service, .. } | Operation::Rollback { service, .. } => service.as_ref(),
            Operation::DeployStack(_)
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::RemoveStack { .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::Redeploy
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => None,
        };
        if let (Some(named), Some(ours)) = (named, &self.container)
            && named != ours
        {
            let why = format!("the target is the container `{ours}` alone, and not `{named}`");
            return Err(self.refused("choose a container", why));
        }
        let all: Vec<Container<'_>> = workload.containers().collect();
        let listed = || {
            let of = |it: &Container<'_>| format!("`{}` ({})", it.name, it.image);
            all.iter().map(of).collect::<Vec<_>>().join(", ")
        };
        if let Some(name) = named.or(self.container.as_ref()) {
            let found = all.iter().find(|container| container.name == name);
            return found.map(|container| container.name.to_owned()).ok_or_else(|| TargetError::NoPart {
                system: self.system().to_owned(),
                what: format!("container `{name}` in the {}, which has {}", self.place, listed()),
            });
        }
        let stay: Vec<&Container<'_>> = all.iter().filter(|container| !container.is_init).collect();
        let wished = operation.image();
        let runs = |container: &&&Container<'_>| {
            let image = container.image.parse::<ImageRef>().ok();
            image.zip(wished).is_some_and(|(image, wished)| {
                let pulled = self.kubernetes.digests.pulled_as(wished);
                [wished, &pulled].iter().any(|it| it.repository() == image.repository())
            })
        };
        let candidates: Vec<&&Container<'_>> = stay.iter().filter(runs).collect();
        match (stay.as_slice(), candidates.as_slice(), operation) {
            ([only], _, _) => Ok(only.name.to_owned()),
            (_, [only], _) => Ok(only.name.to_owned()),
            // No image is changed: any of them stands for the pod.
            ([first, ..], _, Operation::Start | Operation::Stop | Operation::Restart) => {
                Ok(first.name.to_owned())
            }
            _ => Err(self.refused(
                "choose a container",
                format!(
                    "the {} has several containers; name one as `container` of the target: {}",
                    self.place,
                    listed()
                ),
            )),
        }
    }

    /// The pods of the newest template. Where we may not look at pods, nothing is told of them.
    pub(super) async fn pods(&self, workload: &Workload, container: &str) -> Result<Pods, TargetError> {
        let path = format!("/api/v1/namespaces/{}/pods", self.place.namespace);
        let call = Call::read("list the pods", "pods");
        let selector = workload.selector();
        let listed = self.kubernetes.client.list(&path, selector.as_deref(), call).await;
        let Some(all) = readable(listed)? else { return Ok(Pods::default()) };
        let revisions = self.revisions(workload).await?;
        let newest = newest(workload, &revisions).unwrap_or_else(|| {
            let image = workload.container(container).map(|it| it.image).unwrap_or_default();
            Newest::Image(container.to_owned(), image.to_owned())
        });
        let mut pods = Pods::of(&all, &newest);
        // What could not even be made: a quota, an admission webhook.
        let set = current_set(workload, &revisions);
        let failures = [Some(&workload.raw), set].into_iter().flatten().filter_map(|object| {
            let conditions = object.pointer("/status/conditions")?.as_array()?;
            conditions.iter().find(|it| it["type"] == "ReplicaFailure" && it["status"] == "True")
        });
        pods.troubles.extend(failures.map(Trouble::of_condition));
        Ok(pods)
    }

    /// The replica sets, or the revisions, that a workload owns.
    async fn revisions(&self, workload: &Workload) -> Result<Vec<Value>, TargetError> {
        let plural = match workload.kind {
            WorkloadKind::Deployment => "replicasets",
            WorkloadKind::DaemonSet => "controllerrevisions",
            // It says itself which is the newest.
            WorkloadKind::StatefulSet | WorkloadKind::CronJob => return Ok(Vec::new()),
        };
        let path = format!("/apis/apps/v1/namespaces/{}/{plural}", self.place.namespace);
        let call = Call::read("list the revisions", plural);
        let selector = workload.selector();
        let listed = self.kubernetes.client.list(&path, selector.as_deref(), call).await;
        let all = readable(listed)?.unwrap_or_default();
        let is_owned = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            workload.uid().is_some()
                && owners.into_iter().any(|owner| owner["uid"].as_str() == workload.uid())
        };
        Ok(all.into_iter().filter(is_owned).collect())
    }

    /// Removes a pod; its controller makes another.
    pub(super) async fn delete_pod(&self, name: &str) -> Result<(), TargetError> {
        let path = format!("/api/v1/namespaces/{}/pods/{name}", self.place.namespace);
        let what = format!("pod `{name}`");
        self.kubernetes.client.delete(&path, Call::write("delete a broken pod", &what)).await
    }

    pub(super) async fn now(&self) -> Result<TargetNow, TargetError> {
        let workload = self.workload().await?;
        let parts: Vec<(String, ImageRef)> = match &self.container {
            Some(name) => workload.image(name).map(|image| (name.clone(), image)).into_iter().collect(),
            None => workload
                .containers()
                .filter(|it| !it.is_init)
                .filter_map(|it| Some((it.name.to_string(), it.image.parse().ok()?)))
                .collect(),
        };
        Ok(TargetNow {
            kind: format!("kubernetes-{}", self.place.kind.as_str()),
            images: parts.iter().map(|(_, image)| image.clone()).collect(),
            parts: parts.into_iter().collect(),
            running: workload.is_running(),
            tasks: workload.tasks(),
            last_job: last_job(&workload),
            on_hold: None,
            held_images: Vec::new(),
            trouble: Vec::new(),
            deployed: None,
        })
    }

    /// What whoever reads of a success has to know beside it.
    pub(super) fn notes(&self, workload: &Workload, container: &str, wanted: &Wanted) -> Vec<Reason> {
        let mut notes = Vec::new();
        let target = &wanted.job.target;
        let stops = matches!(wanted.job.operation, Operation::Stop);
        if workload.kind == WorkloadKind::CronJob && wanted.image.is_some() {
            let text = "it is stored, and the cron job's next run uses it: nothing was started, so nothing is known of whether it runs";
            notes.push(Reason::new(reason::STOPPED, text));
        } else if !stops && workload.wished() == Some(0) {
            let text = "it is stopped (0 pods): nothing was started, so nothing is known of whether it runs";
            notes.push(
                Reason::new(reason::STOPPED, text)
                    .hint(format!("`longshore stack start {target}` starts it")),
            );
        }
        if let Some(image) = wanted.image.as_ref().filter(|image| !stops && !workload.names(container, image))
        {
            let stored = workload.container(container).map(|it| it.image).unwrap_or_default();
            let text =
                format!("something in the cluster put `{stored}` in the place of `{}`", image.familiar());
            notes.push(Reason::new(reason::REWRITTEN, text));
        }
        let kept = workload.partition().min(workload.wished().unwrap_or_default());
        if workload.kind == WorkloadKind::StatefulSet && kept > 0 && wanted.image.is_some() {
            let text = format!("{kept} of its pods stay as they were: its updateStrategy has a partition");
            notes.push(Reason::new(reason::PARTITION, text));
        }
        if wanted.image.as_ref().is_some_and(|image| image.digest().is_none()) {
            let text = "the tag was deployed as it is: its registry did not tell this worker what it points to, so nodes may run different content";
            notes.push(Reason::new(reason::NOT_PINNED, text).hint(
                "let this worker get to the registry, with a login under `registries` where it asks for one",
            ));
        }
        notes
    }
}

/// None where we may not look.
fn readable(listed: Result<Vec<Value>, TargetError>) -> Result<Option<Vec<Value>>, TargetError> {
    match listed {
        Ok(all) => Ok(Some(all)),
        Err(
            TargetError::CredentialsRefused { .. }
            | TargetError::Refused { .. }
            | TargetError::OtherServer { .. },
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The replica set of a deployment's newest template.
fn current_set<'a>(workload: &Workload, revisions: &'a [Value]) -> Option<&'a Value> {
    let revision = workload.annotation(REVISION)?;
    revisions.iter().find(|set| set["metadata"]["annotations"][REVISION] == revision)
}

fn newest(workload: &Workload, revisions: &[Value]) -> Option<Newest> {
    let label = |object: &Value, label: &'static str| {
        Some(Newest::Label(label, object["metadata"]["labels"][label].as_str()?.to_owned()))
    };
    match workload.kind {
        WorkloadKind::Deployment => label(current_set(workload, revisions)?, TEMPLATE_HASH),
        WorkloadKind::StatefulSet => {
            let revision = workload.raw.pointer("/status/updateRevision")?.as_str()?;
            Some(Newest::Label(REVISION_HASH, revision.to_owned()))
        }
        WorkloadKind::DaemonSet => {
            let last = revisions.iter().max_by_key(|revision| revision["revision"].as_u64())?;
            label(last, REVISION_HASH)
        }
        WorkloadKind::CronJob => None,
    }
}
