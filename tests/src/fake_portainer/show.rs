//! How a stack is shown.

use serde_json::{Value, json};

use super::{Family, State, USERNAME};

/// When every stack was made.
const MADE_AT: i64 = 1_794_000_000;

impl State {
    /// The record of a stack; null where there is none. Who may see it is left out, as answers to writes leave it out.
    pub(super) fn show(&self, id: u64) -> Value {
        let Some(record) = self.stacks.get(&id) else { return Value::Null };
        if self.family == Family::First {
            return json!({
                "Id": id, "Name": record.name, "Type": record.kind, "EndpointId": record.environment, "SwarmId": "fakeswarm",
                "EntryPoint": "docker-compose.yml", "Env": record.env, "ResourceControl": null, "ProjectPath": "/data",
            });
        }
        let mut shown = json!({
            "Id": id,
            "Name": record.name,
            "Type": record.kind,
            "EndpointId": record.environment,
            "SwarmId": if record.kind == 1 { "fakeswarm" } else { "" },
            "EntryPoint": "docker-compose.yml",
            "Env": record.env,
            "ResourceControl": null,
            "Status": record.status,
            "ProjectPath": format!("/data/compose/{id}"),
            "CreationDate": MADE_AT,
            "CreatedBy": USERNAME,
            "UpdateDate": record.update_date,
            "UpdatedBy": if record.update_date == 0 { "" } else { USERNAME },
            "AdditionalFiles": null,
            "AutoUpdate": whole(&record.auto_update),
            "Option": record.option,
            "GitConfig": without_password(&record.git),
            "FromAppTemplate": record.cut_off,
            "Namespace": "",
        });
        if !record.webhook.is_empty() {
            shown["Webhook"] = json!(record.webhook);
        }
        if self.family == Family::Asynchronous {
            shown["DeploymentStatus"] = json!([{"Status": record.status, "Time": 0, "Message": record.said}]);
        }
        shown
    }
}

/// The password is never shown, and the commit is.
fn without_password(git: &Value) -> Value {
    let mut git = git.clone();
    if git.is_object() {
        git["ConfigHash"] = json!("a42c33e39002693b046fd5cac1c8aa40531325e5");
        git["TLSSkipVerify"] = json!(git["TLSSkipVerify"] == true);
    }
    if git["Authentication"].is_object() {
        git["Authentication"]["Password"] = json!("");
        git["Authentication"]["GitCredentialID"] = json!(0);
    }
    git
}

/// What was left out is shown empty.
fn whole(auto_update: &Value) -> Value {
    if !auto_update.is_object() {
        return Value::Null;
    }
    let mut whole =
        json!({"Interval": "", "Webhook": "", "JobID": "", "ForceUpdate": false, "ForcePullImage": false});
    for (name, value) in auto_update.as_object().into_iter().flatten() {
        whole[name.as_str()] = value.clone();
    }
    whole
}
