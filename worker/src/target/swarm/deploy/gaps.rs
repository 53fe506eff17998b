//! What a compose text leaves open: variables and files that did not come with it.

use std::collections::BTreeSet;

use config::{Fault, Faults};
use proto::{StackText, variables::named};

/// Variables of the docker command's own surroundings here: they mean nothing to whoever wrote the text.
const OURS: [&str; 3] = ["PATH", "HOME", "DOCKER_CONFIG"];
/// What the reader of our configuration says of a file that is no map; of a compose text it is not quite right.
const NO_SECTIONS: &str = "does not hold a map of sections";

/// The variables that are asked for without anything to stand in for them, and were not given.
pub(super) fn unset(texts: &[&str], text: &StackText) -> BTreeSet<String> {
    let named = texts.iter().flat_map(|it| named(it));
    let open = named.filter(|variable| variable.needs_value && !text.env.contains_key(&variable.name));
    open.map(|variable| variable.name).collect()
}

/// `the variable `A` is`, or `the variables `A`, `B` are`.
pub(super) fn listed(names: &BTreeSet<String>) -> String {
    let all: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match all.len() {
        1 => format!("the variable {} is", all.concat()),
        _ => format!("the variables {} are", all.join(", ")),
    }
}

/// Nothing of the worker's own surroundings reaches a text.
pub(super) fn refuse_ours(texts: &[&str]) -> Result<(), String> {
    let mut named = texts.iter().flat_map(|it| named(it));
    match named.find(|variable| OURS.contains(&variable.name.as_str())) {
        Some(variable) => Err(format!(
            "the compose text names the variable `{0}`, which is the worker's own; write `$${0}` where the one in the \
             container is meant, or give it another name",
            variable.name
        )),
        None => Ok(()),
    }
}

/// All of them at once.
pub(super) fn refuse_missing(missing: &[String]) -> Result<(), String> {
    if missing.is_empty() {
        return Ok(());
    }
    let (files, each) = if missing.len() == 1 { ("a file", "it") } else { ("files", "each") };
    let is_secret = |file: &&String| file.contains("(secrets.");
    let how = match missing.iter().filter(is_secret).count() {
        0 => "with `--with PATH`".to_owned(),
        all if all == missing.len() => "by the name of its secret, `--secret-file PATH=SECRET`".to_owned(),
        _ => "with `--with PATH`, what is a secret with `--secret-file PATH=SECRET`".to_owned(),
    };
    Err(format!(
        "the compose text names {files} that did not come with it: {}; send {each} {how} (`files`), files are not read from \
         the worker's machine",
        missing.join(", ")
    ))
}

/// What is wrong with a text that cannot be read.
pub(super) fn told(faults: &Faults) -> String {
    let one = |fault: &Fault| match fault.message.contains(NO_SECTIONS) {
        true => "the compose text is no map; it begins with a key, as in `services:`".to_owned(),
        false => {
            let hint = fault.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}{hint}", Fault { hint: None, ..fault.clone() })
        }
    };
    faults.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use proto::Given;

    use super::{super::compose::Compose, *};

    fn text(compose: &str) -> StackText {
        let mut text = StackText::of(compose);
        text.env.insert("TAG".to_owned(), Given::Value("1".to_owned()));
        text
    }

    fn refused(compose: &str) -> String {
        Compose::read(&text(compose)).unwrap_err()
    }

    #[test]
    fn variables_that_were_not_given_are_found_wherever_they_stand() {
        let compose = "services:\n  web:\n    image: 'a:${TAG}'\n    command: [$A, '$$B', '${C:-x}', '${D}']\n    \
                       environment: {E: '${F-}${G:?say}'}\nx-other: ${H}\nvolumes: {v: {name: 'v-${I}'}}\n";
        let sent = text(compose);
        let read = Compose::read(&sent).unwrap();
        let found: Vec<String> = unset(&read.texts(), &sent).into_iter().collect();
        assert_eq!(found, ["A", "D", "I"]);
        assert_eq!(listed(&["A".to_owned()].into()), "the variable `A` is");
        assert_eq!(listed(&["A".to_owned(), "B".to_owned()].into()), "the variables `A`, `B` are");
    }

    #[test]
    fn an_image_whose_variable_is_missing_names_it() {
        let told = refused("services: {web: {image: 'r.lan/web:${WHICH}'}}");
        assert!(told.contains("`web`") && told.contains("the variable `WHICH` is not given"), "{told}");
        assert!(!told.contains("latest"), "{told}");
        let told = refused("services: {web: {image: 'Web:1'}}");
        assert!(
            told.contains("the image `Web:1` of the service `web`") && !told.contains("latest"),
            "{told}"
        );
        let bare = text("services: {web: {image: nginx}, api: {image: 'a:1'}}");
        let read = Compose::read(&bare).unwrap();
        assert!(read.means_latest("web", &bare) && !read.means_latest("api", &bare));
    }

    #[test]
    fn nothing_of_the_workers_surroundings_reaches_a_text() {
        for name in ["$PATH", "${HOME}", "${HOME:-/root}", "${DOCKER_CONFIG-}"] {
            let told = refused(&format!("services: {{web: {{image: a, command: ['x{name}']}}}}"));
            assert!(told.contains("which is the worker's own") && told.contains("write `$$"), "{told}");
        }
        assert!(Compose::read(&text("services: {web: {image: a, command: ['$$HOME', '$HOMES']}}")).is_ok());
    }

    #[test]
    fn all_missing_files_are_told_at_once() {
        let told = refused(
            "services: {web: {image: a, env_file: [one.env, two.env]}}\nconfigs: {c: {file: ./page.html}}\n",
        );
        for part in
            ["`one.env` (services.web.env_file)", "`two.env`", "`page.html` (configs.c.file)", "`--with"]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn what_becomes_a_secret_is_asked_for_and_taken_by_name_alone() {
        let compose = "services: {web: {image: a}}\nconfigs: {c: {file: page.html}}\nx: &x {file: ./db.txt}\nsecrets: {s: \
                       {<<: *x}}\n";
        let told = refused(compose);
        assert!(told.contains("what is a secret with `--secret-file PATH=SECRET`"), "{told}");
        let mut sent = text(compose);
        sent.files.insert("page.html".to_owned(), Given::Value("hello".to_owned()));
        let told = Compose::read(&sent).unwrap_err();
        assert!(!told.contains("--with") && told.contains("`--secret-file PATH=SECRET`"), "{told}");
        sent.files.insert("db.txt".to_owned(), Given::Value("pw123".to_owned()));
        let told = Compose::read(&sent).unwrap_err();
        assert!(told.contains("makes a secret of `db.txt`") && !told.contains("pw123"), "{told}");
        let named = proto::Named { from: "shop_db".to_owned() };
        sent.files.insert("db.txt".to_owned(), Given::Secret(named));
        assert!(Compose::read(&sent).is_ok());
    }

    #[test]
    fn a_text_that_is_no_compose_text_is_told_in_its_own_words() {
        let told = refused("just words\n");
        assert!(told.contains("as in `services:`") && !told.contains("version"), "{told}");
        assert!(!refused("services: [a\n").contains('\n'));
    }
}
