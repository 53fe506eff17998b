//! Writing a stack. Portainer has no conditional write, answers late or never, and what it answers is not what became
//! of it: whatever is in doubt is read, and nothing is written twice blindly.

use std::time::Duration;

use proto::ImageRef;
use tokio::time::{Instant, sleep};

use super::{
    PortainerStack,
    answer::{Call, Failure, last_lines},
    client::Update,
    ground::Ground,
    image::meant,
    objects::{Env, Stack, Status},
    patience::patiently,
    text::StackFile,
};
use crate::{aside::say_aside, target::TargetError};

/// How long it is looked for what became of a write that is over, and of which nobody knows how it ended.
const DOUBTED_FOR: Duration = Duration::from_secs(30);
/// How long a file that nothing came of yet may stay as it was.
pub(super) const COMES_WITHIN: Duration = Duration::from_secs(5);
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The first version that puts a file back which was refused.
const FIRST_THAT_PUTS_BACK: (u32, u32) = (2, 16);
/// How long Portainer's own work on a stack is waited for.
const DEPLOYS_FOR: Duration = Duration::from_secs(60);

/// A write, and what it stands on.
pub(super) struct Writing<'a> {
    pub(super) stack: &'a Stack,
    /// The file as it was read.
    pub(super) before: &'a str,
    pub(super) text: &'a str,
    pub(super) env: &'a Env,
    pub(super) prune: bool,
    pub(super) pull: bool,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// Portainer has the file, and has told the engine, or is about to.
    Taken,
    /// What the docker command refused it with. Some of it may have been done.
    Refused(String),
}

impl PortainerStack {
    /// Writes the stack.
    ///
    /// # Errors
    /// [`TargetError::Conflict`] where somebody else's write came between.
    pub(super) async fn write(&self, writing: &Writing<'_>) -> Result<Written, TargetError> {
        let Writing { text, env, prune, pull, .. } = *writing;
        // The last moment at which it can be seen that somebody else was here: at the variables, which are sent back
        // as they were read, or at the file. A wait for others between the look and the write would make it long.
        let client = self.portainer.client.in_one_place().await?;
        if !client.stack(writing.stack.id, &self.name).await?.is_as_read(writing.stack)
            || client.file(writing.stack).await? != writing.before
        {
            return Err(TargetError::Conflict);
        }
        let update = Update { text, env, prune, pull };
        self.portainer.asked.note_write(writing.stack, text);
        let written = client.update(writing.stack, &update).await;
        drop(client);
        if !matches!(&written, Err(failure) if failure.is_in_doubt()) {
            self.portainer.asked.note_over(writing.stack.id, text);
        }
        let Err(failure) = written else { return self.read_back(writing).await };
        if failure.is_in_doubt() {
            return self.find_out(writing, self.patience_for(&failure)).await;
        }
        if matches!(&failure, Failure::Answered(answer) if answer.status.as_u16() == 409) {
            self.wait_for_portainer(writing.stack).await?;
            return Err(TargetError::Conflict);
        }
        let out_of_sequence = matches!(&failure, Failure::Answered(answer) if answer.words().contains("update out of sequence"));
        if out_of_sequence {
            // Somebody changed a service at that very moment.
            sleep(LOOK_EVERY).await;
            return Err(TargetError::Conflict);
        }
        let what = format!("stack `{}`", self.name);
        let is_of_a_deploy = matches!(&failure, Failure::Answered(answer) if answer.status.as_u16() == 500);
        let error =
            failure.of(self.portainer.client.system(), Call::write("update the stack", &what).known_to_all());
        if is_of_a_deploy && let TargetError::Refused { answer, .. } = &error {
            return self.read_refusal(writing, answer).await;
        }
        Err(error)
    }

    /// A success proves our text only where the file is ours.
    async fn read_back(&self, writing: &Writing<'_>) -> Result<Written, TargetError> {
        let client = &self.portainer.client;
        let file = patiently(|| client.file(writing.stack)).await?;
        if file == writing.text {
            return Ok(Written::Taken);
        }
        let stack = patiently(|| client.stack(writing.stack.id, &self.name)).await?;
        match stack.status {
            // It put the former file back, which the watch looks into.
            Status::Error if file == writing.before => Ok(Written::Taken),
            Status::Unknown | Status::Active | Status::Inactive | Status::Deploying | Status::Error => {
                Err(TargetError::Conflict)
            }
        }
    }

