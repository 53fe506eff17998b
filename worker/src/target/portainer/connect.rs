//! What a person needs to know before the first deploy: what is there, and what these credentials may do.

use super::{
    Portainer, PortainerStack,
    client::Who,
    live::Live,
    objects::{Stack, Status},
    text::StackFile,
};
use crate::target::{TargetError, findings::Findings};

impl Portainer {
    /// Asks for everything that deploys will need. Nothing is changed.
    pub(crate) async fn connect(&self, stacks: &[&str]) -> Findings {
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
        for name in stacks {
            if let Err(error) = self.stack(name).describe(&mut told).await {
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
    async fn describe(&self, told: &mut Findings) -> Result<(), TargetError> {
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
        told.missing.extend(self.uneditable(&stack).await?);
        Ok(())
    }

    /// Why no image can be set in the stored file, where that is so. Of one that is kept in git it is said elsewhere.
    async fn uneditable(&self, stack: &Stack) -> Result<Option<String>, TargetError> {
        if stack.git.is_some() {
            return Ok(None);
        }
        let text = self.portainer.client.file(stack).await?;
        let why = StackFile::read(&text).err();
        Ok(why.map(|why| {
            format!(
                "no image can be set in the stack `{}`, since its stored file cannot be edited: {why}; mend it in \
                 Portainer's editor",
                self.name
            )
        }))
    }
}
