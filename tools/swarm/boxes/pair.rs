//! What one box passes on from another in a room, compared with what that one's own members got.
//!
//! The other one is the *origin*. Its own events are dense, so two things suffice: which of them comes
//! next, and how many a MISSED has counted since the last one. As the origin's members may get an event
//! later than others, whatever comes too early waits.
//!
//! A box that crashes begins another life, with events of its own. What it said last in the former life
//! may have reached other boxes and none of its own members.

use std::collections::{BTreeMap, VecDeque};

use super::event::Sign;
use crate::ledger::{Checked, Message};
use crate::line::shown;

/// How many messages each sender has said, by some time.
pub type Counts = BTreeMap<u32, u32>;

/// An event as all boxes have it.
#[derive(Clone, Debug)]
pub struct Deed {
    pub bytes: Box<[u8]>,
    /// Which message it is, if it is one.
    pub message: Option<Message>,
}

/// A life of an origin.
#[derive(Debug, Default)]
pub struct Life {
    /// Its own events, as its members got them.
    pub events: Vec<Deed>,
    /// Once it is over: what its senders had said by then, whether its members got that or not.
    pub end: Option<Counts>,
}

/// Whether a box says that it hears another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has said nothing about that since somebody listens.
    Unknown,
    Linked,
    Split,
}

/// Something that has come, and that is still to be compared.
#[derive(Debug)]
struct Heard {
    /// Its number in the log of the box that has passed it on.
    seq: u64,
    deed: Deed,
    /// What MISSED has counted before it.
    missed: u64,
    /// It may be from another life, as HEALED has come before.
    may_change: bool,
}

/// What a box passes on from an origin.
#[derive(Debug)]
pub struct Pair {
    standing: Standing,
    /// The origin has begun another life, and since then the box has neither said that it hears it nor
    /// passed on anything of it.
    is_behind: bool,
    /// In which life of the origin it is.
    life: usize,
    /// Which event of that life comes next, if that is known.
    next: Option<usize>,
    /// What was said by the time from which on nothing may be missing.
    since: Option<Counts>,
    /// The next message of each sender whose last words only others have heard.
    last_words: Counts,
    missed: u64,
    may_change: bool,
    waiting: VecDeque<Heard>,
}

/// Where something belongs that a box has passed on.
enum Place {
    At {
        life: usize,
        index: usize,
    },
    /// The origin's own members never got it.
    LastWords(Message),
    /// Only later events tell.
    Unknown,
}

impl Pair {
    /// Nothing is known of what a box passes on from an origin that is in this life.
    pub fn new(life: usize) -> Pair {
        Pair {
            standing: Standing::Unknown,
            is_behind: false,
            life,
            next: None,
            since: None,
            last_words: Counts::new(),
            missed: 0,
            may_change: true,
            waiting: VecDeque::new(),
        }
    }

    /// Whether the box does not say that the origin is lost, nor take it to be in a former life: what the
    /// present one says before the box has heard of it does not come.
    pub fn may_be_linked(&self) -> bool {
        self.standing != Standing::Split && !self.is_behind
    }

    /// The origin has begun another life.
    pub fn origin_begins_life(&mut self) {
        self.is_behind = true;
    }

    /// From now on nothing may be missing, if nothing has come yet. `said` is what the origin's senders have
    /// said by now. The box has met the origin, though its HEALED may still be on its way.
    pub fn expect_all(&mut self, said: &Counts) {
        if self.next.is_none() && self.since.is_none() {
            self.since = Some(said.clone());
        }
    }

