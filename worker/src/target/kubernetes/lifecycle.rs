//! What each operation changes on a workload, and what it means where it names no image.

use proto::{ImageRef, JobId, Operation, Timestamp};
use serde_json::Value;

use super::{
    KubernetesWorkload,
    apply::FoundWorkload,
    edit::Edit,
    fence::{CHANGE_CAUSE, Concern, REDEPLOYED, REPLICAS, RUNNING},
    kind::WorkloadKind,
    rollout::{Stage, stage},
};
use crate::target::{TargetError, wire::Call};

/// An operation as errors tell of it.
pub(super) fn attempted(operation: &Operation) -> &'static str {
    match operation {
        Operation::SetImage { .. } => "update the workload",
        Operation::DeployStack(_) | Operation::DeployGit(_) => "deploy the stack",
        Operation::Migrate { .. } => "move the stack",
        Operation::RemoveStack { .. } => "remove the stack",
        Operation::Start => "start the workload",
        Operation::Stop => "stop the workload",
        Operation::Restart => "restart the workload",
        Operation::Redeploy => "redeploy the workload",
        Operation::Rollback { .. } => "roll the workload back",
        Operation::PruneImages { .. } => "remove unused images",
        Operation::Hold { .. } => "put the workload on hold",
        Operation::Release { .. } => "release the workload",
        Operation::Cancel { .. } => "call the job off",
    }
}

/// Whether `operation` can be carried out at all.
pub(super) fn accepts(kind: WorkloadKind, operation: &Operation) -> Result<(), String> {
    match operation {
        Operation::Rollback { job: Some(job), image: None, .. } => {
            Err(format!("the job does not say which image the job {job} brought"))
        }
        Operation::Stop if kind == WorkloadKind::DaemonSet => Err(
            "a daemon set runs on every node that fits, so there is no number of pods to set to zero; remove it, or \
             give it a node selector that no node meets"
                .to_owned(),
        ),
        Operation::Restart if kind == WorkloadKind::CronJob => {
            Err("a cron job has no pods to restart between its runs".to_owned())
        }
        Operation::DeployStack(_)
        | Operation::DeployGit(_)
        | Operation::Migrate { .. }
        | Operation::RemoveStack { .. }
        | Operation::PruneImages { .. }
        | Operation::Hold { .. } | Operation::Release { .. } | Operation::Cancel { .. } => {
            Err(format!("`{}` is not carried out on workloads of Kubernetes", operation.type_name()))
        }
        Operation::SetImage { .. }
        | Operation::Rollback { .. }
        | Operation::Start
        | Operation::Stop
        | Operation::Restart
        | Operation::Redeploy => Ok(()),
    }
}

impl FoundWorkload {
    /// The image an operation means that names none.
    pub(super) fn image_meant(&self, operation: &Operation) -> Result<Option<ImageRef>, TargetError> {
        let place = &self.target.place;
        match operation {
            Operation::Redeploy => match self.workload.image(&self.container) {
                Some(image) => Ok(Some(image.by_tag())),
                None => Err(self.target.refused(
                    attempted(operation),
                    format!("the image of the container `{}` cannot be read", self.container),
                )),
            },
            Operation::Rollback { image: None, .. } => match self.fence().good {
                Some(good) => Ok(Some(good)),
                None => Err(self.target.refused(
                    attempted(operation),
                    format!("no image is known that the {place} ran well before the one it has now"),
                )),
            },
            Operation::SetImage { .. }
            | Operation::DeployStack(_)
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::RemoveStack { .. }
            | Operation::Rollback { image: Some(_), .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => Ok(None),
        }
    }

    /// What an operation changes, marks included.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub(super) fn edit(
        &self,
        operation: &Operation,
        id: JobId,
        image: Option<&ImageRef>,
    ) -> Result<Edit, TargetError> {
        accepts(self.workload.kind, operation)
            .map_err(|why| self.target.refused(attempted(operation), why))?;
        Ok(match self.concern {
            Concern::Image => self.image_edit(operation, id, image),
            Concern::Redeploy => self.redeploy_edit(operation, id, image),
            Concern::Running => self.running_edit(operation, id),
        })
    }

    fn image_edit(&self, operation: &Operation, id: JobId, image: Option<&ImageRef>) -> Edit {
        let mut edit = Edit::default();
        let mut fence = self.fence();
        fence.job = Some(id);
        fence.back = None;
        if let Some(image) = image {
            let stands = self.workload.names(&self.container, image);
            // Whoever goes back does not believe in what runs now.
            let believes = !matches!(operation, Operation::Rollback { .. });
            let is_the_same = self.workload.runs(&self.container, image);
            if !is_the_same && believes && self.runs_well() {
                fence.good = self.workload.image(&self.container);
            }
            fence.forget_bad(image);
            // A tag that could not be looked up may point to something else by now, which whoever goes back to what runs well
            // does not ask for; and a rollout that was given up is
            // begun anew only by another template.
            let gave_up = matches!(stage(&self.workload, 0), Stage::OutOfTime(_));
            if !stands {
                edit.image = Some((self.container.clone(), image.clone()));
            } else if image.digest().is_none() && (believes || !self.runs_well()) || gave_up {
                edit.restarted_at = self.restart();
            }
            if edit.image.is_some() || edit.restarted_at.is_some() {
                edit.annotations.push(cause(operation, Some(image), id));
            }
        }
        edit.annotations.extend(fence.written(&self.container));
        edit
    }

