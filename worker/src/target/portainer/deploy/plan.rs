//! What a text would change on a stack, or why it would be refused: by the checks that a deploy makes before it writes.
//!
//! It is compared with the file and the variables that Portainer keeps, since these are what would be written over.

use std::collections::BTreeSet;

use proto::{
    Given, JobId, StackText, Timestamp,
    ask::{Change, Plan},
};
use serde_json::{Value, json};

use super::{
    super::{
        PortainerStack,
        ground::Ground,
        image::{meant, variables},
        live::Live,
        objects::Env,
        text::StackFile,
        veil::{HIDDEN, Veil},
    },
    FoundText, Stands,
};
use crate::target::{
    TargetError,
    difference::{differences, is_of_services, said},
};

const COMPARED: &str = "compared with the file and the variables that Portainer keeps: what was changed on the engine since is not seen";
const AS_IT_IS: &str = "file and variables are as wished already; a deploy would look its tags up anew";

impl PortainerStack {
    pub(in crate::target::portainer) async fn planned_text(
        &self,
        text: &StackText,
    ) -> Result<Plan, TargetError> {
        let found = self.found_for_text(text).await?;
        match &found.stands {
            Stands::Here(here) => found.planned_over(&here.0, &here.1),
            Stands::Nowhere { environment } => found.planned_anew(*environment).await,
        }
    }
}

impl FoundText {
    async fn planned_anew(&self, environment: u64) -> Result<Plan, TargetError> {
        self.may_be_made(environment).await?;
        let env = self.env(&Env::default())?;
        let comes = |service| change(service, None, self.wished(&self.file, &env, service));
        let changes = self.file.services().map(comes).collect();
        Ok(Plan { changes, notes: vec![format!("there is no stack `{}` yet: it is made", self.target.name)] })
    }

    fn planned_over(&self, ground: &Ground, live: &Live) -> Result<Plan, TargetError> {
        self.refuse_to_replace(ground)?;
        // As a job would have it that is made now.
        let (file, env) = self.with_newer_kept(ground, JobId::mint(Timestamp::now(), None))?;
        let mut plan = Plan { changes: self.images((ground, (&file, &env))), notes: Vec::new() };
        self.tell_what_goes((ground, live, &file), &mut plan);
        plan.changes.extend(self.words(ground, &file));
        plan.changes.extend(self.variables(ground, (&file, &env)));
        if plan.changes.is_empty() {
            plan.notes.push(AS_IT_IS.to_owned());
        }
        plan.notes.push(COMPARED.to_owned());
        Ok(plan)
    }

    /// Services that come, and those that get another image.
    fn images(&self, (ground, (file, env)): (&Ground, (&StackFile, &Env))) -> Vec<Change> {
        let known: BTreeSet<&str> = ground.file.services().collect();
        let of = |service: &str| {
            let to = self.wished(file, env, service);
            let from = self.wished(&ground.file, &ground.stack.env, service);
            (from != to || !known.contains(service)).then(|| change(service, from, to))
        };
        file.services().filter_map(of).collect()
    }

    /// The image that a file means for a service, or its words where these do not tell.
    fn wished(&self, file: &StackFile, env: &Env, service: &str) -> Option<Value> {
        let written = file.image(service)?;
        let image = meant(written, env);
        Some(json!(image.map_or_else(|| written.to_owned(), |image| image.familiar())))
    }

    fn tell_what_goes(&self, (ground, live, file): (&Ground, &Live, &StackFile), plan: &mut Plan) {
        let mut there: BTreeSet<String> = ground.file.services().map(str::to_owned).collect();
        there.extend(live.services(&ground.stack));
        for service in there.iter().filter(|name| !file.services().any(|other| other == *name)) {
            match self.text.prune {
                true => {
                    let from = self.wished(&ground.file, &ground.stack.env, service);
                    plan.changes.push(change(service, from.or_else(|| Some(json!("it runs"))), None));
                }
                false => plan.notes.push(format!("`{service}` is not in the text, and is left as it is")),
            }
        }
    }

    /// What the text says otherwise than the file, but for what was told already.
    fn words(&self, ground: &Ground, file: &StackFile) -> Vec<Change> {
        let of = format!("stack {}", self.target.name);
        let (Some(before), Some(after)) = (said(ground.file.text()), said(file.text())) else {
            let to = Some(json!("what stands there cannot be read; its options are those of this text"));
            return vec![Change { of, field: "compose".to_owned(), from: None, to }];
        };
        let veil = Veil::of(ground.stack.env.pairs());
        let mut changes = Vec::new();
        differences(&before, &after, &mut Vec::new(), &mut |path, from, to| {
            if !is_of_services(path) {
                let name = path.last().map_or("", String::as_str);
                let shown = |value: Option<&Value>| value.map(|value| veil.value(name, value));
                let (from, to) = (shown(from), shown(to));
                changes.push(Change { of: of.clone(), field: path.join("."), from, to });
            }
        });
        changes
    }

    /// Variables that the text comes with. Their values are told where they decide images, which are told anyway.
    fn variables(&self, ground: &Ground, (file, env): (&StackFile, &Env)) -> Vec<Change> {
        let images = file.services().filter_map(|service| file.image(service));
        let of_images: BTreeSet<String> = images.flat_map(variables).collect();
        let veil = Veil::of(env.pairs());
        let change = |(name, given): (&String, &Given)| {
            let (from, to) = (ground.stack.env.get(name), env.get(name));
            let shown = |value: &str| match of_images.contains(name) {
                true => veil.value(name, &json!(value)),
                false => json!(HIDDEN),
            };
            let (shown_from, shown_to) = match given {
                Given::Value(_) => (from.map(shown), to.map(shown)),
                Given::Secret(named) => (from.map(|_| json!(HIDDEN)), Some(json!(named))),
            };
            let of = format!("stack {}", self.target.name);
            let field = format!("variables.{name}");
            (from != to).then_some(Change { of, field, from: shown_from, to: shown_to })
        };
        self.text.env.iter().filter_map(change).collect()
    }
}

fn change(service: &str, from: Option<Value>, to: Option<Value>) -> Change {
    Change { of: format!("service {service}"), field: "image".to_owned(), from, to }
}