    /// Takes what the box says of the origin, whose senders have said this much by now.
    pub fn take_sign(&mut self, sign: Sign, said: &Counts) -> Checked<()> {
        match (sign, self.standing) {
            (Sign::Split, Standing::Split) => {
                Err("a SPLIT comes without a HEALED before it".into())
            }
            (Sign::Healed, Standing::Linked) => {
                Err("a HEALED comes without a SPLIT before it".into())
            }
            (Sign::Missed(_), Standing::Split) => {
                Err("a MISSED comes between SPLIT and HEALED".into())
            }
            (Sign::Missed(0), _) => Err("a MISSED counts nothing".into()),
            (Sign::Split, _) => {
                self.standing = Standing::Split;
                Ok(())
            }
            (Sign::Healed, _) => {
                self.standing = Standing::Linked;
                self.is_behind = false;
                self.may_change = true;
                self.since = Some(said.clone());
                Ok(())
            }
            (Sign::Missed(count), _) => {
                self.missed += count;
                Ok(())
            }
        }
    }

    /// Takes an event of the origin that has this number here.
    pub fn take(&mut self, seq: u64, deed: Deed, lives: &[Life]) -> Checked<()> {
        if self.standing == Standing::Split {
            let shown = shown(&deed.bytes);
            return Err(format!(
                "event {seq} comes between SPLIT and HEALED: {shown}"
            ));
        }
        self.standing = Standing::Linked;
        self.waiting.push_back(Heard {
            seq,
            deed,
            missed: std::mem::take(&mut self.missed),
            may_change: std::mem::take(&mut self.may_change),
        });
        self.settle(lives)
    }

    /// Compares what waits with what the origin's members have got by now.
    pub fn settle(&mut self, lives: &[Life]) -> Checked<()> {
        while let Some(heard) = self.waiting.front() {
            match self.place(heard, lives)? {
                Place::Unknown => break,
                Place::At { life, index } => {
                    if life != self.life {
                        self.last_words.clear();
                        self.is_behind &= life + 1 < lives.len();
                    }
                    (self.life, self.next) = (life, Some(index + 1));
                }
                Place::LastWords(message) => {
                    self.last_words.insert(message.sender, message.number + 1);
                }
            }
            self.waiting.pop_front();
        }
        Ok(())
    }

    /// Finds out where the first event belongs that waits.
    fn place(&self, heard: &Heard, lives: &[Life]) -> Checked<Place> {
        let life = &lives[self.life];
        let is_it = |deed: &Deed| deed.bytes == heard.deed.bytes;
        if let Some(next) = self.next {
            let index = next + heard.missed as usize;
            match life.events.get(index) {
                Some(deed) if is_it(deed) => {
                    return Ok(Place::At {
                        life: self.life,
                        index,
                    });
                }
                None if life.end.is_none() => return Ok(Place::Unknown),
                Some(_) if !heard.may_change || self.life + 1 == lives.len() => {
                    return Err(self.wrong(heard, lives));
                }
                _ => {}
            }
        }
        // It begins somewhere, or goes on in another life.
        let first = if self.next.is_none() {
            self.life
        } else {
            self.life + 1
        };
        if heard.may_change {
            for (number, newer) in lives.iter().enumerate().skip(first) {
                if let Some(index) = newer.events.iter().position(is_it) {
                    self.check_beginning(heard, &newer.events[..index])?;
                    return Ok(Place::At {
                        life: number,
                        index,
                    });
                }
            }
        }
        if let Some(end) = &life.end {
            if !life.events.iter().any(is_it) {
                if let Some(message) = heard.deed.message {
                    let next = self.last_words.get(&message.sender);
                    let is_next = next.is_none_or(|next| message.number >= *next);
                    if is_next && end.get(&message.sender) > Some(&message.number) {
                        return Ok(Place::LastWords(message));
                    }
                }
            }
        }
        let newest = lives.last().expect("there is one at least");
        match heard.may_change && newest.end.is_none() {
            true => Ok(Place::Unknown),
            false => Err(self.wrong(heard, lives)),
        }
    }

