use jiff::ToSpan;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn window(periods: serde_json::Value) -> Window {
    serde_json::from_value(json!({"name": "w", "periods": periods})).unwrap()
}

fn refused(period: serde_json::Value) -> String {
    serde_json::from_value::<Period>(period).unwrap_err().to_string()
}

/// The changes of a window between two times, as they are shown.
fn changes(window: &Window, from: &str, until: &str) -> Vec<String> {
    let (mut now, until) = (at(from), at(until));
    let mut told = Vec::new();
    loop {
        let (is_open, next) = match window.is_open(now) {
            true => (false, window.closes(now)),
            false => (true, window.opens(now)),
        };
        let Some(next) = next.filter(|next| *next < until) else { return told };
        told.push(format!("{} {next}", if is_open { "opens" } else { "closes" }));
        now = next;
    }
}

#[test]
fn a_night_belongs_to_the_day_on_which_it_begins() {
    let nights = json!([{"days": "mon-fri", "from": "20:00", "to": "06:00", "zone": "Asia/Shanghai"}]);
    // From a Thursday noon to the next Tuesday, by the clocks of Shanghai eight hours ahead.
    assert_eq!(
        changes(&window(nights), "2026-11-19T04:00:00Z", "2026-11-24T04:00:00Z"),
        [
            "opens 2026-11-19T12:00:00Z",
            "closes 2026-11-19T22:00:00Z",
            "opens 2026-11-20T12:00:00Z",
            // Saturday morning, the end of Friday's.
            "closes 2026-11-20T22:00:00Z",
            "opens 2026-11-23T12:00:00Z",
            "closes 2026-11-23T22:00:00Z",
        ]
    );
}

#[test]
fn several_parts_are_one_window_and_whole_days_join() {
    let office = window(json!([
        {"days": "mon-thu", "from": "09:00", "to": "17:00", "zone": "UTC"},
        {"days": "fri", "from": "09:00", "to": "12:00", "zone": "UTC"},
        {"days": "sat,sun", "zone": "UTC"}
    ]));
    assert_eq!(
        changes(&office, "2026-11-19T18:00:00Z", "2026-11-23T12:00:00Z"),
        [
            "opens 2026-11-20T09:00:00Z",
            "closes 2026-11-20T12:00:00Z",
            "opens 2026-11-21T00:00:00Z",
            "closes 2026-11-23T00:00:00Z",
            "opens 2026-11-23T09:00:00Z",
        ]
    );
    let always = window(json!([{"from": "00:00", "to": "24:00", "zone": "UTC"}]));
    assert_eq!(changes(&always, "2026-11-19T18:00:00Z", "2027-01-01T00:00:00Z"), [""; 0]);
    assert!(
        always.is_open(at("2026-11-19T18:00:00Z")) && always.closes(at("2026-11-19T18:00:00Z")).is_none()
    );
}

#[test]
fn a_freeze_closes_what_is_open_else_and_stands_alone_too() {
    let freeze = json!({"freeze": true, "from": "2026-12-20", "to": "2027-01-04", "zone": "Europe/Berlin"});
    let alone = window(json!([freeze]));
    assert_eq!(
        changes(&alone, "2026-12-01T00:00:00Z", "2027-03-01T00:00:00Z"),
        ["closes 2026-12-19T23:00:00Z", "opens 2027-01-04T23:00:00Z"]
    );
    let nights = json!({"from": "20:00", "to": "06:00", "zone": "UTC"});
    assert_eq!(
        changes(&window(json!([nights, freeze])), "2026-12-19T12:00:00Z", "2027-01-05T12:00:00Z"),
        [
            "opens 2026-12-19T20:00:00Z",
            "closes 2026-12-19T23:00:00Z",
            "opens 2027-01-04T23:00:00Z",
            "closes 2027-01-05T06:00:00Z",
        ]
    );
    let fridays =
        window(json!([{"freeze": true, "days": "fri", "from": "12:00", "to": "24:00", "zone": "UTC"}]));
    assert_eq!(
        changes(&fridays, "2026-11-19T00:00:00Z", "2026-11-22T00:00:00Z"),
        ["closes 2026-11-20T12:00:00Z", "opens 2026-11-21T00:00:00Z"]
    );
    let never = window(json!([{"freeze": true, "zone": "UTC"}]));
    assert_eq!(never.opens(at("2026-11-19T00:00:00Z")), None);
}

