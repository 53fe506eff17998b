//! What the variables of a step say, and what is wrong with them.

use std::collections::BTreeMap;

use super::*;

const GOOD: [(&str, &str); 7] = [
    ("DEPLOY_ENV", "dev"),
    ("IMG_VERSION", "0.1.2"),
    ("CI_REGISTRY_IMAGE", "harbor.acme.lan:8443/shop/web"),
    ("CI_DEV_DEPLOY_USER", "ci"),
    ("CI_DEV_DEPLOY_PWD", "sup3rs3cret"),
    ("CI_DEV_DEPLOY_URL", "https://p.lan:9443/api/"),
    ("CI_DEV_DELPOY_PATH", "1/5/web, 1/5/api;2/6/web;1/5/web;"),
];

fn read(by: By, changed: &[(&str, &str)]) -> Result<CiDeploy, String> {
    let mut all: BTreeMap<&str, &str> = GOOD.into();
    all.extend(changed.iter().copied());
    CiDeploy::read(by, &|name| all.get(name).map(|&value| value.to_owned()))
        .map_err(|faults| faults.to_string())
}

#[test]
fn the_variables_of_a_script_are_read_as_they_are() {
    let ci = read(By::Itself, &[]).unwrap();
    assert_eq!(ci.image.to_string(), "harbor.acme.lan:8443/shop/web:dev-0.1.2");
    assert_eq!(ci.portainer.as_str(), "https://p.lan:9443");
    let places: Vec<String> = ci.places.iter().map(ToString::to_string).collect();
    assert_eq!(places, ["1/5/web", "1/5/api", "2/6/web"]);
    assert_eq!(ci.stacks().len(), 2);
}

#[test]
fn a_certificate_is_taken_from_the_variable_or_from_the_file_it_names() {
    let told = read(By::Itself, &[("CI_DEV_DEPLOY_CA", "/nowhere/ca.pem")]).unwrap_err();
    assert!(told.contains("the file that CI_DEV_DEPLOY_CA names cannot be read"), "{told}");
    let broken = "-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n";
    let told = read(By::Itself, &[("CI_DEV_DEPLOY_CA", broken)]).unwrap_err();
    assert!(told.contains("CI_DEV_DEPLOY_CA holds no certificate in PEM"), "{told}");
    // Well-formed as far as anybody looks before it is used.
    let whole = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, whole).unwrap();
    for given in [whole, path.to_str().unwrap()] {
        let ci = read(By::Itself, &[("CI_DEV_DEPLOY_CA", given)]).unwrap();
        assert_eq!(ci.authorities.as_deref(), Some(whole));
    }
    assert_eq!(read(By::Fleet, &[("CI_DEV_DEPLOY_CA", "/nowhere")]).unwrap().authorities, None);
    assert_eq!(read(By::Itself, &[("CI_DEV_DEPLOY_CA", " ")]).unwrap().authorities, None);
}

#[test]
fn a_release_deploys_what_is_latest_and_needs_no_version() {
    let release = [
        ("DEPLOY_ENV", "release"),
        ("IMG_VERSION", ""),
        ("CI_PRO_DEPLOY_URL", "http://p.lan:9000"),
        ("CI_PRO_DELPOY_PATH", "3/7/web"),
    ];
    let ci = read(By::Fleet, &release).unwrap();
    assert_eq!(ci.image.to_string(), "harbor.acme.lan:8443/shop/web:latest");
    assert_eq!((ci.portainer.as_str(), ci.places.len()), ("http://p.lan:9000", 1));
    let told = read(By::Itself, &release).unwrap_err();
    assert!(told.contains("CI_PRO_DEPLOY_USER is not set"), "{told}");
    assert!(told.contains("CI_PRO_DEPLOY_PWD is not set"), "{told}");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let wrong = [
        ("IMG_VERSION", "1 2"),
        ("CI_DEV_DEPLOY_PWD", ""),
        ("CI_DEV_DEPLOY_USER", " "),
        ("CI_DEV_DEPLOY_URL", "https://ci:sup3rs3cret@p.lan"),
        ("CI_DEV_DELPOY_PATH", "1/5/web,one/5/web;1/5;1/5/a b"),
    ];
    let told = read(By::Itself, &wrong).unwrap_err();
    for said in [
        "IMG_VERSION cannot be part of a tag",
        "CI_DEV_DEPLOY_PWD is not set",
        "CI_DEV_DEPLOY_USER is not set",
        "CI_DEV_DEPLOY_URL holds a user or a password",
        "names `one/5/web`",
        "names `1/5`",
        "names `1/5/a b`",
    ] {
        assert!(told.contains(said), "`{said}` is missing in\n{told}");
    }
    assert_eq!(told.matches("hint: ").count(), 7, "{told}");
    assert!(!told.contains("sup3rs3cret"), "{told}");
}

#[test]
fn a_name_that_is_spelled_well_is_told_to_be_the_other() {
    let well = |name: &str| match name {
        "CI_DEV_DELPOY_PATH" => None,
        "CI_DEV_DEPLOY_PATH" => Some("1/5/web".to_owned()),
        other => GOOD.iter().find(|(name, _)| *name == other).map(|(_, value)| (*value).to_owned()),
    };
    let told = CiDeploy::read(By::Fleet, &well).unwrap_err().to_string();
    assert!(told.contains("CI_DEV_DELPOY_PATH is not set, but CI_DEV_DEPLOY_PATH is"), "{told}");
    assert_eq!(told.matches("hint: ").count(), 1, "{told}");
}

#[test]
fn each_variable_is_blamed_for_its_own() {
    for (name, value, said) in [
        ("DEPLOY_ENV", "prod", "DEPLOY_ENV is `prod`"),
        ("DEPLOY_ENV", "", "DEPLOY_ENV is not set"),
        ("CI_REGISTRY_IMAGE", "acme/web:1", "CI_REGISTRY_IMAGE is `acme/web:1`"),
        ("CI_REGISTRY_IMAGE", "", "CI_REGISTRY_IMAGE is not set"),
        ("CI_DEV_DEPLOY_URL", "p.lan:9443", "CI_DEV_DEPLOY_URL is no address"),
        ("CI_DEV_DELPOY_PATH", ";,", "CI_DEV_DELPOY_PATH names no place"),
    ] {
        let told = read(By::Itself, &[(name, value)]).unwrap_err();
        assert!(told.contains(said), "{told}");
        assert_eq!(told.matches("hint: ").count(), 1, "{told}");
    }
}
