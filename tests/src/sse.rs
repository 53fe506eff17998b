//! A reader of server-sent events, as a page in a browser would be one.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use futures::stream::{BoxStream, StreamExt};
use reqwest::RequestBuilder;
use tokio::time::timeout;

/// An open event stream.
pub struct EventStream {
    chunks: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    parser: Parser,
    ready: VecDeque<SentEvent>,
}

/// One event; a field that was not sent is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentEvent {
    /// What `Last-Event-ID` resumes from.
    pub id: String,
    /// The event's type.
    pub event: String,
    /// The data, its lines joined.
    pub data: String,
}

impl EventStream {
    /// Sends `request` and takes the answer as a stream.
    ///
    /// # Errors
    /// When the answer is not 200 or not an event stream; the text holds the body.
    pub async fn open(request: RequestBuilder) -> Result<Self> {
        let request = request.header("accept", "text/event-stream");
        let response = request.send().await.context("open an event stream")?;
        let status = response.status();
        let kind =
            response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        if !status.is_success() || !kind.as_deref().is_some_and(|kind| kind.starts_with("text/event-stream"))
        {
            let body = response.text().await.unwrap_or_default();
            return Err(anyhow!("not an event stream: {status}, {kind:?}: {body}"));
        }
        let chunks = response.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec())).boxed();
        Ok(Self { chunks, parser: Parser::default(), ready: VecDeque::new() })
    }

    /// The next event; nothing when the server closed the stream.
    pub async fn next(&mut self, deadline: Duration) -> Result<Option<SentEvent>> {
        let reading = async {
            while self.ready.is_empty() {
                let Some(chunk) = self.chunks.next().await else { return Ok(None) };
                self.ready.extend(self.parser.push(&chunk.context("read an event stream")?)?);
            }
            Ok(self.ready.pop_front())
        };
        timeout(deadline, reading).await.map_err(|_| anyhow!("no event came within {deadline:?}"))?
    }
}

/// Bytes in, whole events out; a chunk may end anywhere.
#[derive(Default)]
struct Parser {
    rest: Vec<u8>,
    open: Option<SentEvent>,
}

impl Parser {
    fn push(&mut self, chunk: &[u8]) -> Result<Vec<SentEvent>> {
        self.rest.extend_from_slice(chunk);
        let mut events = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = std::str::from_utf8(&line).context("an event that is not UTF-8")?;
            self.line(line.trim_end_matches(['\n', '\r']), &mut events)?;
        }
        Ok(events)
    }

    fn line(&mut self, line: &str, events: &mut Vec<SentEvent>) -> Result<()> {
        if line.is_empty() {
            // Without data it is no event: an id alone is only remembered.
            events.extend(self.open.take().filter(|event| !event.data.is_empty()));
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        let known = matches!(field, "" | "retry" | "id" | "event" | "data");
        ensure!(known, "unknown field `{field}` in an event stream");
        let event = match field {
            "" | "retry" => return Ok(()),
            _ => self.open.get_or_insert_default(),
        };
        match field {
            "id" => event.id = value.to_owned(),
            "event" => event.event = value.to_owned(),
            _ if event.data.is_empty() => event.data = value.to_owned(),
            _ => event.data = format!("{}\n{value}", event.data),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(id: &str, event: &str, data: &str) -> SentEvent {
        SentEvent { id: id.into(), event: event.into(), data: data.into() }
    }

    #[test]
    fn chunks_may_end_anywhere() {
        let text = b": hello\n\nid: 7\nevent: started\ndata: {\"a\":1}\n\ndata: x\r\ndata: y\r\n\r\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let events: Vec<SentEvent> =
                text.chunks(size).flat_map(|chunk| parser.push(chunk).unwrap()).collect();
            assert_eq!(events, [sent("7", "started", "{\"a\":1}"), sent("", "", "x\ny")], "chunks of {size}");
        }
    }

    #[test]
    fn an_unfinished_event_is_not_given() {
        assert_eq!(Parser::default().push(b"data: x\n").unwrap(), []);
    }

    #[test]
    fn what_is_no_event_stream_is_an_error() {
        assert!(Parser::default().push(b"<html>\n").is_err());
    }
}
