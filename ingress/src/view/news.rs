//! Whether what is seen in a registry is news to a target.

use std::time::Duration;

use jiff::SignedDuration;
use proto::{CauseKind, Digest, ImageRef, Operation, State, TargetName, Timestamp};

use super::{View, row::Row};

/// How long after a job that could not be carried out its image is news again.
const AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

/// How far the clocks of who looks and of who takes jobs in may be apart.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(2);

impl View {
    /// Whether the target had what `image` names: the tag named it when a push, a look, or somebody by hand brought the
    /// tag last, or somebody replaced it by something else since. What became of it does not matter, but where it could
    /// not be carried out at all: that is no answer about the image. Nor does it matter what was done while the tag still
    /// named something else. None where no job here tells.
    pub(crate) fn knows_of(
        &self,
        target: &TargetName,
        image: &ImageRef,
        (elsewhere_at, now): (Option<Timestamp>, Timestamp),
    ) -> Option<bool> {
        let Some(digest) = image.digest() else { return Some(false) };
        let moved = elsewhere_at.map(|at| at.saturating_sub(CLOCKS_DIFFER).unwrap_or(at));
        let is_since = |row: &Row| moved.is_none_or(|moved| row.accepted_at() >= moved);
        let jobs = self.jobs();
        let mut of_target = jobs.rows.iter().rev().filter(|(_, row)| row.target() == target && is_since(row));
        of_target.find_map(|(_, row)| told_by(row, (image, digest), now))
    }
}

/// What one job tells of it, if anything.
fn told_by(row: &Row, (image, digest): (&ImageRef, &Digest), now: Timestamp) -> Option<bool> {
    let (contents, brings) = (row.contents(), row.operation().image());
    let names_it =
        || brings.and_then(ImageRef::digest) == Some(digest) || contents.to.as_ref() == Some(digest);
    let is_seen = matches!(row.cause().kind, CauseKind::Hook | CauseKind::Poll);
    let is_set = matches!(row.operation(), Operation::SetImage { .. });
    let is_of_the_tag = is_set && brings.is_some_and(|brings| brings.by_tag() == image.by_tag());
    if is_seen && is_of_the_tag {
        let died = row.state() == State::Dead;
        return match died && row.accepted_at().checked_add(AGAIN_AFTER).is_ok_and(|again| again < now) {
            true => None,
            false => Some(names_it()),
        };
    }
    // By hand, and by its tag: what that named then. Was it something else, the tag was set to this one since.
    let by_tag = is_of_the_tag && brings.is_some_and(|brings| brings.digest().is_none());
    if by_tag && contents.to.is_some() {
        return Some(contents.to.as_ref() == Some(digest));
    }
    contents.has(digest).then_some(true)
}

#[cfg(test)]
mod tests {
    use proto::{Event, ImageChange, Job};
    use queue::{Entry, Position, Recorded};

    use super::*;
    use crate::{mint::Mint, view::samples};