    /// Checks that nothing was passed over, where a box begins, that was said later than HEALED.
    fn check_beginning(&self, heard: &Heard, before: &[Deed]) -> Checked<()> {
        let Some(since) = self.since.as_ref().filter(|_| heard.missed == 0) else {
            return Ok(());
        };
        let is_late = |deed: &&Deed| {
            deed.message
                .is_some_and(|m| since.get(&m.sender).is_some_and(|said| m.number >= *said))
        };
        match before.iter().find(is_late) {
            None => Ok(()),
            Some(deed) => Err(format!(
                "event {} is the first after HEALED, {}, and this was said between: {}",
                heard.seq,
                shown(&heard.deed.bytes),
                shown(&deed.bytes)
            )),
        }
    }

    /// What to tell of an event that is not what has to come now.
    fn wrong(&self, heard: &Heard, lives: &[Life]) -> String {
        let (seq, text) = (heard.seq, shown(&heard.deed.bytes));
        let events = &lives[self.life].events;
        let found = events
            .iter()
            .position(|deed| deed.bytes == heard.deed.bytes);
        let next = self.next.unwrap_or(0);
        let expected = match events.get(next) {
            Some(deed) => format!("this was next: {}", shown(&deed.bytes)),
            None => "nothing of that life was left".into(),
        };
        match found {
            Some(index) if index < next => {
                format!("event {seq} came again or too late: {text}; {expected}")
            }
            Some(index) => format!(
                "event {seq} came with {} missing before it, and MISSED counts {}: {text}; {expected}",
                index - next,
                heard.missed
            ),
            None => format!("event {seq} was never said there: {text}; {expected}"),
        }
    }