    /// Of two writes at once one gets the other's error. The file is put back to what stood before the later one: where
    /// that is ours, it is ours that the other's turn deploys.
    async fn read_refusal(&self, writing: &Writing<'_>, words: &str) -> Result<Written, TargetError> {
        let client = &self.portainer.client;
        let file = patiently(|| client.file(writing.stack)).await?;
        let refused = || Written::Refused(self.without_values(writing.env, &last_lines(words)));
        match file {
            file if file == writing.before => Ok(refused()),
            file if file == writing.text => match patiently(|| self.puts_files_back()).await? {
                true if writing.text != writing.before => {
                    self.find_out(writing, client.longest_deploy()).await
                }
                true | false => Ok(refused()),
            },
            _ => Err(TargetError::Conflict),
        }
    }

    /// Whether a file that was refused is put back: versions before 2.16 keep it.
    async fn puts_files_back(&self) -> Result<bool, TargetError> {
        let version = self.portainer.client.version().await?;
        let mut numbers = version.split('.').map(|part| part.parse().unwrap_or_default());
        let (major, minor): (u32, u32) =
            (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        Ok((major, minor) >= FIRST_THAT_PUTS_BACK)
    }

    /// Reads what became of a write that nobody answered. Portainer deploys one stack after the other and pulls images
    /// before it does: a file that is ours beside a record that is old says that it waits or works, and a second write now
    /// would go into the first one's rollout.
    ///
    /// Whoever is let go of meanwhile leaves it in doubt, and the next attempt looks on.
    async fn find_out(&self, writing: &Writing<'_>, patience: Duration) -> Result<Written, TargetError> {
        let written = self.look_for(writing, patience).await;
        self.portainer.asked.note_over(writing.stack.id, writing.text);
        written
    }

    async fn look_for(&self, writing: &Writing<'_>, patience: Duration) -> Result<Written, TargetError> {
        let (begun, client) = (Instant::now(), &self.portainer.client);
        let asked = self.portainer.asked.write_begun(writing.stack, writing.text);
        let brings = self.brings(writing);
        let mut was_ours = false;
        let mut waits = Waits::new(&self.name);
        loop {
            let stack = client.stack(writing.stack.id, &self.name).await;
            let file = client.file(writing.stack).await;
            match (stack, file) {
                (Ok(stack), Ok(file)) if file == writing.text => {
                    was_ours = true;
                    let is_done = stack.updated_at != asked.updated_at || stack.status == Status::Deploying;
                    if is_done || self.is_told(&stack, &brings).await {
                        return Ok(Written::Taken);
                    }
                    // Without dates nothing will ever tell of it; the same text again proves nothing by standing there.
                    let tells_nothing = !stack.is_dated && brings.is_empty();
                    if tells_nothing && begun.elapsed() >= DOUBTED_FOR {
                        let is_another = writing.text != writing.before;
                        return if is_another { Ok(Written::Taken) } else { Err(self.no_answer()) };
                    }
                }
                (Ok(_), Ok(file)) if file == writing.before => {
                    // It failed and was put back, or it never came: either way it is to be decided anew.
                    if was_ours || begun.elapsed() >= COMES_WITHIN {
                        return Err(self.no_answer());
                    }
                }
                (Ok(_), Ok(_)) => return Err(TargetError::Conflict),
                (Err(error), _) | (_, Err(error)) if asked.at.elapsed() >= patience => return Err(error),
                (Err(_), _) | (_, Err(_)) => {}
            }
            if asked.at.elapsed() >= patience {
                return Err(self.no_answer());
            }
            waits.go_on().await;
        }
    }

    /// How long, from when it was asked for, it is looked for what became of a call that ended so.
    fn patience_for(&self, failure: &Failure) -> Duration {
        if failure.may_go_on() { self.portainer.client.longest_deploy() } else { DOUBTED_FOR }
    }

    /// How much longer that is now.
    pub(super) fn patience(&self, failure: &Failure, asked: Instant) -> Duration {
        self.patience_for(failure).saturating_sub(asked.elapsed()).max(DOUBTED_FOR)
    }

    /// Looks on at what stands in the file and may not be deployed yet, where nobody saw the end of that: what this worker
    /// wrote, for whichever job, and what `is_mine`, which one that was killed may have written.
    ///
    /// # Errors
    /// [`TargetError::Conflict`] once it is to be decided anew.
    pub(super) async fn look_on(&self, ground: &Ground, is_mine: bool) -> Result<(), TargetError> {
        let (text, stack, asked) = (ground.file.text(), &ground.stack, &self.portainer.asked);
        // Without dates, nothing tells of a write that another worker began.
        let may_be_mine = || is_mine && stack.is_dated && !asked.is_over(stack.id, text);
        if !asked.is_in_doubt(stack.id, text) && !may_be_mine() {
            return Ok(());
        }
        let (before, env) = ("", &stack.env);
        let writing = Writing { stack, before, text, env, prune: stack.prune, pull: true };
        match self.find_out(&writing, self.portainer.client.longest_deploy()).await {
            Ok(Written::Taken | Written::Refused(_))
            | Err(TargetError::NoAnswer { .. } | TargetError::Conflict) => Err(TargetError::Conflict),
            Err(error) => Err(error),
        }
    }

    /// The images by which it is seen that the engine was told of a write.
    fn brings(&self, writing: &Writing<'_>) -> Vec<(String, ImageRef)> {
        let Ok(file) = StackFile::read(writing.text) else { return Vec::new() };
        let comes = |service: &&str| !file.is_idle(service);
        let is_read = |service: &str| file.image(service).is_some_and(|it| meant(it, writing.env).is_some());
        // Of what is built there, the date alone tells.
        if writing.stack.is_dated && !file.services().filter(comes).all(is_read) {
            return Vec::new();
        }
        let before = StackFile::read(writing.before).ok();
        let brought = |service: &str| {
            let image = meant(file.image(service)?, writing.env)?;
            let stood = before.as_ref().and_then(|before| meant(before.image(service)?, &writing.stack.env));
            (stood.as_ref() != Some(&image)).then(|| (service.to_owned(), image))
        };
        file.services().filter(comes).filter_map(brought).collect()
    }

    /// Whether the engine runs what a write brings. Not to know is no.
    async fn is_told(&self, stack: &Stack, brings: &[(String, ImageRef)]) -> bool {
        if brings.is_empty() {
            return false;
        }
        let Ok(live) = self.live(stack).await else { return false };
        brings.iter().all(|(service, image)| live.runs(stack, service, image))
    }

    fn no_answer(&self) -> TargetError {
        TargetError::NoAnswer {
            system: self.portainer.client.system().to_owned(),
            attempted: "update the stack",
        }
    }

    /// Waits until Portainer is done with what it does to the stack.
    async fn wait_for_portainer(&self, stack: &Stack) -> Result<(), TargetError> {
        let until = Instant::now() + DEPLOYS_FOR;
        loop {
            let stack = self.portainer.client.stack(stack.id, &self.name).await?;
            if stack.status != Status::Deploying {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(TargetError::Busy { system: self.portainer.client.system().to_owned() });
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

const UNANSWERED: &str =
    "Portainer has not said what became of it, and may be at work on it; it is looked for until it is seen";

/// Waiting for Portainer, and saying so once.
pub(super) struct Waits<'a> {
    stack: &'a str,
    begun: Instant,
    is_said: bool,
}

impl<'a> Waits<'a> {
    pub(super) fn new(stack: &'a str) -> Waits<'a> {
        Waits { stack, begun: Instant::now(), is_said: false }
    }

    pub(super) async fn go_on(&mut self) {
        if !self.is_said && self.begun.elapsed() >= COMES_WITHIN {
            self.is_said = true;
            say_aside(UNANSWERED);
            tracing::info!(stack = self.stack, "{UNANSWERED}");
        }
        sleep(LOOK_EVERY).await;
    }
}
