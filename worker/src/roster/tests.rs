//! Who gets which name.

use super::*;
use crate::target::swarm::{Registries, SwarmSettings, discover::Mistake};

fn swarm(host: &str) -> Swarm {
    let settings: SwarmSettings = serde_json::from_value(serde_json::json!({"host": host})).unwrap();
    Swarm::new("swarm", &settings, Registries::default()).unwrap()
}

fn place(host: &str, declared_services: &[&str], stacks: &[&str]) -> Place {
    let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let listings = declared_services
        .iter()
        .map(|service| declared(&service.parse().unwrap(), "swarm-service", &["a/b:1".parse().unwrap()]));
    Place {
        pool: PoolName::default(),
        kind: "swarm",
        declared: listings.collect(),
        searched: Some(Searched {
            swarm: swarm(host),
            declared: Declared { services: text(declared_services), stacks: text(stacks) },
        }),
    }
}

fn service(name: &str, called: Option<&str>, created: u32) -> Labelled {
    Labelled {
        service: name.to_owned(),
        id: format!("id-of-{name}"),
        created_at: format!("2026-11-21T10:00:{created:02}Z"),
        stack: None,
        described: Ok(Described {
            name: called.map(str::to_owned),
            follows: vec!["acme/web:1".parse().unwrap()],
            gates: TargetGates::default(),
        }),
    }
}

/// The targets of a system that were found, and its faults.
fn told(roster: &Roster, system: &str) -> (Vec<String>, Vec<String>) {
    let inventories = roster.inventories().borrow().clone();
    let inventory = &inventories[system];
    let found = inventory.targets.iter().filter(|listing| listing.discovered);
    (
        found.map(|listing| listing.target.name().to_owned()).collect(),
        inventory.faults.iter().map(|fault| format!("{}: {}", fault.thing, fault.text)).collect(),
    )
}

fn one_swarm(place: Place) -> Roster {
    Roster::new(BTreeMap::from([("swarm".to_owned(), place)]))
}

#[test]
fn a_system_is_told_of_once_it_was_looked_through() {
    let roster = one_swarm(place("tcp://m:2375", &["declared"], &[]));
    assert!(roster.inventories().borrow().is_empty());
    roster.found("swarm", Vec::new());
    assert_eq!(roster.inventories().borrow()["swarm"].targets.len(), 1);
}

#[test]
fn found_services_come_and_go() {
    let roster = one_swarm(place("tcp://m:2375", &[], &[]));
    let name: TargetName = "web".parse().unwrap();
    roster.found("swarm", vec![service("web", None, 1), service("api", Some("backend"), 2)]);
    assert_eq!(told(&roster, "swarm").0, ["backend", "web"]);
    assert!(roster.target(&name).is_some() && roster.target(&"api".parse().unwrap()).is_none());
    let mut changes = roster.inventories();
    changes.mark_unchanged();
    roster.found("swarm", vec![service("web", None, 1), service("api", Some("backend"), 2)]);
    assert!(!changes.has_changed().unwrap());
    roster.found("swarm", vec![service("api", Some("backend"), 2)]);
    assert!(changes.has_changed().unwrap());
    assert!(roster.target(&name).is_none());
}

#[test]
fn a_taken_name_is_a_fault_of_the_later_one() {
    let roster = one_swarm(place("tcp://m:2375", &["shop"], &[]));
    let found = vec![
        service("late", Some("web"), 5),
        service("web", None, 3),
        service("other", Some("shop"), 1),
        service("odd", Some("a/b"), 2),
    ];
    roster.found("swarm", found);
    let (names, faults) = told(&roster, "swarm");
    assert_eq!(names, ["web"]);
    assert_eq!(
        faults,
        [
            "service `other`: its name `default/shop` is taken by a target of the configuration",
            "service `odd`: `a/b` is no name: use letters, digits, `_` and `-`, a letter or digit first, 63 at most",
            "service `late`: its name `default/web` is taken by the service `web` on `swarm`",
        ]
    );
}

#[test]
fn what_is_declared_or_of_a_declared_stack_is_no_second_target() {
    let roster = one_swarm(place("tcp://m:2375", &["shop", "id-of-blog"], &["crm"]));
    let in_stack = Labelled { stack: Some("crm".to_owned()), ..service("crm_web", None, 3) };
    roster.found(
        "swarm",
        vec![service("shop", Some("again"), 1), service("blog", None, 2), in_stack, service("web", None, 4)],
    );
    assert_eq!(told(&roster, "swarm"), (vec!["web".to_owned()], Vec::new()));
}

