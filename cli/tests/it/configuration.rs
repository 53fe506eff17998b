//! Configurations that cannot be used.

use crate::shell::Shell;

const FAULTY: &str = "version: 1\nlisten: 127.0.0.1:0\nlisen: x\nsystems:\n  lab: {kind: rehersal}\ntargets:\n  demo: {at: labb}\n";

#[test]
fn every_fault_is_told_with_its_line() {
    let shell = Shell::new();
    shell.write("longshore.yaml", FAULTY);
    for command in ["check", "up", "worker"] {
        let ran = shell.run(&format!("{command} --config longshore.yaml")).ended(2);
        ran.said(&[
            "longshore.yaml:5:15: systems.lab.kind",
            "longshore.yaml:7:14: targets.demo.at",
            "hint: ",
        ]);
    }
    shell.run("check --config longshore.yaml").ended(2).said(&["longshore.yaml:3:1", "lisen"]);
}

#[test]
fn a_file_that_is_not_there_is_told() {
    Shell::new().run("check --config nowhere.yaml").ended(2).said(&["nowhere.yaml", "no such file"]);
}

#[test]
fn the_configuration_in_the_readme_can_be_used() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let yaml = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let shell = Shell::new();
    for secret in ["hook_registry", "hook_acr", "hook_ci", "acr"] {
        shell.write(&format!("secrets/{secret}"), "s3cret\n");
    }
    let secrets = shell.folder().join("secrets");
    shell.write("longshore.yaml", &yaml.replace("/run/secrets", secrets.to_str().unwrap()));
    let ran = shell.run("check --config longshore.yaml").ended(0);
    ran.said(&["aliyun-acr", "shop", "harbor.acme.lan/shop/web:dev-*", "can be used"]);
}

#[test]
fn processes_of_their_own_need_a_broker() {
    let shell = Shell::new();
    shell.write("longshore.yaml", "queue: embedded\n");
    for command in ["ingress", "worker"] {
        let ran = shell.run(&format!("{command} --config longshore.yaml")).ended(2);
        ran.said(&["`embedded`", "longshore up"]);
    }
}
