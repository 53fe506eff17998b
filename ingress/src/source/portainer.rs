//! A bare POST as to a webhook of Portainer: no body, only `?tag=`. The image is the source's `image`.

use super::{Message, Reading, Rules, Unreadable, template::Happening};

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let tag = message.tag.filter(|tag| !tag.is_empty()).map(str::to_owned);
    Ok(Happening { what: "the call".to_owned(), tag, ..Happening::default() }.reading(rules))
}
