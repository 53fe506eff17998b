//! What a person needs to know before the first deploy: what is there, and what these credentials may do.

use proto::{Follow, ImageRef, Operation, TargetName};

use super::{
    Portainer, PortainerStack,
    client::Who,
    fence::Marks,
    ground::Ground,
    image::Edits,
    live::Live,
    objects::{Environment, Stack, Status},
    place::Where,
    text::StackFile,
};
use crate::target::{TargetError, findings::Findings};

/// Stands for whatever tag a push brings.
const ANY_TAG: &str = "any";
/// So many stacks are named to whoever looks for one that is not there.
const MOST_NAMED: usize = 20;

impl Portainer {
    /// Asks for everything that deploys to these stacks will need, each with what it follows. Nothing is changed.
    pub(crate) async fn connect(&self, stacks: &[(&TargetName, &str, &[Follow])]) -> Findings {
        let mut told = self.client.findings();
        match self.client.version().await {
            Ok(version) => told.found.push(format!("Portainer {version}")),
            Err(error) => {
                told.lacks(None, &error);
                return told;
            }
        }
        match self.environment().await {
            Ok(environment) => told.found.push(format!("environment `{}`", environment.name)),
            Err(error) => {
                told.lacks(None, &error);
                return told;
            }
        }
        match self.client.who().await {
            Ok(who) => told.found.push(allowed(&who)),
            Err(error) => told.lacks(None, &error),
        }
        for (target, name, follows) in stacks {
            if let Err(error) = self.stack(name).describe((target, follows), &mut told).await {
                told.lacks(Some(target), &error);
            }
        }
        told
    }
}

fn allowed(who: &Who) -> String {
    match who.is_administrator {
        true => format!("asked as {who}, an administrator: may deploy every stack"),
        false => format!(
            "asked as {who}, no administrator: may see and deploy only the stacks that were given to it, and a \
             stack that an administrator made is not among them until it is"
        ),
    }
}

impl PortainerStack {
    async fn describe(
        &self,
        (target, follows): (&TargetName, &[Follow]),
        told: &mut Findings,
    ) -> Result<(), TargetError> {
        if let Where::Nowhere(environment) = self.find().await? {
            return self.tell_of_none(&environment, (target, follows), told).await;
        }
        let stack = self.found().await?;
        let live = self.live(&stack).await?;
        let kind = match &live {
            Live::Swarm(_) => "swarm",
            Live::Compose(_) => "compose",
        };
        let images: Vec<String> = live
            .images(&stack)
            .iter()
            .map(|(name, image)| format!("{name} ({})", image.familiar()))
            .collect();
        let images = if images.is_empty() { "nothing of it runs".to_owned() } else { images.join(", ") };
        let mut line = format!("stack `{}` ({kind}): {images}", self.name);
        if stack.git.is_some() {
            line.push_str(
                "; its file is kept in git, so it can be redeployed, and no image can be set in it",
            );
        }
        match stack.status {
            Status::Inactive => line.push_str("; it is stopped"),
            Status::Error => line.push_str("; its last deploy failed"),
            Status::Unknown | Status::Active | Status::Deploying => {}
        }
        told.found.push(line);
        match self.editable(&stack).await? {
            None => {}
            Some(Err(why)) => told.missing.push(why),
            Some(Ok(ground)) => {
                for follow in follows {
                    match self.taking(&ground, follow) {
                        Ok(line) => told.found.push(line),
                        Err(why) => {
                            let stack = &self.name;
                            told.missing
                                .push(format!("`{follow}` can go nowhere in the stack `{stack}`: {why}"));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// A stack that is not there may be yet to be made, and may not be to be seen; or its name is misspelled.
    async fn tell_of_none(
        &self,
        environment: &Environment,
        (target, follows): (&TargetName, &[Follow]),
        told: &mut Findings,
    ) -> Result<(), TargetError> {
        let client = &self.portainer.client;
        let all = client.stacks().await?;
        let here = all.iter().filter(|stack| stack.environment == environment.id);
        let names: Vec<String> = here.map(|stack| format!("`{}`", stack.name)).take(MOST_NAMED).collect();
        let names = if names.is_empty() { "no stack".to_owned() } else { names.join(", ") };
        let mut line = format!(
            "target `{target}`: there is no stack `{}` in the environment `{}`, which has {names}; `longshore stack deploy \
             {target} --file FILE` makes it",
            self.name, environment.name
        );
        let is_seen = client.who().await?.is_administrator;
        if !is_seen {
            line.push_str("; if it is there, give it to the user of these credentials in Portainer");
        }
        // An image alone makes no stack.
        let may_come = is_seen && follows.is_empty();
        if may_come {
            told.found.push(line)
        } else {
            told.missing.push(line)
        }
        Ok(())
    }

    /// The stored file with what notes stand in it; a reason where no image can be set in it. Of one that is kept in git
    /// that is said elsewhere.
    async fn editable(&self, stack: &Stack) -> Result<Option<Result<Ground, String>>, TargetError> {
        if stack.git.is_some() {
            return Ok(None);
        }
        let text = self.portainer.client.file(stack).await?;
        let read = StackFile::read(&text).map_err(|why| {
            format!(
                "no image can be set in the stack `{}`, since its stored file cannot be edited: {why}; mend it in \
                 Portainer's editor",
                self.name
            )
        });
        Ok(Some(read.map(|file| Ground { marks: Marks::read(&text), stack: stack.clone(), file })))
    }

    /// Which services take what a push brings by this rule; a reason where none would, or it could not be written.
    fn taking(&self, ground: &Ground, follow: &Follow) -> Result<String, String> {
        let image = ImageRef::new(follow.repository().clone(), Some(ANY_TAG), None);
        let image = image.map_err(|error| crate::verdict::chain(&error))?;
        let operation = Operation::SetImage { image: image.clone(), service: None };
        let names = self.chosen(ground, &operation, None).map_err(|error| crate::verdict::chain(&error))?;
        let image = self.portainer.registries.pulled_as(&image);
        Edits::to_bring(&image, (&names, &names), &ground.file, &ground.stack.env)?;
        Ok(format!("`{follow}` goes to {}", names.join(", ")))
    }
}
