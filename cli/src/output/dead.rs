//! What could not be carried out, in words.

use proto::{
    ImageRef,
    api::{DeadPage, Letter, LetterBody, UnreadableStatus},
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
    let rows = rows.into_iter().map(|(letter, [name, target, image])| {
        [name, moment(letter.died_at), target, image, letter.attempts.to_string(), letter.reason.text.clone()]
    });
    let mut text = table(["JOB", "DIED", "TARGET", "IMAGE", "ATTEMPTS", "WHY"], rows);
    let program = typed::program();
    text.push_str(&format!("\n\nonce the cause is mended: {program} job replay JOB{reach}\n"));
    text.push_str(&format!("or give it up:            {program} job discard JOB{reach}\n"));
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
    text.push_str(&format!("\nno job can be read in it; give it up: {program} job discard {name}{reach}\n"));
    text
}

/// What is kept of a job, and what can be done with it.
pub(crate) fn letter_of(letter: &Letter, job: proto::JobId, reach: &str) -> String {
    let program = typed::program();
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