    fn redeploy_edit(&self, operation: &Operation, id: JobId, image: Option<&ImageRef>) -> Edit {
        let mut edit = Edit { restarted_at: self.restart(), ..Edit::default() };
        edit.annotations = vec![(REDEPLOYED.to_owned(), Some(id.to_string())), cause(operation, image, id)];
        if let Some(image) = image.filter(|image| !self.workload.names(&self.container, image)) {
            let mut fence = self.fence();
            if !self.workload.runs(&self.container, image) && self.runs_well() {
                fence.good = self.workload.image(&self.container);
            }
            fence.back = None;
            fence.forget_bad(image);
            edit.image = Some((self.container.clone(), image.clone()));
            edit.annotations.extend(fence.written(&self.container));
        }
        edit
    }

    fn running_edit(&self, operation: &Operation, id: JobId) -> Edit {
        let mark = (RUNNING.to_owned(), Some(id.to_string()));
        if self.workload.kind == WorkloadKind::CronJob {
            let suspend = Some(matches!(operation, Operation::Stop));
            return Edit { suspend, annotations: vec![mark], ..Edit::default() };
        }
        let count = self.workload.wished().unwrap_or_default();
        let counts = self.workload.kind != WorkloadKind::DaemonSet;
        let remembered =
            || self.workload.annotation(REPLICAS).and_then(|text| text.parse().ok()).unwrap_or(1);
        if matches!(operation, Operation::Stop) {
            let remember = (REPLICAS.to_owned(), Some(count.to_string()));
            let annotations = if count == 0 { vec![mark] } else { vec![mark, remember] };
            return Edit { replicas: (count > 0).then_some(0), annotations, ..Edit::default() };
        }
        let anew = matches!(operation, Operation::Restart);
        let cause = anew.then(|| cause(operation, None, id));
        Edit {
            replicas: (counts && count == 0).then(remembered),
            restarted_at: anew.then(Timestamp::now),
            annotations: [mark, (REPLICAS.to_owned(), None)].into_iter().chain(cause).collect(),
            ..Edit::default()
        }
    }

    /// All pods anew; a cron job has none.
    fn restart(&self) -> Option<Timestamp> {
        (self.workload.kind != WorkloadKind::CronJob).then(Timestamp::now)
    }

    /// An autoscaler leaves alone what has no pods at all, unless it may go down to none itself: then it would start
    /// again what was stopped.
    pub(super) async fn refuse_what_is_scaled_by_others(
        &self,
        operation: &Operation,
    ) -> Result<(), TargetError> {
        if !matches!(operation, Operation::Stop) {
            return Ok(());
        }
        let Some(autoscaler) = self.target.autoscaler().await? else { return Ok(()) };
        let name = autoscaler["metadata"]["name"].as_str().unwrap_or_default();
        let of_keda = name.starts_with("keda-hpa-");
        if !of_keda && autoscaler.pointer("/spec/minReplicas").and_then(Value::as_u64) != Some(0) {
            return Ok(());
        }
        let place = &self.target.place;
        let how = match of_keda {
            true => "pause it first: `autoscaling.keda.sh/paused-replicas: \"0\"` on its ScaledObject",
            false => "remove it first, or give it a `minReplicas` of at least 1",
        };
        let why = format!("the autoscaler `{name}` would start the {place} again by itself; {how}");
        Err(self.target.refused(attempted(operation), why))
    }
}

fn cause(operation: &Operation, image: Option<&ImageRef>, id: JobId) -> (String, Option<String>) {
    let image = image.map(|image| format!(" {}", image.by_tag().familiar())).unwrap_or_default();
    (CHANGE_CAUSE.to_owned(), Some(format!("longshore {}{image} (job {id})", operation.type_name())))
}

impl KubernetesWorkload {
    /// The autoscaler of the workload, where there is one that we may see.
    pub(super) async fn autoscaler(&self) -> Result<Option<Value>, TargetError> {
        let path =
            format!("/apis/autoscaling/v1/namespaces/{}/horizontalpodautoscalers", self.place.namespace);
        let call = Call::read("list the autoscalers", "autoscalers");
        let all = match self.kubernetes.client.list(&path, None, call).await {
            Ok(all) => all,
            // We may not look, or the cluster is too old to be asked so.
            Err(
                TargetError::CredentialsRefused { .. }
                | TargetError::Refused { .. }
                | TargetError::OtherServer { .. }
                | TargetError::NotFound { .. },
            ) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(all.into_iter().find(|autoscaler| {
            let scaled = &autoscaler["spec"]["scaleTargetRef"];
            scaled["kind"] == self.place.kind.api_kind() && scaled["name"] == self.place.name
        }))
    }
}