#[test]
fn the_clock_on_the_wall_counts_when_it_is_set() {
    let of = |zone: &str, from: &str, to: &str| window(json!([{"from": from, "to": to, "zone": zone}]));
    // In Berlin 02:00 to 03:00 is skipped on 2026-03-29, and comes twice on 2026-10-25.
    let early = of("Europe/Berlin", "01:30", "02:30");
    assert_eq!(
        changes(&early, "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z"),
        ["opens 2026-03-29T00:30:00Z", "closes 2026-03-29T01:00:00Z"]
    );
    assert_eq!(
        changes(&early, "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"),
        [
            "opens 2026-10-24T23:30:00Z",
            "closes 2026-10-25T00:30:00Z",
            "opens 2026-10-25T01:00:00Z",
            "closes 2026-10-25T01:30:00Z",
        ]
    );
    let skipped = of("Europe/Berlin", "02:15", "02:45");
    assert_eq!(changes(&skipped, "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z"), [""; 0]);
    assert_eq!(skipped.opens(at("2026-03-29T00:00:00Z")), Some(at("2026-03-30T00:15:00Z")));
    // New York sets its clocks on other days: 2026-03-08 and 2026-11-01. A night is an hour shorter, or longer.
    let nights = of("America/New_York", "20:00", "06:00");
    assert_eq!(
        changes(&nights, "2026-03-07T12:00:00Z", "2026-03-08T12:00:00Z"),
        ["opens 2026-03-08T01:00:00Z", "closes 2026-03-08T10:00:00Z"]
    );
    assert_eq!(
        changes(&nights, "2026-10-31T12:00:00Z", "2026-11-01T12:00:00Z"),
        ["opens 2026-11-01T00:00:00Z", "closes 2026-11-01T11:00:00Z"]
    );
}

#[test]
fn it_is_told_when_it_opened_last() {
    let nights = window(json!([{"from": "20:00", "to": "06:00", "zone": "UTC"}]));
    let since = |from: &str, now: &str| nights.open_since(at(from), at(now));
    assert_eq!(since("2026-11-19T12:00:00Z", "2026-11-19T19:00:00Z"), None);
    assert_eq!(since("2026-11-19T12:00:00Z", "2026-11-19T21:00:00Z"), Some(at("2026-11-19T20:00:00Z")));
    assert_eq!(since("2026-11-19T12:00:00Z", "2026-11-22T12:00:00Z"), Some(at("2026-11-21T20:00:00Z")));
    assert_eq!(since("2026-11-19T21:00:00Z", "2026-11-19T22:00:00Z"), Some(at("2026-11-19T21:00:00Z")));
    // A time long past costs nothing.
    assert_eq!(since("1970-01-01T00:00:00Z", "2026-11-22T12:00:00Z"), Some(at("2026-11-21T20:00:00Z")));
    let always = window(json!([{"zone": "UTC"}]));
    assert_eq!(
        always.open_since(at("2026-11-19T12:00:00Z"), at("2026-11-20T12:00:00Z")),
        Some(at("2026-11-19T12:00:00Z"))
    );
}