    /// What is not as it has to be once all has arrived.
    pub fn open(&self, lives: &[Life]) -> Option<String> {
        if self.standing == Standing::Split {
            return Some("is lost".into());
        }
        if let Some(heard) = self.waiting.front() {
            return Some(self.wrong(heard, lives));
        }
        let newest = &lives.last()?.events;
        let Some(next) = self.next.filter(|_| self.life + 1 == lives.len()) else {
            return Some(match newest.first() {
                Some(_) => "nothing of its present life came".into(),
                None => "it has said nothing".into(),
            });
        };
        let next = next + self.missed as usize;
        match newest.get(next) {
            Some(deed) => Some(format!(
                "{} events are missing, from this on: {}",
                newest.len() - next,
                shown(&deed.bytes)
            )),
            None if next > newest.len() => {
                Some(format!("MISSED counts {} too many", next - newest.len()))
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Event `number` of an origin: a message of its only sender, which is 3.
    fn deed(number: u32) -> Deed {
        Deed {
            bytes: format!("MSG 17 s0 {number}").into_bytes().into(),
            message: Some(Message { sender: 3, number }),
        }
    }

    fn said(count: u32) -> Counts {
        Counts::from([(3, count)])
    }

    /// A life with these messages, which is not over.
    fn life(numbers: std::ops::Range<u32>) -> Life {
        Life {
            events: numbers.map(deed).collect(),
            end: None,
        }
    }

    /// A box that has heard the first two of ten.
    fn begun() -> (Pair, [Life; 1]) {
        let (mut pair, lives) = (Pair::new(0), [life(0..10)]);
        for number in 0..2 {
            pair.take(u64::from(number), deed(number), &lives).unwrap();
        }
        (pair, lives)
    }

    #[track_caller]
    fn expect(found: Checked<()>, texts: &[&str]) {
        let fault = found.unwrap_err();
        for text in texts {
            assert!(fault.contains(text), "no {text:?}: {fault}");
        }
    }

    #[test]
    fn what_is_passed_on_in_order_is_right_whoever_hears_it_first() {
        for ahead in [0, 1, 5, 10] {
            let mut lives = [life(0..0)];
            let mut pair = Pair::new(0);
            let (mut told, mut heard) = (0, 0);
            while heard < 10 {
                if heard < 10.min(told + ahead) {
                    pair.take(heard.into(), deed(heard), &lives).unwrap();
                    heard += 1;
                } else {
                    lives[0].events.push(deed(told));
                    told += 1;
                    pair.settle(&lives).unwrap();
                }
            }
            lives[0].events.extend((told..10).map(deed));
            pair.settle(&lives).unwrap();
            assert_eq!(pair.open(&lives), None, "{ahead}");
        }
    }

    #[test]
    fn a_lost_event_is_found_out() {
        let (mut pair, lives) = begun();
        let taken = pair.take(9, deed(4), &lives);
        expect(
            taken,
            &[
                "event 9 came with 2 missing before it",
                "MISSED counts 0",
                "s0 4",
            ],
        );
    }

    #[test]
    fn the_last_event_that_is_lost_is_found_out() {
        let (mut pair, lives) = begun();
        for number in 2..9 {
            pair.take(9, deed(number), &lives).unwrap();
        }
        let open = pair.open(&lives).unwrap();
        assert!(
            open.contains("1 events are missing, from this on: MSG 17 s0 9"),
            "{open}"
        );
    }

    #[test]
    fn an_event_that_comes_twice_or_late_is_found_out() {
        let (mut pair, lives) = begun();
        expect(
            pair.take(9, deed(1), &lives),
            &["event 9 came again or too late", "next: MSG 17 s0 2"],
        );
        let (mut pair, lives) = begun();
        expect(pair.take(9, deed(3), &lives), &["1 missing before it"]);
        // The origin's own members have not got that far yet.
        let (mut pair, mut lives) = (Pair::new(0), [life(0..1)]);
        pair.take(1, deed(0), &lives).unwrap();
        pair.take(2, deed(0), &lives).unwrap();
        lives[0].events.push(deed(1));
        expect(pair.settle(&lives), &["event 2 came again or too late"]);
    }

    #[test]
    fn what_was_never_said_is_found_out() {
        let (mut pair, lives) = begun();
        let other = Deed {
            bytes: (*b"MSG 17 s0 lies").into(),
            message: None,
        };
        expect(
            pair.take(9, other, &lives),
            &["event 9 was never said there: MSG 17 s0 lies"],
        );
    }

    #[test]
    fn missed_has_to_count_exactly() {
        for (count, is_right) in [(2, false), (3, true), (4, false)] {
            let (mut pair, lives) = begun();
            pair.take_sign(Sign::Missed(count), &said(10)).unwrap();
            let taken = pair.take(9, deed(5), &lives);
            assert_eq!(taken.is_ok(), is_right, "{count}: {taken:?}");
            if let Err(fault) = taken {
                assert!(fault.contains(&format!("3 missing before it, and MISSED counts {count}")));
            }
        }
        // Two of them add up.
        let (mut pair, lives) = begun();
        for count in [1, 2] {
            pair.take_sign(Sign::Missed(count), &said(10)).unwrap();
        }
        pair.take(9, deed(5), &lives).unwrap();
        // At the end there is nothing to compare with but how many there are.
        for (count, texts) in [
            (3, "1 events are missing"),
            (4, ""),
            (5, "MISSED counts 1 too many"),
        ] {
            let (mut pair, lives) = begun();
            for number in 2..6 {
                pair.take(9, deed(number), &lives).unwrap();
            }
            pair.take_sign(Sign::Missed(count), &said(10)).unwrap();
            let open = pair.open(&lives).unwrap_or_default();
            assert!(
                open.contains(texts) && open.is_empty() == texts.is_empty(),
                "{open}"
            );
        }
        expect(
            begun().0.take_sign(Sign::Missed(0), &said(10)),
            &["counts nothing"],
        );
    }

    #[test]
    fn splits_and_heals_alternate_and_nothing_comes_in_between() {
        let (mut pair, lives) = begun();
        expect(
            pair.take_sign(Sign::Healed, &said(10)),
            &["HEALED comes without a SPLIT"],
        );
        pair.take_sign(Sign::Split, &said(10)).unwrap();
        assert!(!pair.may_be_linked());
        expect(
            pair.take_sign(Sign::Split, &said(10)),
            &["SPLIT comes without a HEALED"],
        );
        expect(
            pair.take_sign(Sign::Missed(1), &said(10)),
            &["between SPLIT and HEALED"],
        );
        expect(
            pair.take(9, deed(2), &lives),
            &["event 9 comes between SPLIT and HEALED"],
        );
        assert_eq!(pair.open(&lives).as_deref(), Some("is lost"));
        pair.take_sign(Sign::Healed, &said(10)).unwrap();
        expect(
            pair.take_sign(Sign::Healed, &said(10)),
            &["HEALED comes without a SPLIT"],
        );
        pair.take(9, deed(2), &lives).unwrap();
        // It goes on where it was: nothing may be missing after HEALED either.
        pair.take_sign(Sign::Split, &said(10)).unwrap();
        pair.take_sign(Sign::Healed, &said(10)).unwrap();
        expect(pair.take(10, deed(5), &lives), &["2 missing before it"]);
    }

    #[test]
    fn a_box_begins_with_what_is_said_after_healed_at_the_latest() {
        for (first, is_right) in [(0, true), (4, true), (6, true), (7, false)] {
            let (mut pair, lives) = (Pair::new(0), [life(0..10)]);
            pair.take_sign(Sign::Healed, &said(6)).unwrap();
            let taken = pair.take(9, deed(first), &lives);
            assert_eq!(taken.is_ok(), is_right, "{first}: {taken:?}");
        }
        let (mut pair, lives) = (Pair::new(0), [life(0..10)]);
        pair.expect_all(&said(0));
        expect(
            pair.take(9, deed(1), &lives),
            &["was said between: MSG 17 s0 0"],
        );
        // Its members may get HEALED only now.
        let mut pair = Pair::new(0);
        pair.expect_all(&said(3));
        pair.take_sign(Sign::Healed, &said(3)).unwrap();
        pair.take(9, deed(3), &lives).unwrap();
    }

    #[test]
    fn another_life_begins_after_healed_and_no_life_comes_back() {
        let mut lives = vec![life(0..5)];
        let mut pair = Pair::new(0);
        for number in 0..4 {
            pair.take(9, deed(number), &lives).unwrap();
        }
        lives[0].end = Some(said(7));
        lives.push(life(7..9));
        assert!(pair.may_be_linked());
        pair.origin_begins_life();
        assert!(!pair.may_be_linked());
        expect(pair.take(9, deed(7), &lives), &["was never said there"]);
        pair.waiting.clear();
        // The members of the origin never got 5 and 6: it has crashed.
        pair.take(9, deed(4), &lives).unwrap();
        pair.take(9, deed(5), &lives).unwrap();
        expect(pair.take(9, deed(5), &lives), &["was never said there"]);
        pair.waiting.clear();
        pair.take_sign(Sign::Split, &said(7)).unwrap();
        pair.take_sign(Sign::Healed, &said(7)).unwrap();
        assert!(pair.may_be_linked() && pair.open(&lives).is_some());
        for number in 7..9 {
            pair.take(9, deed(number), &lives).unwrap();
        }
        assert_eq!(pair.open(&lives), None);
        // An event of the new life may come before the origin's members get it.
        pair.take(9, deed(9), &lives).unwrap();
        assert!(pair.open(&lives).is_some());
        lives[1].events.push(deed(9));
        pair.settle(&lives).unwrap();
        assert_eq!(pair.open(&lives), None);
        pair.take(9, deed(4), &lives).unwrap();
        let open = pair.open(&lives).unwrap();
        assert!(open.contains("was never said there"), "{open}");
        lives[1].events.push(deed(10));
        expect(
            pair.settle(&lives),
            &["was never said there", "next: MSG 17 s0 10"],
        );
    }
}
