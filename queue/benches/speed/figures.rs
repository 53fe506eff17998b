//! A figure beside its baseline, and the bound it has to keep.

use std::{fmt, time::Duration};

/// The least ratio to the baseline.
pub(crate) struct Floor(pub(crate) f64);

enum Bound {
    /// Messages a second, ours at least so many times the baseline's.
    Ratio(Floor),
    /// Seconds, ours at most so much more than the baseline's.
    Extra(Duration),
}

/// What was measured in turns.
pub(crate) struct Comparison {
    what: &'static str,
    beside: &'static str,
    bound: Bound,
    baseline: Vec<f64>,
    ours: Vec<f64>,
}

impl Comparison {
    /// Messages a second.
    pub(crate) fn rates(what: &'static str, beside: &'static str, floor: Floor) -> Comparison {
        Comparison::new(what, beside, Bound::Ratio(floor))
    }

    /// Times, of which ours may be so much longer.
    pub(crate) fn delays(what: &'static str, beside: &'static str, most: Duration) -> Comparison {
        Comparison::new(what, beside, Bound::Extra(most))
    }

    fn new(what: &'static str, beside: &'static str, bound: Bound) -> Comparison {
        Comparison { what, beside, bound, baseline: Vec::new(), ours: Vec::new() }
    }

    pub(crate) fn baseline(&mut self, figure: f64) {
        self.baseline.push(figure);
    }

    pub(crate) fn ours(&mut self, figure: f64) {
        self.ours.push(figure);
    }

    pub(crate) fn is_kept(&self) -> bool {
        match &self.bound {
            Bound::Ratio(Floor(least)) => self.middle(|ours, baseline| ours / baseline) >= *least,
            Bound::Extra(most) => self.middle(|ours, baseline| ours - baseline) < most.as_secs_f64(),
        }
    }

    /// The median over the rounds.
    fn middle(&self, of: impl Fn(f64, f64) -> f64) -> f64 {
        median(self.ours.iter().zip(&self.baseline).map(|(ours, baseline)| of(*ours, *baseline)).collect())
    }
}

/// The middle one.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ours, baseline) = (median(self.ours.clone()), median(self.baseline.clone()));
        let verdict = if self.is_kept() { "kept" } else { "NOT KEPT" };
        match &self.bound {
            Bound::Ratio(Floor(least)) => {
                let ratio = self.middle(|ours, baseline| ours / baseline);
                write!(
                    f,
                    "{}: {ours:.0}/s beside {baseline:.0}/s ({}): {ratio:.2} times, at least {least}: {verdict}",
                    self.what, self.beside
                )
            }
            Bound::Extra(most) => {
                let extra = self.middle(|ours, baseline| ours - baseline) * 1e6;
                write!(
                    f,
                    "{}: median {:.0} µs beside {:.0} µs ({}): {extra:.0} µs more, less than {} µs: {verdict}",
                    self.what,
                    ours * 1e6,
                    baseline * 1e6,
                    self.beside,
                    most.as_micros()
                )
            }
        }
    }
}
