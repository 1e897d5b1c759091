//! Finds the word that somebody has probably meant.

/// Longer words are not compared: no verb or command is that long.
const WORD_BYTES_MAX: usize = 24;
/// Words of this many bytes may differ in two places, shorter ones in one.
const LONG_WORD_BYTES: usize = 5;

/// The candidate that differs least from a mistyped word, the first of them if several do. `None` if
/// all of them differ in more than one place, or, where word and candidate have five letters or more,
/// in more than two. Upper and lower case are the same; two neighbours that have changed places count
/// as one difference.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &'a str| {
        let is_long = word.len().min(candidate.len()) >= LONG_WORD_BYTES;
        let most = if is_long { 2 } else { 1 };
        let differences = distance(word.as_bytes(), candidate.as_bytes())?;
        (differences <= most).then_some((differences, candidate))
    };
    let found = candidates.filter_map(near);
    found
        .min_by_key(|&(differences, _)| differences)
        .map(|(_, candidate)| candidate)
}

/// In how many places two words differ: their optimal string alignment distance, byte by byte. `None`
/// if a word is too long.
fn distance(a: &[u8], b: &[u8]) -> Option<usize> {
    if a.len().max(b.len()) > WORD_BYTES_MAX {
        return None;
    }
    let is_same = |i: usize, j: usize| a[i].eq_ignore_ascii_case(&b[j]);
    // The distances of the beginning of `a` to all beginnings of `b`: for the one that ends here, and
    // for the two before it.
    let mut before = [0; WORD_BYTES_MAX + 1];
    let mut last: [usize; WORD_BYTES_MAX + 1] = std::array::from_fn(|j| j);
    for i in 0..a.len() {
        let mut row = [i + 1; WORD_BYTES_MAX + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(!is_same(i, j));
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && is_same(i, j - 1) && is_same(i - 1, j) {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        (before, last) = (last, row);
    }
    Some(last[b.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBS: [&str; 6] = ["JOIN", "SAY", "WHO", "LEAVE", "HELP", "DETACH"];

    #[test]
    fn a_mistyped_word_finds_the_one_that_was_meant() {
        for (word, meant) in [
            ("JOI", Some("JOIN")),
            ("joinn", Some("JOIN")),
            ("jpin", Some("JOIN")),
            ("SYA", Some("SAY")),
            ("whp", Some("WHO")),
            ("wo", Some("WHO")),
            ("LAEVE", Some("LEAVE")),
            ("laeves", Some("LEAVE")),
            ("DTACHE", Some("DETACH")),
            ("JION", Some("JOIN")),
            ("help", Some("HELP")),
            // Two differences, and a short word.
            ("hello", None),
            ("JO", None),
            ("", None),
            ("hpel", None),
            ("everybody", None),
            ("\u{e9}", None),
            ("DETACHDETACHDETACHDETACHDETACH", None),
        ] {
            assert_eq!(nearest(word, VERBS.into_iter()), meant, "{word}");
        }
    }

    #[test]
    fn the_first_of_the_nearest_is_taken() {
        let of = |candidates: &[&'static str]| nearest("cat", candidates.iter().copied());
        assert_eq!(of(&["cart", "cut", "car"]), Some("cart"));
        assert_eq!(of(&["cart", "CAT"]), Some("CAT"));
        assert_eq!(of(&["dog"]), None);
        assert_eq!(of(&[]), None);
    }

    /// Compared with the definition, which tries every way.
    #[test]
    fn the_distance_is_that_of_the_shortest_way() {
        fn by_definition(a: &[u8], b: &[u8]) -> usize {
            let ([a_rest @ .., x], [b_rest @ .., y]) = (a, b) else {
                return a.len() + b.len();
            };
            let replaced = by_definition(a_rest, b_rest) + usize::from(x != y);
            let shorter = by_definition(a_rest, b).min(by_definition(a, b_rest)) + 1;
            let swapped = match (a_rest, b_rest) {
                ([a_rest @ .., v], [b_rest @ .., w]) if (v, x) == (y, w) => {
                    by_definition(a_rest, b_rest) + 1
                }
                _ => usize::MAX,
            };
            replaced.min(shorter).min(swapped)
        }
        let mut rng = fastrand::Rng::with_seed(1);
        let mut word = || -> Vec<u8> { (0..rng.usize(..6)).map(|_| rng.u8(b'a'..b'd')).collect() };
        for _ in 0..2000 {
            let (a, b) = (word(), word());
            let (upper, expected) = (a.to_ascii_uppercase(), by_definition(&a, &b));
            assert_eq!(distance(&upper, &b), Some(expected), "{a:?} {b:?}");
        }
    }
}
