//! Making inputs of inputs.

/// Longest input that is made, in bytes.
const LONGEST: usize = 16 * 1024;

/// What numbers, sizes and texts go wrong at.
const ODD: &[&str] = &[
    "",
    "0",
    "-1",
    "1e999",
    "18446744073709551616",
    "0.1",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "é",
    "\u{202e}",
    "\u{10ffff}",
    "\r\n",
    "\n",
    "\t",
    " ",
    "%00",
    "../",
    "//",
    ":",
    "@",
    "*",
    "&a",
    "*a",
    "<<",
    "|",
    ">-",
    "---",
    "!x",
    "#",
    "'",
    "\"",
    "sha256:",
    "${X}",
    "${",
    "$$",
    ",",
];

/// Makes inputs.
pub(crate) struct Changer<'a> {
    state: u64,
    dictionary: &'a [&'a str],
}

impl<'a> Changer<'a> {
    pub(crate) fn new(seed: u64, dictionary: &'a [&'a str]) -> Changer<'a> {
        Changer { state: seed ^ 0x9e37_79b9_7f4a_7c15, dictionary }
    }

    /// One of `kept`, changed a few times.
    pub(crate) fn change(&mut self, kept: &[Vec<u8>]) -> Vec<u8> {
        // The younger half more often: what led somewhere new leads further.
        let half = if self.below(2) == 0 { 0 } else { kept.len() / 2 };
        let mut input = kept.get(half + self.below(kept.len() - half)).cloned().unwrap_or_default();
        for _ in 0..=self.below(4) {
            self.once(&mut input, kept);
        }
        input.truncate(LONGEST);
        input
    }

    fn once(&mut self, input: &mut Vec<u8>, kept: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let most = 1 << self.below(8);
        let length = 1 + self.below(most);
        let end = (at + length).min(input.len());
        match self.below(9) {
            0 => {
                let bit = 1 << self.below(8);
                input.get_mut(at).into_iter().for_each(|byte| *byte ^= bit);
            }
            1 => {
                let value = self.next().to_le_bytes()[0];
                input.get_mut(at).into_iter().for_each(|byte| *byte = value);
            }
            2 => _ = input.drain(at..end),
            3 => {
                let again = input[at..end].to_vec();
                let most = 1 << self.below(7);
                let times = 1 + self.below(most);
                splice(input, at, at, &again.repeat(times));
            }
            4 => {
                let word = self.word();
                splice(input, at, at, word);
            }
            5 => {
                let word = self.word();
                splice(input, at, end, word);
            }
            6 => {
                // From here on as another goes on.
                let other = kept.get(self.below(kept.len())).cloned().unwrap_or_default();
                let from = self.below(other.len() + 1);
                let until = (from + length).min(other.len());
                splice(input, at, end, &other[from..until]);
            }
            7 => self.swap_values(input),
            _ => input.truncate(at),
        }
    }

    /// Puts something odd in place of what stands between two marks, such as a value of JSON or YAML.
    fn swap_values(&mut self, input: &mut Vec<u8>) {
        let is_mark = |byte: &u8| b"\",:{}[] \n/@'".contains(byte);
        let marks: Vec<usize> =
            input.iter().enumerate().filter(|(_, byte)| is_mark(byte)).map(|(at, _)| at).collect();
        let Some(first) = marks.get(self.below(marks.len())).copied() else { return };
        let end = marks.iter().copied().find(|mark| *mark > first).unwrap_or(input.len());
        let word = self.word();
        splice(input, first + 1, end, word);
    }

    fn word(&mut self) -> &'a [u8] {
        let all = ODD.len() + self.dictionary.len();
        let at = self.below(all);
        ODD.get(at).or_else(|| self.dictionary.get(at - ODD.len())).map_or(b"", |word| word.as_bytes())
    }

    /// A number below `bound`; 0 where there is none.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        usize::try_from(self.next() % bound).unwrap_or_default()
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn splice(input: &mut Vec<u8>, from: usize, to: usize, with: &[u8]) {
    let from = from.min(input.len());
    let to = to.clamp(from, input.len());
    input.splice(from..to, with.iter().copied());
}
