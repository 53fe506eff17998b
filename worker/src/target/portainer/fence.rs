//! The marks kept in a stack file: comment lines at its head, one for each service that was written, and one for the
//! file as a whole. Neither Portainer nor the docker command looks at them, and both keep them.

use std::collections::BTreeMap;

use proto::{Digest, ImageRef, JobId};

use super::live::is_wanted;
use crate::target::Standing;

const JOB: &str = "longshore.job=";
const STACK: &str = "longshore.stack=";
const IMAGE: &str = "longshore.image=";
const GOOD: &str = "longshore.good=";
const BAD: &str = "longshore.bad=";
const BACK: &str = "longshore.back=";
const SERVICE: &str = "service=";
/// So many digests are remembered of a service.
const MOST_BAD: usize = 8;
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What the head of a stack file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) services: BTreeMap<String, Mark>,
    /// The job whose text the file is.
    pub(super) stack: Option<JobId>,
    /// The job whose text was taken back.
    pub(super) back: Option<JobId>,
}

/// What is noted of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The job whose image was written last.
    pub(super) job: JobId,
    /// That image, where the mark says it: a file that names another was changed by somebody else since.
    pub(super) image: Option<ImageRef>,
    /// The last image that ran well before that one.
    pub(super) good: Option<ImageRef>,
    /// Digests that did not hold, newest first.
    pub(super) bad: Vec<Digest>,
    /// The job whose image was taken back.
    pub(super) back: Option<JobId>,
}

impl Mark {
    pub(super) fn of(job: JobId) -> Mark {
        Mark { job, image: None, good: None, bad: Vec::new(), back: None }
    }

    pub(super) fn is_bad(&self, image: &ImageRef) -> bool {
        image.digest().is_some_and(|digest| self.bad.contains(digest))
    }

    /// Where `id` stands against it.
    pub(super) fn standing(&self, id: JobId) -> Standing {
        match self.job {
            _ if self.back == Some(id) => Standing::RolledBack,
            job if job > id => Standing::Newer(job),
            job if job == id => Standing::Applied,
            _ => Standing::Open,
        }
    }

    /// The image that its job brought, where what stands there is neither that nor what ran before it: somebody else
    /// changed it since. One that was taken back, or is known not to have held, is none to go back to.
    pub(super) fn replaced_by_another(&self, stands: &ImageRef) -> Option<&ImageRef> {
        let brought = self.image.as_ref()?;
        let is_other = |image: &ImageRef| !is_wanted(stands, image);
        let holds = self.back != Some(self.job) && !self.is_bad(brought);
        (holds && is_other(brought) && self.good.as_ref().is_none_or(is_other)).then_some(brought)
    }

    /// Notes that `image` did not hold.
    pub(super) fn note_bad(&mut self, image: Option<&ImageRef>) {
        if let Some(digest) = image.and_then(ImageRef::digest) {
            self.bad.retain(|bad| bad != digest);
            self.bad.insert(0, digest.clone());
            self.bad.truncate(MOST_BAD);
        }
    }
}

impl Marks {
    /// Reads the head of a text. A line that makes no sense counts as absent: people edit files by hand.
    pub(super) fn read(text: &str) -> Marks {
        let mut marks = Marks::default();
        for line in own_lines(text) {
            let fields = || line.trim_start_matches('#').split_whitespace();
            let field = |name: &str| fields().find_map(|field| field.strip_prefix(name));
            if marks.stack.is_none()
                && let Some(stack) = field(STACK).and_then(|id| id.parse().ok())
            {
                marks.stack = Some(stack);
                marks.back = field(BACK).and_then(|id| id.parse().ok());
            }
            let job = field(JOB).and_then(|id| id.parse().ok());
            if let (Some(job), Some(service)) = (job, field(SERVICE)) {
                let bad = field(BAD).unwrap_or_default().split(',').filter_map(|digest| digest.parse().ok());
                let mark = Mark {
                    job,
                    image: field(IMAGE).and_then(|image| image.parse().ok()),
                    good: field(GOOD).and_then(|image| image.parse().ok()),
                    bad: bad.collect(),
                    back: field(BACK).and_then(|id| id.parse().ok()),
                };
                marks.services.insert(service.to_owned(), mark);
            }
        }
        marks
    }

    /// The newest job that left a mark.
    pub(super) fn newest(&self) -> Option<JobId> {
        self.services.values().map(|mark| mark.job).chain(self.stack).max()
    }

    /// The job whose text the file is, where it is newer than `id`: a text decides on every service of its stack, also on
    /// those that it left as they were.
    pub(super) fn newer_text(&self, id: JobId) -> Option<JobId> {
        self.stack.filter(|text| *text > id)
    }

