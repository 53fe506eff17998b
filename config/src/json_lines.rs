//! The log as JSON, one object a line: for whoever has a program read it.

use std::{error::Error, fmt};

use serde_json::{Map, Value, json};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// Writes `{"timestamp","level","target","fields":{"message",…}}`, as most programs of this kind do.
pub(crate) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let object = json!({
            "timestamp": time,
            "level": metadata.level().as_str(),
            "target": metadata.target(),
            "fields": fields.0,
        });
        writeln!(line, "{object}")
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    /// With what caused it.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut causes = vec![value.to_string()];
        let mut cause = value.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        self.put(field, causes.join(": "));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_line_is_one_object_with_its_fields_by_their_types() {
        let written = Written::default();
        let out = written.clone();
        let log = tracing_subscriber::fmt().event_format(JsonLines).with_writer(move || out.clone()).finish();
        tracing::subscriber::with_default(log, || {
            let error = io::Error::other("\"quoted\"\nand broken");
            let nobody: Option<&str> = None;
            tracing::warn!(target: "audit", status = 403_u16, by = "token:ci", peer = %"10.0.0.7", is = true, nobody, "refused");
            tracing::info!(target = %"default/web", error = &error as &dyn Error, "a field of this name");
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{written}");
        let fields =
            json!({"message": "refused", "status": 403, "by": "token:ci", "peer": "10.0.0.7", "is": true});
        assert_eq!(
            (&lines[0]["level"], &lines[0]["target"], &lines[0]["fields"]),
            (&json!("WARN"), &json!("audit"), &fields)
        );
        assert!(lines[0]["timestamp"].as_str().unwrap().ends_with('Z'), "{written}");
        assert_eq!(lines[1]["fields"]["target"], "default/web");
        assert_eq!(lines[1]["fields"]["error"], "\"quoted\"\nand broken");
    }
}
