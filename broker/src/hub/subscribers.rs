//! The plain subscribers of a list, in no order. Most topics of a broker with very many have one
//! subscriber, so one needs no memory beside the list's own.

use std::ops::{Deref, DerefMut};

use crate::slots;

/// A session in a list.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    /// The session's slot.
    pub slot: u32,
    /// The subscription's place among those of the session.
    pub place: u32,
}

/// Subscribers, as a slice.
#[derive(Debug)]
pub struct Subscribers(Held);

#[derive(Debug)]
enum Held {
    One(Subscriber),
    /// None, or two and more.
    Many(Vec<Subscriber>),
}

impl Default for Subscribers {
    fn default() -> Self {
        Self(Held::Many(Vec::new()))
    }
}

impl Subscribers {
    /// Adds one behind the others.
    pub fn push(&mut self, subscriber: Subscriber) {
        match &mut self.0 {
            Held::One(first) => self.0 = Held::Many(vec![*first, subscriber]),
            Held::Many(many) if many.is_empty() => self.0 = Held::One(subscriber),
            Held::Many(many) => many.push(subscriber),
        }
    }

    /// Takes one out; the last takes its place.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn swap_remove(&mut self, place: usize) {
        match &mut self.0 {
            Held::One(_) => {
                assert_eq!(place, 0, "there is one");
                self.0 = Held::Many(Vec::new());
            }
            Held::Many(many) => {
                many.swap_remove(place);
                match many[..] {
                    [last] => self.0 = Held::One(last),
                    _ => slots::shrink(many),
                }
            }
        }
    }
}

impl Deref for Subscribers {
    type Target = [Subscriber];

    fn deref(&self) -> &[Subscriber] {
        match &self.0 {
            Held::One(one) => std::slice::from_ref(one),
            Held::Many(many) => many,
        }
    }
}

impl DerefMut for Subscribers {
    fn deref_mut(&mut self) -> &mut [Subscriber] {
        match &mut self.0 {
            Held::One(one) => std::slice::from_mut(one),
            Held::Many(many) => many,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_and_go_as_in_a_vector() {
        let (mut subscribers, mut slots) = (Subscribers::default(), Vec::new());
        let mut random = fastrand::Rng::with_seed(3);
        for slot in 0..5_000 {
            if random.u32(0..100) < if slot / 500 % 2 == 0 { 70 } else { 30 } {
                subscribers.push(Subscriber { slot, place: 0 });
                slots.push(slot);
            } else if !slots.is_empty() {
                let place = random.usize(0..slots.len());
                subscribers.swap_remove(place);
                slots.swap_remove(place);
            }
            assert!(subscribers.iter().map(|held| held.slot).eq(slots.iter().copied()));
        }
    }
}
