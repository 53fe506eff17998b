//! `longshore deploy --from-ci-env`: what a CI step says in its variables, brought to every place that they name.

mod alone;
mod fleet;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream::FuturesUnordered};
use proto::{Event, ImageRef, JobId, Reason, State, TargetName, api::Wish};
use serde::Serialize;

use super::deploy::{Wait, passed};
use crate::{
    arguments::Deploy,
    ci::{By, CiDeploy, CiPlace},
    client::{Client, ClientError},
    exit::Exit,
    failure::Failure,
    follow::Following,
    output::{Output, line},
    server,
};

/// A place and its target.
struct Bound {
    place: CiPlace,
    target: TargetName,
}

/// How it ended at one place, or how it stood when nobody waited any longer.
#[derive(Debug, Serialize)]
struct PlaceEnd {
    place: String,
    /// None where the place is no target.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    image: ImageRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

pub(crate) async fn run(deploy: Deploy, output: Output) -> Result<Exit, Failure> {
    let by = match server::is_named(&deploy.reach) {
        true => By::Fleet,
        false => By::Itself,
    };
    let ci = CiDeploy::read(by, &|name| std::env::var(name).ok()).map_err(Failure::Variables)?;
    let wait = match Wait::of(&deploy.following) {
        Wait::UpTo(timeout) => timeout,
        // The exit code is what a CI step is for.
        Wait::No => None,
    };
    let at = Asking { wait, now: deploy.now, output };
    match by {
        By::Itself => alone::run(&ci, at).await,
        By::Fleet => {
            let client = super::client(&deploy.reach)?;
            let (bound, lost) = fleet::bind(&client, &ci).await?;
            at.bring(&client, &ci, (bound, lost)).await
        }
    }
}

/// How the deploys are asked for and told.
#[derive(Clone, Copy)]
struct Asking {
    wait: Option<config::Span>,
    now: bool,
    output: Output,
}

impl Asking {
    /// Deploys to all places, side by side, and prints a line for each as it ends; first for those that are lost.
    async fn bring(
        self,
        client: &Client,
        ci: &CiDeploy,
        (bound, lost): (Vec<Bound>, Vec<PlaceEnd>),
    ) -> Result<Exit, Failure> {
        let mut left: BTreeMap<String, TargetName> =
            bound.iter().map(|bound| (bound.place.to_string(), bound.target.clone())).collect();
        let names: Vec<String> = bound.iter().map(|bound| bound.place.to_string()).collect();
        if !names.is_empty() {
            eprintln!("deploying {} to {}", ci.image.familiar(), names.join(", "));
        }
        let mut ends: FuturesUnordered<_> =
            bound.into_iter().map(|bound| self.bring_one(client, &ci.image, bound)).collect();
        let (mut exits, mut hints): (Vec<Exit>, _) =
            (lost.iter().map(|end| end.exit).collect(), BTreeSet::new());
        for end in &lost {
            tell(end, self.output);
        }
        let all = async {
            while let Some(end) = ends.next().await {
                left.remove(&end.place);
                exits.push(end.exit);
                tell(&end, self.output);
                if let Some(hint) = end.reason.as_ref().and_then(|reason| ci.mends(reason)) {
                    hints.insert(hint);
                }
            }
        };
        tokio::select! {
            () = all => {}
            () = passed(self.wait) => {}
            () = config::process::shutdown_signal() => {}
        }
        for (place, target) in left {
            let mut end = PlaceEnd::begun(place, Some(target), &ci.image);
            end.error = Some("not waited for any longer".to_owned());
            end.exit = Exit::WaitEnded;
            exits.push(end.exit);
            tell(&end, self.output);
        }
        for hint in hints {
            eprintln!("hint: {hint}");
        }
        Ok(worst(&exits))
    }

    async fn bring_one(self, client: &Client, image: &ImageRef, bound: Bound) -> PlaceEnd {
        let Bound { place, target } = bound;
        let mut end = PlaceEnd::begun(place.to_string(), Some(target.clone()), image);
        let service = Some(place.service);
        let wish = Wish::Image {
            target,
            image: image.clone(),
            service,
            not_before: None,
            deadline: None,
            version: None,
            now: self.now,
        };
        let ended = async {
            let accepted = client.deploy(&wish).await?;
            match accepted.jobs.first() {
                Some(job) => {
                    end.job = Some(job.id);
                    follow(client, job.id, &end.place).await.map(Some)
                }
                None => Ok(None),
            }
        };
        match ended.await {
            Ok(Some(event)) => end.take(event),
            Ok(None) => end.error = Some("no job was made of it".to_owned()),
            Err(error) => end.fail(error),
        }
        end
    }
}

impl PlaceEnd {
    fn begun(place: String, target: Option<TargetName>, image: &ImageRef) -> PlaceEnd {
        let image = image.clone();
        PlaceEnd {
            place,
            target,
            job: None,
            state: None,
            image,
            reason: None,
            error: None,
            exit: Exit::Failed,
        }
    }

