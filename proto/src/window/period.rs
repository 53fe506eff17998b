//! A part of a window: hours of some days of the week, or days of the calendar, in one time zone.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Time, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The days of a week in the order in which they are written.
const WEEK: [(Weekday, &str, &str); 7] = [
    (Weekday::Monday, "mon", "monday"),
    (Weekday::Tuesday, "tue", "tuesday"),
    (Weekday::Wednesday, "wed", "wednesday"),
    (Weekday::Thursday, "thu", "thursday"),
    (Weekday::Friday, "fri", "friday"),
    (Weekday::Saturday, "sat", "saturday"),
    (Weekday::Sunday, "sun", "sunday"),
];

/// A part of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written")]
pub struct Period {
    /// Nothing may be deployed in it.
    pub freeze: bool,
    /// Whose clocks count.
    pub zone: Zone,
    /// Which times.
    pub span: Span,
}

/// Times on the clocks of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Hours of days of the week. Those that end the next morning belong to the day on which they begin.
    Hours {
        /// The days on which they begin.
        days: Days,
        /// From when to when (not included); the whole day where there is nothing.
        hours: Option<(Clock, Clock)>,
    },
    /// Days of the calendar, both included.
    Dates {
        /// The first day.
        first: Date,
        /// The last day.
        last: Date,
    },
}

/// Why a text is no part of a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// A word that is none of the week's days.
    #[error("`{0}` is no day of the week")]
    Day(String),
    /// No time of day.
    #[error("`{0}` is no time of day")]
    Clock(String),
    /// No day of the calendar.
    #[error("`{0}` is no day of the calendar")]
    Date(String),
    /// Not the name of a time zone.
    #[error("there is no time zone `{0}`")]
    Zone(String),
    /// `from` without `to`, or the other way round.
    #[error("`from` and `to` are given together or not at all")]
    Half,
    /// A time of day and a date.
    #[error("`from` and `to` are both times of day, or both dates")]
    Mixed,
    /// Nothing lies between them.
    #[error("`from` and `to` are the same time")]
    Empty,
    /// The last day is before the first.
    #[error("`to` is before `from`")]
    Reversed,
    /// Days of the week for dates.
    #[error("dates take no `days`")]
    DatesWithDays,
}

/// Days of the week: `mon-fri`, `sat,sun`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Days(u8);

/// A time of day to the second; `24:00` is the end of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock(Time);

/// A time zone by its name in the IANA's database.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Period {
    /// A part of a window, of what is written in it.
    ///
    /// # Errors
    /// When `from` and `to` do not make a span, alone or with `days`.
    pub fn new(
        freeze: bool,
        zone: Zone,
        days: Option<Days>,
        (from, to): (Option<&str>, Option<&str>),
    ) -> Result<Period, WindowError> {
        let span = match (from, to) {
            (None, None) => Span::Hours { days: days.unwrap_or(Days::ALL), hours: None },
            (Some(from), Some(to)) => span(days, from, to)?,
            (Some(_), None) | (None, Some(_)) => return Err(WindowError::Half),
        };
        Ok(Period { freeze, zone, span })
    }

    /// Whether the clocks of its zone show a time in it at `now`.
    pub(super) fn covers(&self, now: Timestamp) -> bool {
        let shown = self.zone.0.to_datetime(now);
        let (date, time) = (shown.date(), shown.time());
        match self.span {
            Span::Dates { first, last } => first <= date && date <= last,
            Span::Hours { days, hours: None } => days.has(date.weekday()),
            Span::Hours { days, hours: Some((Clock(from), Clock(to))) } if from < to => {
                days.has(date.weekday()) && from <= time && time < to
            }
            Span::Hours { days, hours: Some((Clock(from), Clock(to))) } => {
                let began_yesterday = date.yesterday().is_ok_and(|day| days.has(day.weekday()));
                days.has(date.weekday()) && time >= from || began_yesterday && time < to
            }
        }
    }

    /// A time after `at` up to which [`Period::covers`] does not change. None where it never does.
    pub(super) fn next_edge(&self, at: Timestamp) -> Option<Timestamp> {
        // When the clocks are set, they may leave the period or come to it.
        let set = self.zone.0.following(at).next().map(|set| set.timestamp());
        let written = self.written_edges(self.zone.0.to_datetime(at).date());
        let shown = written.into_iter().flat_map(|edge| self.zone.shows(edge));
        shown.filter(|edge| *edge > at).chain(set).min()
    }

    /// The times at which it begins or ends by the clock, from the day before `today` on for more than a week.
    fn written_edges(&self, today: Date) -> Vec<DateTime> {
        match self.span {
            Span::Dates { first, last } => {
                let ends = [Ok(first), last.tomorrow()];
                ends.into_iter().flatten().map(|date| date.to_datetime(Time::midnight())).collect()
            }
            Span::Hours { hours, .. } => {
                let (from, to) =
                    hours.map_or((Time::midnight(), Time::midnight()), |(from, to)| (from.0, to.0));
                let days = (-1..=8).filter_map(|day: i32| today.checked_add(day.days()).ok());
                days.flat_map(|day| [day.to_datetime(from), day.to_datetime(to)]).collect()
            }
        }
    }
}

