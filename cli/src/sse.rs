//! The `text/event-stream` format (WHATWG HTML, 9.2): bytes in, messages out.

/// One message of an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The last id said so far: where to resume.
    pub(crate) id: Option<String>,
    /// Its lines, joined.
    pub(crate) data: String,
}

/// Cuts a stream of bytes into messages, wherever the network cut it.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    unread: Vec<u8>,
    id: Option<String>,
    data: Option<String>,
}

impl Parser {
    /// Takes what has arrived and gives the messages that are complete with it.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.unread.extend_from_slice(bytes);
        let mut messages = Vec::new();
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            messages.extend(self.line(line.trim_end_matches(['\r', '\n'])));
        }
        messages
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let data = self.data.take()?;
            return Some(Message { id: self.id.clone(), data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // Comments (an empty field) keep the connection alive; `event` and `retry` say nothing we need.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        ": alive\n\nid: 7\nevent: x\ndata: {\"a\":\ndata: 1}\n\ndata:ü\r\n\r\nretry: 5\n\ndata: cut";

    #[test]
    fn messages_are_the_same_wherever_the_network_cuts() {
        let expected = vec![
            Message { id: Some("7".into()), data: "{\"a\":\n1}".into() },
            Message { id: Some("7".into()), data: "ü".into() },
        ];
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let messages: Vec<_> =
                STREAM.as_bytes().chunks(size).flat_map(|piece| parser.push(piece)).collect();
            assert_eq!(messages, expected, "in pieces of {size}");
        }
    }
}