    /// What was done one after the other, by which way, and how it ended: what runs before, and after.
    type Done<'a> = (CauseKind, &'a str, State, (char, char));

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn known(done: &[Done<'_>], seen: char) -> Option<bool> {
        let view = View::new();
        let ids = Mint::default().mint(Timestamp::now(), done.len());
        for (position, (id, (kind, image, state, (from, to)))) in (1..).zip(ids.into_iter().zip(done)) {
            let mut job = Job { accepted_at: Timestamp::now(), ..samples::job(id, "web") };
            job.cause.kind = *kind;
            job.operation = match *image {
                "back" => Operation::Rollback { service: None, job: None, image: None },
                image => Operation::SetImage { image: image.parse().unwrap(), service: None },
            };
            job.slots = job.operation.slots();
            view.enter(&job);
            let mut event = Event::of(&job, *state, 1, 0);
            let of = |digit: char| Some(format!("app:1@{}", digest(digit)).parse().unwrap());
            event.data.image = Some(ImageChange { from: of(*from), to: of(*to) });
            view.take_in(&Recorded { position: Position(position), entry: Entry::Event(Box::new(event)) });
        }
        let image: ImageRef = format!("app:1@{}", digest(seen)).parse().unwrap();
        let later = Timestamp::now() + Duration::from_secs(2 * 3600);
        view.knows_of(&"web".parse().unwrap(), &image, (None, later))
    }

    #[test]
    fn looking_never_works_against_people() {
        use CauseKind::{Api, Cli, Hook, Poll};
        use State::{Dead, Failed, Succeeded};
        let two = |image: &'static str| (Cli, image, Succeeded, ('1', '2'));
        let back = (Api, "back", Succeeded, ('2', '1'));
        for (done, seen, expected, why) in [
            (vec![], '2', None, "nobody ever brought it"),
            (vec![two("app:1")], '2', Some(true), "it was brought by hand"),
            (vec![two("app:1"), back], '2', Some(true), "it was brought by hand, and rolled back by hand"),
            (vec![two("app:1"), back], '3', Some(false), "the tag was moved"),
            (vec![(Cli, "app:9", Succeeded, ('2', '9'))], '3', None, "what was done tells of others"),
            (
                vec![(Cli, "app:1", Succeeded, ('2', '3'))],
                '2',
                Some(false),
                "the tag was set back after it was moved",
            ),
            (
                vec![(Cli, "app:9", Succeeded, ('2', '9'))],
                '2',
                Some(true),
                "somebody replaced it by another tag",
            ),
            (vec![(Poll, "app:1", Failed, ('1', '2'))], '2', Some(true), "it was tried"),
            (
                vec![two("app:1"), back, (Hook, "app:1", Succeeded, ('1', '3'))],
                '2',
                Some(false),
                "the tag was set back",
            ),
            (vec![(Poll, "app:1", Dead, ('1', '2'))], '2', None, "it was never tried"),
        ] {
            assert_eq!(known(&done, seen), expected, "{why}");
        }
    }

    #[test]
    fn what_was_done_before_the_tag_was_moved_says_nothing_of_what_it_names_since() {
        let view = View::new();
        let id = Mint::default().mint(Timestamp::now(), 1)[0];
        let image: ImageRef = format!("app:1@{}", digest('2')).parse().unwrap();
        let operation = Operation::Rollback { service: None, job: None, image: None };
        let job = Job { operation, accepted_at: Timestamp::now(), ..samples::job(id, "web") };
        view.enter(&job);
        let mut event = Event::of(&job, State::Succeeded, 1, 0);
        event.data.image = Some(ImageChange { from: Some(image.clone()), to: None });
        view.take_in(&Recorded { position: Position(1), entry: Entry::Event(Box::new(event)) });
        let known = |elsewhere_at: Option<Timestamp>| {
            view.knows_of(&job.target, &image, (elsewhere_at, Timestamp::now()))
        };
        let at = |seconds: i64| Some(job.accepted_at + SignedDuration::from_secs(seconds));
        assert_eq!(known(None), Some(true), "it was rolled back");
        assert_eq!(known(at(-60)), Some(true), "and the tag may have named it before that");
        assert_eq!(known(at(60)), None, "the tag was moved since");
    }

    #[test]
    fn what_could_not_be_carried_out_is_news_again_an_hour_later() {
        let view = View::new();
        let id = Mint::default().mint(Timestamp::now(), 1)[0];
        let image: ImageRef = format!("app:1@{}", digest('2')).parse().unwrap();
        let operation = Operation::SetImage { image: image.clone(), service: None };
        let mut job = Job { operation, accepted_at: Timestamp::now(), ..samples::job(id, "web") };
        job.cause.kind = CauseKind::Poll;
        view.enter(&job);
        let event = Event::of(&job, State::Dead, 1, 0);
        view.take_in(&Recorded { position: Position(1), entry: Entry::Event(Box::new(event)) });
        let known = |after: u64| {
            view.knows_of(&job.target, &image, (None, job.accepted_at + Duration::from_secs(after)))
        };
        assert_eq!((known(60), known(3601)), (Some(true), None));
    }
}
