//! What is made of the turns, and the bounds that are printed with it.

/// The middle one.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of what each turn's two figures come to: a noisy neighbour meets both.
pub(crate) fn median_of(ours: &[f64], theirs: &[f64], of: impl Fn(f64, f64) -> f64) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| of(*ours, *theirs)).collect())
}

pub(crate) fn most(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Prints a figure with what became of its bound, which it hands back.
pub(crate) fn judged(line: &str, is_kept: bool) -> bool {
    println!("{line}: {}", if is_kept { "kept" } else { "NOT KEPT" });
    is_kept
}
