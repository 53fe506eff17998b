//! What could not be carried out, in words.

use std::collections::BTreeSet;

use proto::{
    ImageRef,
    api::{DeadPage, Letter, LetterBody, UnreadableStatus},
    reason,
};

use super::{Teller, moment, table};
use crate::typed;

/// The dead letters as a table, the newest first.
pub(crate) fn table_of(page: &DeadPage, reach: &str) -> String {
    let jobs = page.jobs.iter().map(|dead| {
        let job = &dead.summary.job;
        let image = job.operation.image().map(ImageRef::familiar).unwrap_or_default();
        (&dead.letter, [job.id.to_string(), job.target.to_string(), image])
    });
    let unreadable = page.unreadable.iter().map(|dead| {
        let pool = dead.letter.pool.as_ref().map(|pool| format!("{pool}/?")).unwrap_or_default();
        (&dead.letter, [dead.letter.name.to_string(), pool, String::new()])
    });
    let mut rows: Vec<_> = jobs.chain(unreadable).collect();
    if rows.is_empty() {
        return "nothing waits to be replayed or discarded\n".to_owned();
    }
    rows.sort_by_key(|(letter, _)| std::cmp::Reverse(letter.name));
    let can_be_replayed = rows.iter().any(|(letter, _)| letter.left_by.is_none());
    let strangers: BTreeSet<_> = rows.iter().filter_map(|(letter, _)| letter.left_by.as_deref()).collect();
    let rows = rows.into_iter().map(|(letter, [name, target, image])| {
        [name, moment(letter.died_at), target, image, letter.attempts.to_string(), why(letter)]
    });
    let mut text = table(["JOB", "DIED", "TARGET", "IMAGE", "ATTEMPTS", "WHY"], rows);
    let program = typed::program();
    text.push_str("\n\n");
    if can_be_replayed {
        text.push_str(&format!("once the cause is mended: {program} job replay JOB{reach}\n"));
        text.push_str(&format!("or give it up:            {program} job discard JOB{reach}\n"));
    }
    text.extend(strangers.into_iter().map(mended_for));
    if page.next.is_some() {
        text.push_str("there are more: --limit 500 shows up to 500\n");
    }
    text
}

/// What died and is no job, with what is known of it.
pub(crate) fn unreadable(status: &UnreadableStatus, reach: &str) -> String {
    let letter = &status.unreadable.letter;
    let mut text = format!("letter    {}\nstate     dead\n", letter.name);
    text.extend(letter.pool.as_ref().map(|pool| format!("pool      {pool}\n")));
    text.extend(status.unreadable.id.map(|id| format!("job       {id}\n")));
    let mut teller = Teller::default();
    text.extend(status.events.iter().map(|event| format!("\n{}\n", teller.tell(event))));
    text.push_str(&kept(letter));
    let (program, name) = (typed::program(), letter.name);
    let next = match &letter.left_by {
        Some(user) => format!("{}then: {program} job replay {name}{reach}\n", mended_for(user)),
        None if letter.reason.code == reason::UNKNOWN_WORDS => format!(
            "a newer version wrote it, and can read it: once the server is of that version, {program} job replay {name}{reach}\n\
             or give it up: {program} job discard {name}{reach}\n"
        ),
        None => format!("no job can be read in it; give it up: {program} job discard {name}{reach}\n"),
    };
    text.push_str(&format!("\n{next}"));
    text
}

fn why(letter: &Letter) -> String {
    match &letter.left_by {
        Some(user) => format!("left by the broker's user `{user}`: {}", letter.reason.text),
        None => letter.reason.text.clone(),
    }
}

/// What lets be replayed what somebody left whom the server does not know for one of Longshore's own.
fn mended_for(user: &str) -> String {
    format!(
        "what the broker's user `{user}` left cannot be replayed yet: that is none of `queue: {{user, logins}}` of the server; \
         if a process of Longshore logs in so, write it into `logins` and start the server again\n"
    )
}

/// What is kept of a job, and what can be done with it.
pub(crate) fn letter_of(letter: &Letter, job: proto::JobId, reach: &str) -> String {
    let program = typed::program();
    if let Some(user) = &letter.left_by {
        return format!("{}\n{}then: {program} job replay {job}{reach}\n", kept(letter), mended_for(user));
    }
    format!(
        "{}\nonce the cause is mended: {program} job replay {job}{reach}\n\
         or give it up:            {program} job discard {job}{reach}\n",
        kept(letter)
    )
}

fn kept(letter: &Letter) -> String {
    let mut text = format!("\ndied      {}\nattempts  {}\n", moment(letter.died_at), letter.attempts);
    text.push_str(&format!("why       {} ({})\n", letter.reason.text, letter.reason.code));
    text.extend(letter.reason.hint.as_ref().map(|hint| format!("hint      {hint}\n")));
    text.extend(letter.body.as_ref().map(|body| match body {
        LetterBody::Text(body) => format!("body      {}\n", printable(body)),
        LetterBody::Base64(body) => format!("body      {body} (base64)\n"),
    }));
    text
}

/// What came from outside must not move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
