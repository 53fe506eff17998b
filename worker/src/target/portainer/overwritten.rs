//! Whether the file of a stack is still what a job wrote while its rollout is watched: Portainer lets everybody write over
//! everybody.

use proto::{JobId, Operation, Reason, StackText, reason};

use super::{
    fence::{Marks, without_marks},
    ground::Ground,
    live::is_wanted,
    objects::Status,
    text::StackFile,
    watch::{Eye, Seen},
};
use crate::target::{End, TargetError, Wanted};

/// What of the file has to stay as the job wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeps {
    /// It wrote nothing, or somebody else's text.
    Nothing,
    /// The images of the services that are watched.
    Images,
    /// All of it.
    Text,
}

/// Whether somebody else wrote the file.
///
/// # Errors
/// [`TargetError::Conflict`] where an older job did: it is to be written again.
pub(super) fn overwritten(
    keeps: Keeps,
    seen: &Seen,
    eyes: &[Eye<'_>],
    wanted: &Wanted,
) -> Result<Option<End>, TargetError> {
    match (keeps, &seen.ground, &wanted.job.operation) {
        (Keeps::Images, Some(ground), _) => images_overwritten((seen, ground), eyes, wanted.job.id),
        (Keeps::Text, Some(ground), Operation::DeployStack(text)) => {
            text_overwritten((seen, ground), text, wanted.job.id)
        }
        (Keeps::Text, None, _) => Ok(Some(changed("the stack's file is kept in git now"))),
        (Keeps::Nothing | Keeps::Images | Keeps::Text, _, _) => Ok(None),
    }
}

/// A file that says what we wished is as good as ours, whoever wrote it.
fn images_overwritten(
    (seen, ground): (&Seen, &Ground),
    eyes: &[Eye<'_>],
    id: JobId,
) -> Result<Option<End>, TargetError> {
    for eye in eyes {
        let mark = ground.marks.services.get(&eye.service).map(|mark| mark.job);
        let named = ground.image(&eye.service);
        let is_wished =
            named.zip(eye.image.as_ref()).is_some_and(|(named, wished)| is_wanted(&named, wished));
        let newer_text = ground.marks.newer_text(id).filter(|_| !is_wished);
        if let Some(newer) = mark.filter(|job| *job > id).or(newer_text) {
            return Ok(Some(superseded_by(newer)));
        }
        if is_wished {
            continue;
        }
        let why = match (seen.stack.status, mark) {
            // It put the former file back by itself: what the engine does counts.
            (Status::Error | Status::Deploying, _) => continue,
            (Status::Inactive, _) => STOPPED,
            // An older job wrote over it: to be written again.
            (Status::Unknown | Status::Active, Some(_)) => return Err(TargetError::Conflict),
            (Status::Unknown | Status::Active, None) => CHANGED,
        };
        return Ok(Some(changed(why)));
    }
    Ok(None)
}

/// A text is more than its images: it has to stand there as it was written, whatever runs.
fn text_overwritten(
    (seen, ground): (&Seen, &Ground),
    text: &StackText,
    id: JobId,
) -> Result<Option<End>, TargetError> {
    if let Some(newer) = ground.marks.newer_text(id) {
        return Ok(Some(superseded_by(newer)));
    }
    let is_marked = ground.marks.stack == Some(id);
    if is_marked && is_still(text, ground, id) {
        return Ok(None);
    }
    match seen.stack.status {
        // It put the former file back by itself: what it says of that counts.
        Status::Error | Status::Deploying => Ok(None),
        Status::Inactive => Ok(Some(changed(STOPPED))),
        // In the browser our lines at the head are edited along with the text.
        Status::Unknown | Status::Active if is_marked || ground.marks == Marks::default() => {
            Ok(Some(changed(CHANGED)))
        }
        // What an older job read before our text came, and wrote after it.
        Status::Unknown | Status::Active => Err(TargetError::Conflict),
    }
}

/// Whether the file is the text, but for the images that newer jobs brought.
fn is_still(text: &StackText, ground: &Ground, id: JobId) -> bool {
    let Ok(file) = StackFile::read(&text.compose) else { return false };
    let is_newer = |name: &&str| ground.marks.services.get(*name).is_some_and(|mark| mark.job > id);
    let newer = file.services().filter(is_newer);
    let newer = newer.filter_map(|name| Some((name.to_owned(), ground.file.image(name)?.to_owned())));
    let wished = file.with_images(&newer.collect());
    wished.is_ok_and(|wished| without_marks(wished.text()) == without_marks(ground.file.text()))
}

const STOPPED: &str = "somebody stopped the stack during the rollout";
const CHANGED: &str = "somebody else changed the stack's file during the rollout";

fn superseded_by(newer: JobId) -> End {
    let reason = Reason::new(reason::NEWER_WISH, "a newer job wrote the stack during the rollout");
    End::Superseded { by: Some(newer), reason }
}

fn changed(why: &str) -> End {
    End::Superseded { by: None, reason: Reason::new(reason::CHANGED_ELSEWHERE, why) }
}

#[cfg(test)]
mod tests {
    use proto::Timestamp;

    use super::*;
    use crate::target::portainer::{live::Live, objects::Stack};

    const TEXT: &str = "services:\n  web: {image: 'acme/web:2'}\n  db: {image: 'postgres:16'}\n";

    fn id(second: i64) -> JobId {
        JobId::mint(Timestamp::from_second(second).unwrap(), None)
    }

    /// What a look at this file comes to for the text of a job.
    fn look(file: &str, status: u64, id: JobId) -> String {
        let stack = Stack::of(&serde_json::json!({"Id": 1, "Name": "shop", "Status": status})).unwrap();
        let (marks, file) = (Marks::read(file), StackFile::read(file).unwrap());
        let ground = Ground { stack: stack.clone(), file, marks };
        let seen = Seen { stack, ground: None, live: Live::Compose(Vec::new()), is_fresh: true };
        match text_overwritten((&seen, &ground), &StackText::of(TEXT), id) {
            Ok(None) => "ours".to_owned(),
            Ok(Some(End::Superseded { by, reason })) => {
                format!("{} {}", reason.code, by.is_some())
            }
            Ok(Some(_)) => "another end".to_owned(),
            Err(error) => format!("{error}"),
        }
    }

    #[test]
    fn a_text_stands_as_it_was_written_or_is_somebody_elses() {
        let conflict = TargetError::Conflict.to_string();
        let [old, mine, newer] = [1_700_000_000, 1_700_000_001, 1_700_000_002].map(id);
        let stack = |id: JobId| format!("# longshore.stack={id}\n");
        let service = |id: JobId| format!("# longshore.job={id} service=web\n");
        let newer_image = TEXT.replace("web:2", "web:3");
        let edited = TEXT.replace("{image: 'postgres:16'}", "{image: 'postgres:16', command: [x]}");
        for (file, status, said) in [
            (format!("{}{TEXT}", stack(mine)), 1, "ours"),
            (format!("{}{}{newer_image}", stack(mine), service(newer)), 1, "ours"),
            (format!("{}{newer_image}", stack(mine)), 1, "changed-elsewhere false"),
            (format!("{}{edited}", stack(mine)), 1, "changed-elsewhere false"),
            (TEXT.to_owned(), 1, "changed-elsewhere false"),
            (format!("{}{TEXT}", stack(newer)), 1, "newer-wish true"),
            (format!("{}{edited}", stack(old)), 1, conflict.as_str()),
            (format!("{}{edited}", service(old)), 1, conflict.as_str()),
            (edited.clone(), 2, "changed-elsewhere false"),
            (edited.clone(), 3, "ours"),
            (edited.clone(), 4, "ours"),
        ] {
            assert_eq!(look(&file, status, mine), said, "{status} {file}");
        }
    }
}
