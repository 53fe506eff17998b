//! Rollbacks of a stack on whose services nothing is noted of any job: somebody wiped that, as with a `docker stack deploy`.
//! What the last job replaced, the history may know. No I/O.

use proto::{ImageRef, JobId, Operation};

use super::super::{
    apply::FoundService,
    good::nothing_ran_before_on,
    lifecycle::{Concern, MARKED},
    service::{Mode, Service, same_image},
};

/// The services that a rollback of the whole stack may be for, where none tells of any job but this one, `id`: those that
/// stay up, or, where it has begun on some, all of their repository.
pub(super) fn unmarked(operation: &Operation, all: &[Service], id: JobId) -> Option<Vec<Service>> {
    if !matches!(operation, Operation::Rollback { image: None, service: None, .. }) {
        return None;
    }
    let staying: Vec<&Service> = all.iter().filter(|service| service.mode() != Mode::Job).collect();
    if staying.is_empty() || !staying.iter().all(|service| is_unmarked(service) || is_mine(service, id)) {
        return None;
    }
    let begun = staying.iter().find(|service| is_mine(service, id)).and_then(|service| service.image());
    let is_of_it = |service: &&&Service| {
        begun
            .as_ref()
            .is_none_or(|begun| service.image().is_some_and(|image| image.repository() == begun.repository()))
    };
    Some(staying.iter().filter(is_of_it).map(|service| (*service).clone()).collect())
}

fn is_unmarked(service: &Service) -> bool {
    let fence = &service.fence;
    let has_marks = MARKED.into_iter().any(|concern: Concern| concern.mark(service).is_some());
    !has_marks && fence.trying.is_none() && fence.good.is_none() && fence.back.is_none()
}

fn is_mine(service: &Service, id: JobId) -> bool {
    service.fence.trying == Some(id) && service.fence.job.is_none_or(|job| job == id)
}

/// What they run, each image where all of its repository run the same: of others nobody can say which of them a job
/// brought.
pub(super) fn images(parts: &[FoundService]) -> Vec<ImageRef> {
    let of = |part: &FoundService| part.service.image();
    let is_alone = |image: &ImageRef| {
        let mut others = parts.iter().filter_map(of).filter(|other| other.repository() == image.repository());
        others.all(|other| same_image(&other, image))
    };
    parts.iter().filter_map(of).filter(is_alone).collect()
}

/// Why such a stack is not rolled back where the history knows nothing either, and what to do about it.
pub(super) fn nothing_known(stack: &str) -> String {
    format!(
        "{}; or deploy the compose file from before it",
        nothing_ran_before_on(&format!("any service of the stack `{stack}`"))
    )
}

#[cfg(test)]
mod tests {
    use proto::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::target::swarm::{fence, lifecycle::STACK};

    fn service(name: &str, image: &str, labels: Value) -> Service {
        let template = json!({"ContainerSpec": {"Image": image}});
        let spec = json!({"Name": name, "Labels": labels, "TaskTemplate": template});
        Service::from_raw(json!({"ID": name, "Version": {"Index": 1}, "Spec": spec})).unwrap()
    }

    #[test]
    fn only_where_nothing_is_noted_of_another_job() {
        let mine = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let (id, other) = (mine.to_string(), mine.successor().to_string());
        let back = Operation::Rollback { service: None, job: None, image: None };
        let one = Operation::Rollback { service: Some("web".to_owned()), job: None, image: None };
        let names = |operation: &Operation, labels: [Value; 3]| {
            let [web, more, db] = labels;
            let all = [service("web", "a:1", web), service("more", "a:1", more), service("db", "b:1", db)];
            let found = unmarked(operation, &all, mine)?;
            Some(found.iter().map(|service| service.name().to_owned()).collect::<Vec<_>>().join(" "))
        };
        let none = || json!({"com.docker.stack.namespace": "shop"});
        let begun = json!({fence::TRYING: id, fence::JOB: id});
        assert_eq!(names(&back, [none(), none(), none()]).as_deref(), Some("web more db"));
        assert_eq!(names(&back, [begun, none(), none()]).as_deref(), Some("web more"), "the rest of it");
        assert_eq!(names(&one, [none(), none(), none()]), None, "of one service");
        for mark in [fence::JOB, fence::TRYING, fence::GOOD, STACK] {
            let noted = if mark == fence::GOOD { "a:0" } else { &other };
            assert_eq!(names(&back, [none(), json!({mark: noted}), none()]), None, "{mark} is noted");
        }
    }
}