fn span(days: Option<Days>, from: &str, to: &str) -> Result<Span, WindowError> {
    let is_date = |text: &str| text.contains('-');
    match (is_date(from), is_date(to)) {
        (true, true) if days.is_some() => Err(WindowError::DatesWithDays),
        (true, true) => {
            let (first, last) = (date(from)?, date(to)?);
            if last < first { Err(WindowError::Reversed) } else { Ok(Span::Dates { first, last }) }
        }
        (false, false) => {
            let days = days.unwrap_or(Days::ALL);
            let (begin, end): (Clock, Clock) = (from.parse()?, to.parse()?);
            match (begin == end, to.starts_with("24")) {
                (true, true) => Ok(Span::Hours { days, hours: None }),
                (true, false) => Err(WindowError::Empty),
                (false, _) => Ok(Span::Hours { days, hours: Some((begin, end)) }),
            }
        }
        (true, false) | (false, true) => Err(WindowError::Mixed),
    }
}

fn date(text: &str) -> Result<Date, WindowError> {
    text.parse().map_err(|_| WindowError::Date(text.to_owned()))
}

impl Days {
    /// Every day.
    pub const ALL: Days = Days(0b111_1111);

    fn has(self, day: Weekday) -> bool {
        self.0 & bit(day) != 0
    }
}

fn bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}

impl FromStr for Days {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Days, WindowError> {
        let mut days = Days(0);
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (mut day, last) = (weekday(first)?, weekday(last)?);
            days.0 |= bit(day);
            while day != last {
                day = day.next();
                days.0 |= bit(day);
            }
        }
        Ok(days)
    }
}

fn weekday(text: &str) -> Result<Weekday, WindowError> {
    let word = text.trim().to_lowercase();
    let found = WEEK.iter().find(|(_, short, long)| word == *short || word == *long);
    found.map(|(day, ..)| *day).ok_or_else(|| WindowError::Day(text.trim().to_owned()))
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = WEEK.iter().filter(|(day, ..)| self.has(*day)).map(|(_, short, _)| *short);
        f.write_str(&days.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Days({self})")
    }
}

impl FromStr for Clock {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Clock, WindowError> {
        let wrong = || WindowError::Clock(text.to_owned());
        if matches!(text, "24:00" | "24:00:00") {
            return Ok(Clock(Time::midnight()));
        }
        let numbers: Vec<i8> = text
            .split(':')
            .map(|part| match part.len() {
                1 | 2 if part.bytes().all(|byte| byte.is_ascii_digit()) => part.parse().map_err(|_| wrong()),
                _ => Err(wrong()),
            })
            .collect::<Result<_, _>>()?;
        let time = match numbers.as_slice() {
            [hour, minute] => Time::new(*hour, *minute, 0, 0),
            [hour, minute, second] => Time::new(*hour, *minute, *second, 0),
            _ => return Err(wrong()),
        };
        time.map(Clock).map_err(|_| wrong())
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = (self.0.hour(), self.0.minute(), self.0.second());
        write!(f, "{hour:02}:{minute:02}")?;
        if second == 0 { Ok(()) } else { write!(f, ":{second:02}") }
    }
}

impl Zone {
    /// The moments at which its clocks show a time: two where they are set back over it. Where they skip it, both
    /// are near the moment at which they do, and show another one.
    fn shows(&self, time: DateTime) -> impl Iterator<Item = Timestamp> + use<> {
        let offsets = match self.0.to_ambiguous_timestamp(time).offset() {
            AmbiguousOffset::Unambiguous { offset } => [Some(offset), None],
            AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => {
                [Some(before), Some(after)]
            }
        };
        offsets.into_iter().flatten().filter_map(move |offset| offset.to_timestamp(time).ok())
    }

    /// What its clocks show at `now`, as in `Mon 2026-03-02 20:00 Europe/Berlin`.
    #[must_use]
    pub fn shown(&self, now: Timestamp) -> String {
        format!("{} {self}", self.0.to_datetime(now).strftime("%a %Y-%m-%d %H:%M:%S"))
    }
}

impl FromStr for Zone {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Zone, WindowError> {
        let found = TimeZone::get(text).ok().filter(|zone| zone.iana_name().is_some());
        found.map(Zone).ok_or_else(|| WindowError::Zone(text.to_owned()))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({self})")
    }
}

/// A part of a window as it is written in a job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Period")]
struct Written {
    /// Nothing may be deployed in it; else it may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    freeze: bool,
    /// The days on which the hours begin, as in `mon,tue`; every day where there is nothing. Not beside dates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    days: Option<String>,
    /// A time of day (`20:00`), or the first day (`2026-12-20`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// A time of day, not included, on the next day where it is before `from`; or the last day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// The time zone by its IANA name, as in `Europe/Berlin`.
    zone: String,
}

impl TryFrom<Written> for Period {
    type Error = WindowError;

    fn try_from(written: Written) -> Result<Period, WindowError> {
        let days = written.days.map(|days| days.parse()).transpose()?;
        let between = (written.from.as_deref(), written.to.as_deref());
        Period::new(written.freeze, written.zone.parse()?, days, between)
    }
}

impl From<Period> for Written {
    fn from(period: Period) -> Written {
        let (days, between) = match period.span {
            Span::Dates { first, last } => (None, Some((first.to_string(), last.to_string()))),
            Span::Hours { days, hours } => (
                (days != Days::ALL).then(|| days.to_string()),
                hours.map(|(from, to)| (from.to_string(), to.to_string())),
            ),
        };
        let (from, to) = between.unzip();
        Written { freeze: period.freeze, days, from, to, zone: period.zone.to_string() }
    }
}