    fn take(&mut self, event: Event) {
        self.state = Some(event.state());
        self.exit = Exit::after(&event);
        if let Some(image) = event.data.image.and_then(|image| image.to) {
            self.image = image;
        }
        self.reason = event.data.reason;
    }

    fn fail(&mut self, error: ClientError) {
        self.exit = error.exit();
        let failure = Failure::from(error);
        self.error = Some(match failure.hint() {
            Some(hint) => format!("{failure} ({hint})"),
            None => failure.to_string(),
        });
    }

    fn told(&self) -> String {
        let state = match (self.state, self.exit, self.job) {
            (Some(state), ..) => state.as_str(),
            (None, Exit::WaitEnded, _) => "not ended",
            // What was taken is carried out, whoever looks on.
            (None, _, Some(_)) => "asked for, its end not seen",
            (None, _, None) => "not asked for",
        };
        let why = self.reason.as_ref().map(|reason| &reason.text).or(self.error.as_ref());
        let why = why.map(|why| format!("  {}", in_one_line(why))).unwrap_or_default();
        let unseen = self.job.filter(|_| self.state.is_none());
        let mend =
            unseen.map(|job| format!("; it goes on: `longshore job show {job}` tells what became of it"));
        format!("{}  {state}  {}{why}{}", self.place, self.image.familiar(), mend.unwrap_or_default())
    }
}

/// Waits for the end of a job, or until it is held. What keeps it is told on standard error.
async fn follow(client: &Client, job: JobId, place: &str) -> Result<Event, ClientError> {
    let mut events = Following::job(client, job);
    loop {
        let event = events.next().await?;
        match event.state() {
            State::Retrying => {
                let why = event.data.reason.as_ref().map(|reason| in_one_line(&reason.text));
                eprintln!("{place}: tried again later: {}", why.unwrap_or_default());
            }
            State::Accepted | State::Started | State::Progress => {}
            State::Held
            | State::Succeeded
            | State::RolledBack
            | State::Failed
            | State::Dead
            | State::Superseded
            | State::Rejected
            | State::Cancelled => return Ok(event),
        }
    }
}

fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

fn tell(end: &PlaceEnd, output: Output) {
    let told = match output.is_json() {
        true => serde_json::to_string(end).unwrap_or_default(),
        false => end.told(),
    };
    line(&told);
}

/// The code for all places: that of the one that went worst.
fn worst(exits: &[Exit]) -> Exit {
    const FROM_THE_WORST: [Exit; 8] = [
        Exit::Failed,
        Exit::RolledBack,
        Exit::NotReached,
        Exit::Refused,
        Exit::Superseded,
        Exit::Held,
        Exit::WaitEnded,
        Exit::Usage,
    ];
    FROM_THE_WORST.into_iter().find(|exit| exits.contains(exit)).unwrap_or(Exit::Succeeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that is away for long keeps nobody from carrying out what it took.
    #[test]
    fn what_was_taken_is_not_told_as_if_nobody_had_asked() {
        let image = "acme/web:2".parse().unwrap();
        let mut end = PlaceEnd::begun("2/1/web".to_owned(), None, &image);
        end.error = Some("cannot reach Longshore".to_owned());
        assert_eq!(end.told(), "2/1/web  not asked for  acme/web:2  cannot reach Longshore");
        let job = JobId::mint(proto::Timestamp::now(), None);
        end.job = Some(job);
        let told = format!(
            "2/1/web  asked for, its end not seen  acme/web:2  cannot reach Longshore; it goes on: \
             `longshore job show {job}` tells what became of it"
        );
        assert_eq!(end.told(), told);
    }

    #[test]
    fn one_place_that_failed_decides_the_code() {
        assert_eq!(worst(&[]), Exit::Succeeded);
        assert_eq!(worst(&[Exit::Succeeded, Exit::Succeeded]), Exit::Succeeded);
        assert_eq!(worst(&[Exit::Succeeded, Exit::Superseded, Exit::Refused]), Exit::Refused);
        assert_eq!(worst(&[Exit::Refused, Exit::RolledBack, Exit::Succeeded]), Exit::RolledBack);
        assert_eq!(worst(&[Exit::RolledBack, Exit::Failed]), Exit::Failed);
        assert_eq!(worst(&[Exit::Succeeded, Exit::WaitEnded]), Exit::WaitEnded);
    }
}
