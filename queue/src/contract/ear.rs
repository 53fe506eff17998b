//! What is told in the log, for tests of it.

use std::{
    fmt::{Debug, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Hears every line, on whichever thread it is made the subscriber of: its level, and what it says.
#[derive(Debug, Clone, Default)]
pub struct Ear(Arc<Mutex<String>>);

impl Ear {
    /// How often this was told so far.
    pub fn heard(&self, text: &str) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).matches(text).count()
    }

    fn note(&self, line: &dyn Debug) {
        // Infallible: into a string.
        let _ = writeln!(self.0.lock().unwrap_or_else(PoisonError::into_inner), "{line:?}");
    }
}

impl Visit for Ear {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        self.note(value);
    }
}

impl Subscriber for Ear {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, line: &Event<'_>) {
        self.note(&format_args!("{}", line.metadata().level()));
        line.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
