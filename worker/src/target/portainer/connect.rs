//! What a person needs to know before the first deploy: what is there, and what these credentials may do.

use proto::{Follow, ImageRef, Operation};

use super::{
    Portainer, PortainerStack,
    client::Who,
    fence::Marks,
    ground::Ground,
    image::Edits,
    live::Live,
    objects::{Stack, Status},
    text::StackFile,
};
use crate::target::{TargetError, findings::Findings};

/// Stands for whatever tag a push brings.
const ANY_TAG: &str = "any";

impl Portainer {
    /// Asks for everything that deploys to these stacks will need, each with what it follows. Nothing is changed.
    pub(crate) async fn connect(&self, stacks: &[(&str, &[Follow])]) -> Findings {
        let mut told = Findings::default();
        match self.client.version().await {
            Ok(version) => told.found.push(format!("Portainer {version}")),
            Err(error) => {
                told.missing.push(crate::verdict::chain(&error));
                return told;
            }
        }
        match self.environment().await {
            Ok(environment) => told.found.push(format!("environment `{}`", environment.name)),
            Err(error) => {
                told.missing.push(crate::verdict::chain(&error));
                return told;
            }
        }
        match self.client.who().await {
            Ok(who) => told.found.push(allowed(&who)),
            Err(error) => told.missing.push(crate::verdict::chain(&error)),
        }
        for (name, follows) in stacks {
            if let Err(error) = self.stack(name).describe(follows, &mut told).await {
                told.missing.push(crate::verdict::chain(&error));
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
    async fn describe(&self, follows: &[Follow], told: &mut Findings) -> Result<(), TargetError> {
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
        let mut line = format!("stack `{}` ({kind}): {}", self.name, images.join(", "));
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