#[test]
fn what_is_written_comes_back_and_mistakes_are_named() {
    for period in [
        json!({"days": "mon,tue,wed,thu,fri", "from": "20:00", "to": "06:00", "zone": "Asia/Shanghai"}),
        json!({"freeze": true, "from": "2026-12-20", "to": "2027-01-04", "zone": "Europe/Berlin"}),
        json!({"from": "20:00:05", "to": "20:00:10", "zone": "UTC"}),
        json!({"days": "mon,fri,sat,sun", "zone": "UTC"}),
    ] {
        let read: Period = serde_json::from_value(period.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), period);
    }
    let days = |text: &str| text.parse::<Days>().map(|days| days.to_string());
    assert_eq!(days("fri-mon").unwrap(), "mon,fri,sat,sun");
    assert_eq!(days("Wednesday, Sun").unwrap(), "wed,sun");
    for (period, why) in [
        (json!({"days": "mon-foo", "zone": "UTC"}), "`foo` is no day of the week"),
        (json!({"days": "", "zone": "UTC"}), "`` is no day of the week"),
        (json!({"zone": "Europe/Atlantis"}), "there is no time zone `Europe/Atlantis`"),
        (json!({"from": "8", "to": "17:00", "zone": "UTC"}), "`8` is no time of day"),
        (json!({"from": "08:00", "to": "25:00", "zone": "UTC"}), "`25:00` is no time of day"),
        (json!({"from": "08:00", "to": "08:00", "zone": "UTC"}), "`from` and `to` are the same time"),
        (json!({"from": "00:00", "to": "00:00", "zone": "UTC"}), "`from` and `to` are the same time"),
        (json!({"from": "08:00", "zone": "UTC"}), "`from` and `to` are given together or not at all"),
        (
            json!({"from": "2026-12-20", "to": "08:00", "zone": "UTC"}),
            "`from` and `to` are both times of day",
        ),
        (json!({"from": "2026-12-32", "to": "2027-01-01", "zone": "UTC"}), "`2026-12-32` is no day"),
        (json!({"from": "2026-12-20", "to": "2026-12-19", "zone": "UTC"}), "`to` is before `from`"),
        (
            json!({"days": "mon", "from": "2026-12-20", "to": "2026-12-21", "zone": "UTC"}),
            "dates take no `days`",
        ),
        (json!({"zone": "UTC", "moon": "full"}), "unknown field `moon`"),
    ] {
        let told = refused(period);
        assert!(told.starts_with(why), "{told}");
    }
}

#[test]
fn every_zone_is_known_on_a_machine_without_any() {
    // The ones that are built in, beside those of this machine.
    let bundled = jiff::tz::TimeZoneDatabase::bundled();
    for zone in ["Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"] {
        assert!(bundled.get(zone).is_ok(), "{zone}");
    }
}

fn clock() -> impl Strategy<Value = String> {
    (0..24u8, 0..60u8).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"))
}

fn period() -> impl Strategy<Value = serde_json::Value> {
    let zones = vec!["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "UTC"];
    let days = proptest::sample::subsequence(vec!["mon", "tue", "wed", "thu", "fri", "sat", "sun"], 1..=7);
    let hours = (clock(), clock()).prop_filter("some time", |(from, to)| from != to);
    let freeze = proptest::bool::weighted(0.25);
    (proptest::sample::select(zones), days, proptest::option::weighted(0.8, hours), freeze).prop_map(
        |(zone, days, hours, freeze)| {
            let (from, to) = hours.unzip();
            json!({"freeze": freeze, "days": days.join(","), "from": from, "to": to, "zone": zone})
        },
    )
}

/// Moments around those at which Berlin, New York and Lord Howe set their clocks, and any other.
fn moment() -> impl Strategy<Value = Timestamp> {
    let set = vec![
        "2026-03-08T07:00:00Z",
        "2026-03-29T01:00:00Z",
        "2026-04-04T15:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-11-01T06:00:00Z",
    ];
    (proptest::sample::select(set), -3_000..3_000i64).prop_map(|(set, minutes)| at(set) + minutes.minutes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_opening_is_the_first_open_minute(periods in proptest::collection::vec(period(), 1..4), from in moment()) {
        let window = window(json!(periods));
        let minutes = || (0..8 * 24 * 60i64).map(|minute| from + minute.minutes());
        for (open, told) in [(true, window.opens(from)), (false, window.closes(from))] {
            // All is written in whole minutes, so the first minute is the first moment.
            let expected = minutes().find(|minute| window.is_open(*minute) == open);
            match (expected, told) {
                (Some(expected), told) => prop_assert_eq!(told, Some(expected)),
                (None, Some(told)) => {
                    prop_assert!(told > from + (8 * 24).hours() - 1.minutes());
                    prop_assert_eq!(window.is_open(told), open);
                }
                (None, None) => {}
            }
        }
    }
}
