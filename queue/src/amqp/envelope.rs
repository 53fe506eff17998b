//! Who sent what waits on the intake: the broker attests it, and it stays attested while we send it round.
//!
//! The broker lets nobody name another in `user_id`. What goes round the ladder is published by us and would lose
//! its sender, so we write the sender into a header, which counts only beside our own `user_id`.

use lapin::{
    message::Delivery,
    types::{AMQPValue, FieldTable, LongString},
};
use uuid::Uuid;

use super::{logins::Logins, message::short};
use crate::Envelope;

/// Who sent what we sent round; empty where nobody said.
pub(super) const SENDER: &str = "longshore-sender";

/// What only we write into headers.
const OURS: &str = "longshore-";

/// Longest text of a header that is handed on.
const LONGEST_TEXT: usize = 4096;

/// Who sent a message.
#[derive(Debug, PartialEq, Eq)]
enum Sender<'a> {
    Nobody,
    Ourselves,
    User(&'a str),
}

/// Takes away what a sender could have made up in our name, and gives what has no name one, which it keeps however
/// often it comes back.
pub(super) fn put_right(delivery: &mut Delivery, logins: &Logins) {
    let is_ours = logins.sent(delivery);
    let mut properties = std::mem::take(&mut delivery.properties);
    if let Some(headers) = properties.headers().as_ref().filter(|_| !is_ours) {
        let mut kept = FieldTable::default();
        for (name, value) in headers {
            if !name.as_str().starts_with(OURS) {
                kept.insert(name.clone(), value.clone());
            }
        }
        properties = properties.with_headers(kept);
    }
    if properties.message_id().is_none() {
        properties = properties.with_message_id(short(&Uuid::now_v7().to_string()));
    }
    delivery.properties = properties;
}

/// What is known of a message beside its body, once it was put right.
pub(super) fn envelope_of(delivery: &Delivery, logins: &Logins) -> Envelope {
    let properties = &delivery.properties;
    let (user, is_own) = match sender(delivery, logins) {
        Sender::Nobody => (None, false),
        Sender::Ourselves => (Some(logins.own().to_owned()), true),
        Sender::User(user) => (Some(user.to_owned()), false),
    };
    let headers = properties.headers().iter().flatten().filter_map(|(name, value)| {
        text(value)
            .map(|text| (name.as_str().to_owned(), text))
            .filter(|(_, text)| text.len() <= LONGEST_TEXT)
    });
    Envelope {
        user,
        is_own,
        id: properties.message_id().as_ref().map(|id| id.as_str().to_owned()).filter(|id| !id.is_empty()),
        content_type: properties.content_type().as_ref().map(|kind| kind.as_str().to_owned()),
        headers: headers.collect(),
    }
}

/// Writes down who sent a message that we send on.
pub(super) fn note_sender(headers: &mut FieldTable, delivery: &Delivery, logins: &Logins) {
    let name = match sender(delivery, logins) {
        Sender::Nobody => "",
        Sender::Ourselves => logins.own(),
        Sender::User(user) => user,
    };
    headers.insert(SENDER.into(), AMQPValue::LongString(LongString::from(name)));
}

fn sender<'a>(delivery: &'a Delivery, logins: &Logins) -> Sender<'a> {
    let Some(user) = delivery.properties.user_id().as_ref().map(lapin::types::ShortString::as_str) else {
        return Sender::Nobody;
    };
    if !logins.knows(user) {
        return Sender::User(user);
    }
    let noted = delivery.properties.headers().as_ref().and_then(|headers| headers.inner().get(SENDER));
    match noted {
        None => Sender::Ourselves,
        Some(AMQPValue::LongString(name)) => match std::str::from_utf8(name.as_bytes()) {
            Ok("") | Err(_) => Sender::Nobody,
            Ok(name) if logins.knows(name) => Sender::Ourselves,
            Ok(name) => Sender::User(name),
        },
        Some(_) => Sender::Nobody,
    }
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        AMQPValue::Boolean(flag) => Some(flag.to_string()),
        AMQPValue::ShortShortInt(number) => Some(number.to_string()),
        AMQPValue::ShortInt(number) => Some(number.to_string()),
        AMQPValue::LongInt(number) => Some(number.to_string()),
        AMQPValue::LongLongInt(number) => Some(number.to_string()),
        AMQPValue::ShortShortUInt(_)
        | AMQPValue::ShortUInt(_)
        | AMQPValue::LongUInt(_)
        | AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::Timestamp(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::Void => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::{super::logins::tests::logins, *};

    fn fleet() -> Logins {
        logins("longshore", &["dockers"])
    }

    fn delivered(user: Option<&str>, headers: &[(&str, &str)]) -> Delivery {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        let mut properties = BasicProperties::default().with_headers(table);
        if let Some(user) = user {
            properties = properties.with_user_id(user.into());
        }
        let mut delivery = Delivery::mock(1, "".into(), "deploy".into(), false, Vec::new());
        delivery.properties = properties;
        put_right(&mut delivery, &fleet());
        delivery
    }

    /// As it comes back from the ladder.
    fn sent_round(delivery: &Delivery) -> Delivery {
        let mut headers = delivery.properties.headers().clone().unwrap_or_default();
        note_sender(&mut headers, delivery, &fleet());
        let mut back = delivered(Some("longshore"), &[]);
        let id = delivery.properties.message_id().clone().unwrap();
        back.properties = back.properties.with_headers(headers).with_message_id(id);
        put_right(&mut back, &fleet());
        back
    }

    #[test]
    fn nobody_can_make_up_a_sender_nor_our_headers() {
        let forged =
            [(SENDER, "boss"), ("longshore-attempt", "7"), ("longshore-pool", "default"), ("a", "b")];
        for (user, expected) in [(None, None), (Some("ci"), Some("ci"))] {
            let envelope = envelope_of(&delivered(user, &forged), &fleet());
            assert_eq!((envelope.user.as_deref(), envelope.is_own), (expected, false));
            assert_eq!(envelope.headers, [("a".to_owned(), "b".to_owned())]);
        }
    }

    #[test]
    fn the_sender_is_the_same_however_often_a_message_comes_back() {
        for (user, told_as) in [
            (None, None),
            (Some("ci"), Some("ci")),
            (Some("longshore"), Some("longshore")),
            (Some("dockers"), Some("longshore")),
        ] {
            let first = delivered(user, &[]);
            let told = envelope_of(&first, &fleet());
            assert_eq!((told.user.as_deref(), told.is_own), (told_as, told_as == Some("longshore")));
            let back = sent_round(&sent_round(&first));
            let again = envelope_of(&back, &fleet());
            assert_eq!((again.user, again.is_own, &again.id), (told.user, told.is_own, &told.id));
            assert!(again.id.is_some());
        }
    }
}