    /// The text with these marks in place of those it has, and every other byte as it was.
    pub(super) fn written_into(&self, text: &str) -> String {
        let bare = without_marks(text);
        let (start, rest) = match bare.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) => ("\u{feff}", rest),
            None => ("", bare.as_str()),
        };
        let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let back = self.back.map(|id| format!(" {BACK}{id}")).unwrap_or_default();
        let stack = self.stack.iter().map(|id| format!("# {STACK}{id}{back}{end}"));
        let services = self.services.iter().map(|(name, mark)| format!("{}{end}", mark.line(name)));
        let lines: String = stack.chain(services).collect();
        format!("{start}{lines}{rest}")
    }
}

impl Mark {
    fn line(&self, service: &str) -> String {
        let mut line = format!("# {JOB}{} {SERVICE}{service}", self.job);
        if let Some(good) = &self.good {
            line = format!("{line} {GOOD}{good}");
        }
        if !self.bad.is_empty() {
            let bad: Vec<&str> = self.bad.iter().map(Digest::as_str).collect();
            line = format!("{line} {BAD}{}", bad.join(","));
        }
        if let Some(back) = self.back {
            line = format!("{line} {BACK}{back}");
        }
        if let Some(image) = &self.image {
            line = format!("{line} {IMAGE}{image}");
        }
        line
    }
}

/// The text as it would be without any mark of ours.
pub(super) fn without_marks(text: &str) -> String {
    let mut bare = text.to_owned();
    for line in own_lines(text).iter().rev() {
        let start = line.as_ptr() as usize - text.as_ptr() as usize;
        let end = text[start..].find('\n').map_or(text.len(), |end| start + end + 1);
        bare.replace_range(start..end, "");
    }
    bare
}

/// Our lines at the head: above the first that is neither a comment nor empty.
fn own_lines(text: &str) -> Vec<&str> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let head = text.lines().take_while(|line| line.trim_start().starts_with('#') || line.trim().is_empty());
    let is_ours = |line: &&str| {
        let said = line.strip_prefix("# ").unwrap_or_default();
        said.starts_with(JOB) || said.starts_with(STACK)
    };
    head.filter(is_ours).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::Timestamp;

    use super::*;

    fn id(second: i64) -> JobId {
        JobId::mint(Timestamp::from_second(second).unwrap(), None)
    }

    fn marks() -> Marks {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let mut web = Mark::of(id(1_700_000_000));
        web.image = Some("r.lan:5000/acme/web:2".parse().unwrap());
        web.good = Some("r.lan:5000/acme/web:1".parse().unwrap());
        web.bad = vec![digest];
        web.back = Some(id(1_700_000_001));
        let services =
            BTreeMap::from([("web".to_owned(), web), ("api".to_owned(), Mark::of(id(1_700_000_002)))]);
        Marks { services, stack: Some(id(1_600_000_000)), back: Some(id(1_600_000_000)) }
    }

    #[test]
    fn marks_come_back_as_they_went() {
        let text = "# by hand\nservices: {}\n";
        let marks = marks();
        let marked = marks.written_into(text);
        assert_eq!(Marks::read(&marked), marks);
        assert_eq!(without_marks(&marked), text);
        assert!(marked.starts_with("# longshore.stack="), "{marked}");
        assert_eq!(marks.written_into(&marked), marked);
        assert_eq!(marks.newest(), marks.services.get("api").map(|mark| mark.job));
    }

    #[test]
    fn only_the_head_counts_and_nonsense_is_nothing() {
        let line = Mark::of(id(1_700_000_000)).line("web");
        for text in [
            format!("services: {{}}\n{line}\n"),
            "# longshore.job=yesterday service=web\n".to_owned(),
            format!("# longshore.job={}\n", id(1)),
            format!("#{line}\n"),
            String::new(),
        ] {
            assert_eq!(Marks::read(&text), Marks::default(), "{text}");
        }
    }

    #[test]
    fn standing_follows_the_mark() {
        let (old, mine, newer) = (id(1_700_000_000), id(1_700_000_001), id(1_700_000_002));
        assert_eq!(Mark::of(old).standing(mine), Standing::Open);
        assert_eq!(Mark::of(mine).standing(mine), Standing::Applied);
        assert_eq!(Mark::of(newer).standing(mine), Standing::Newer(newer));
        let back = Mark { back: Some(mine), ..Mark::of(mine) };
        assert_eq!(back.standing(mine), Standing::RolledBack);
    }

    proptest! {
        #[test]
        fn every_byte_but_the_marks_stays(text in "\u{feff}?(#[ a-z.=]{0,20}\r?\n|\r?\n){0,4}[ -~\r\n]{0,40}") {
            let (bare, marks) = (without_marks(&text), marks());
            let marked = marks.written_into(&text);
            prop_assert_eq!(without_marks(&marked), bare);
            prop_assert_eq!(Marks::read(&marked), marks);
        }
    }
}