#[test]
fn one_swarm_under_two_names_has_each_service_once() {
    let places = [("a", "tcp://m:2375"), ("b", "tcp://m:2375"), ("c", "tcp://n:2375")]
        .map(|(system, host)| (system.to_owned(), place(host, &[], &[])));
    let roster = Roster::new(places.into());
    for system in ["b", "a"] {
        roster.found(system, vec![service("web", None, 1)]);
    }
    let elsewhere = Labelled { id: "another".to_owned(), ..service("web", None, 2) };
    roster.found("c", vec![elsewhere]);
    assert_eq!(told(&roster, "a"), (vec!["web".to_owned()], Vec::new()));
    assert_eq!(told(&roster, "b"), (Vec::new(), Vec::new()));
    assert_eq!(
        told(&roster, "c").1,
        ["service `web`: its name `default/web` is taken by the service `web` on `a`"]
    );
}

#[test]
fn one_swarm_by_two_addresses_has_each_service_once() {
    let places = [
        ("a", place("unix:///var/run/docker.sock", &["shop"], &[])),
        ("b", place("unix:///run/docker.sock", &[], &[])),
    ];
    let roster = Roster::new(places.map(|(system, place)| (system.to_owned(), place)).into());
    for system in ["b", "a"] {
        roster.found(system, vec![service("web", None, 1), service("shop", Some("again"), 2)]);
    }
    assert_eq!(told(&roster, "a"), (vec!["web".to_owned()], Vec::new()));
    assert_eq!(told(&roster, "b"), (Vec::new(), Vec::new()), "nor a second target of what is declared");
}

#[test]
fn a_mistake_in_the_labels_is_a_fault() {
    let roster = one_swarm(place("tcp://m:2375", &[], &[]));
    let mistake = Mistake { text: "wrong".to_owned(), hint: "mend it".to_owned() };
    roster.found("swarm", vec![Labelled { described: Err(mistake), ..service("web", None, 1) }]);
    let expected = (Vec::new(), vec!["service `web`: wrong".to_owned()]);
    assert_eq!(told(&roster, "swarm"), expected);
}

#[test]
fn what_people_have_to_hear_of_a_system_is_told_until_it_is_over() {
    let roster = one_swarm(Place { searched: None, ..place("tcp://m:2375", &["declared"], &[]) });
    let (thing, text) = ("key `token-a`".to_owned(), "it expires on 2026-12-01, in 9 days".to_owned());
    let warning = ListingFault::of_system(thing, text, "make a new one".to_owned());
    let mut inventories = roster.inventories();
    inventories.borrow_and_update();
    roster.warned("swarm", Concern::Key, Some(warning.clone()));
    assert!(inventories.has_changed().unwrap());
    assert_eq!(told(&roster, "swarm").1, ["key `token-a`: it expires on 2026-12-01, in 9 days"]);
    inventories.borrow_and_update();
    roster.warned("swarm", Concern::Key, Some(warning));
    assert!(!inventories.has_changed().unwrap());
    roster.warned("swarm", Concern::Key, None);
    assert_eq!(told(&roster, "swarm").1, Vec::<String>::new());
}

#[test]
fn a_system_that_cannot_be_looked_through_is_told_of_without_its_targets() {
    let roster = one_swarm(place("tcp://m:2375", &["declared"], &[]));
    let away =
        || ListingFault::of_system("looking for targets".to_owned(), "no socket".to_owned(), String::new());
    let unsearched = || roster.inventories().borrow()["swarm"].unsearched;
    roster.warned("swarm", Concern::Reach, Some(away()));
    assert_eq!(told(&roster, "swarm"), (Vec::new(), vec!["looking for targets: no socket".to_owned()]));
    assert!(unsearched(), "which targets it has nobody knows yet");
    roster.found("swarm", vec![service("web", None, 1)]);
    roster.warned("swarm", Concern::Reach, None);
    assert_eq!(told(&roster, "swarm"), (vec!["web".to_owned()], Vec::new()));
    roster.warned("swarm", Concern::Reach, Some(away()));
    assert_eq!(told(&roster, "swarm").0, ["web"], "what was found stays");
    assert!(!unsearched());
}

#[test]
fn what_looks_run_into_is_told_beside_the_systems() {
    let roster = one_swarm(Place { searched: None, ..place("tcp://m:2375", &["declared"], &[]) });
    let target = "web".parse().unwrap();
    let fault =
        ListingFault::of_looks("image `a:1`".to_owned(), "gone".to_owned(), String::new(), vec![target]);
    roster.looked(&PoolName::default(), Some(vec![fault.clone()]));
    let told = || roster.inventories().borrow().values().find(|told| told.system == LOOKS).cloned();
    assert_eq!(told().unwrap().faults, [fault]);
    roster.looked(&PoolName::default(), None);
    assert_eq!(told(), None, "another worker looks");
}
