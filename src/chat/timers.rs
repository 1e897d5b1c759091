//! Timers for one kind of thing, at most one for each.

use std::marker::PhantomData;

use crate::state::{Tag, Writer};
use crate::time::Millis;
use crate::wheel::Wheel;

/// A timer wheel that names its timers by the ids of what they are for.
#[derive(Debug)]
pub(super) struct Timers<Id> {
    wheel: Wheel,
    of: PhantomData<Id>,
}

impl<Id: Into<u32> + From<u32>> Timers<Id> {
    pub fn new() -> Self {
        Timers::at(Millis(0))
    }

    /// No timers, on a wheel with another present.
    pub fn at(present: Millis) -> Self {
        Timers {
            wheel: Wheel::at(present),
            of: PhantomData,
        }
    }

    /// See [`Wheel::file`].
    pub fn file(&mut self, id: Id, when: Millis) {
        self.wheel.file(id.into(), when);
    }

    /// See [`Wheel::cancel`].
    pub fn cancel(&mut self, id: Id) {
        self.wheel.cancel(id.into());
    }

    /// See [`Wheel::when`].
    pub fn when(&self, id: Id) -> Option<Millis> {
        self.wheel.when(id.into())
    }

    /// See [`Wheel::pop`].
    pub fn pop(&mut self, now: Millis, work: &mut usize) -> Option<Id> {
        self.wheel.pop(now, work).map(Id::from)
    }

    /// See [`Wheel::next_deadline`].
    pub fn next_deadline(&mut self) -> Option<Millis> {
        self.wheel.next_deadline()
    }

    /// See [`Wheel::shrink`].
    pub fn shrink(&mut self) {
        self.wheel.shrink();
    }

    /// Appends all timers to a state.
    pub fn save(&self, tag: Tag, out: &mut Writer<'_>) {
        out.list(tag, self.wheel.in_filing_order());
    }

    /// The wheel itself, for questions that are the same for all kinds.
    pub fn wheel(&self) -> &Wheel {
        &self.wheel
    }
}
