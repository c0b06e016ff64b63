//! A table of things that are known by their place: connections, lists of subscribers, topics. A
//! place stays the same for as long as the thing is there, so others may hold on to its number.
//!
//! What comes takes the lowest place that is free. So those that are there stay close together, and
//! once there are fewer things the table gives back what a burst needed.

pub mod places;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{Index, IndexMut};

use self::places::Places;

/// A table that is not worth giving anything back of.
const PLACES_KEPT: usize = 64;

/// Things by their places, from 0.
#[derive(Debug)]
pub struct Slots<T> {
    places: Places<T>,
    /// Those that are free below the end, and perhaps some behind it, which are so anyway.
    free: BinaryHeap<Reverse<u32>>,
    end: usize,
    len: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Places::default(), free: BinaryHeap::new(), end: 0, len: 0 }
    }
}

impl<T> Slots<T> {
    /// Where [`insert`](Self::insert) will put the next thing.
    pub fn next_place(&self) -> usize {
        let lowest = self.free.peek().map(|Reverse(place)| *place as usize);
        lowest.filter(|&place| place < self.end).unwrap_or(self.end)
    }

    /// Puts a thing at the lowest place that is free.
    pub fn insert(&mut self, thing: T) -> usize {
        let place = self.next_place();
        if place < self.end {
            self.free.pop();
        } else {
            // None below the end is free; those behind it are about to be taken.
            self.free.clear();
            self.end = place + 1;
        }
        self.len += 1;
        self.places.put(place, thing);
        place
    }

    /// Takes out what is at a place, if anything is.
    pub fn remove(&mut self, place: usize) -> Option<T> {
        let thing = self.places.take(place)?;
        self.len -= 1;
        self.free.push(Reverse(place as u32));
        while self.end > 0 && self.places.get(self.end - 1).is_none() {
            self.end -= 1;
        }
        Some(thing)
    }

    /// What is at a place, if anything is.
    #[inline]
    pub fn get(&self, place: usize) -> Option<&T> {
        self.places.get(place)
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.places.get_mut(place)
    }

    /// All with their places, in order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.places.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The place behind the last that is taken.
    pub fn end(&self) -> usize {
        self.end
    }

    /// How many places there is memory for.
    pub fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// Gives back what is known of free places beyond need: a burst may have left many.
    pub fn shrink(&mut self) {
        if self.free.capacity() > PLACES_KEPT && self.free.len() * 4 < self.free.capacity() {
            self.free.shrink_to(self.free.len() * 2);
        } else if self.free.len() > self.end {
            // Most are behind the end.
            let end = self.end;
            self.free.retain(|Reverse(place)| (*place as usize) < end);
        }
    }
}

/// Gives back half of a table's memory or more, if no more than a quarter of it is in use.
pub fn shrink<T>(table: &mut Vec<T>) {
    if table.capacity() > PLACES_KEPT && table.len() * 4 <= table.capacity() {
        table.shrink_to(table.len() * 2);
    }
}

impl<T> Index<usize> for Slots<T> {
    type Output = T;

    fn index(&self, place: usize) -> &T {
        self.get(place).expect("whoever has the number of a place knows that it is taken")
    }
}

impl<T> IndexMut<usize> for Slots<T> {
    fn index_mut(&mut self, place: usize) -> &mut T {
        self.get_mut(place).expect("whoever has the number of a place knows that it is taken")
    }
}

#[cfg(test)]
mod tests {
    use super::places::STRETCH;
    use super::*;

    fn filled(count: usize) -> Slots<String> {
        let mut slots = Slots::default();
        for number in 0..count {
            assert_eq!(slots.next_place(), number);
            assert_eq!(slots.insert(number.to_string()), number);
        }
        slots
    }

    #[test]
    fn the_lowest_free_place_is_taken_first_and_none_twice() {
        let mut slots = filled(10);
        for place in [7, 2, 9, 8] {
            assert_eq!(slots.remove(place), Some(place.to_string()));
            assert_eq!(slots.remove(place), None);
        }
        assert_eq!((slots.len(), slots.end()), (6, 7));
        assert_eq!(slots.insert("a".into()), 2);
        // 7 and up are free as places behind the end are, not as ones that were given back.
        for place in 7..12 {
            assert_eq!(slots.insert("b".into()), place);
        }
        assert_eq!(slots.iter().map(|(place, _)| place).collect::<Vec<_>>(), Vec::from_iter(0..12));
    }

    #[test]
    fn any_coming_and_going_keeps_places_apart() {
        let (mut slots, mut held) = (Slots::default(), std::collections::BTreeMap::new());
        let mut random = fastrand::Rng::with_seed(7);
        for number in 0..20_000_u32 {
            let grows = if number / 2_000 % 2 == 0 { 70 } else { 30 };
            if random.u32(0..100) < grows {
                let place = slots.insert(number);
                assert!(held.insert(place, number).is_none(), "step {number}");
            } else if !held.is_empty() {
                let place = *held.keys().nth(random.usize(0..held.len())).unwrap();
                assert_eq!(slots.remove(place), held.remove(&place), "step {number}");
            }
            if number % 100 == 0 {
                slots.shrink();
            }
            assert_eq!(slots.len(), held.len());
        }
        assert!(slots.iter().eq(held.iter().map(|(place, number)| (*place, number))));
    }

    #[test]
    fn a_burst_is_given_back_when_few_are_left() {
        let mut slots = filled(5_000);
        (100..5_000).for_each(|place| drop(slots.remove(place)));
        slots.shrink();
        assert!(slots.capacity() <= STRETCH, "{}", slots.capacity());
        assert_eq!(slots.insert("a".into()), 100);
        slots.shrink();
        assert!(slots.free.capacity() <= PLACES_KEPT, "{}", slots.free.capacity());
    }

    #[test]
    fn one_that_stays_high_keeps_the_memory_of_its_neighbours_only() {
        let mut slots = filled(5_000);
        (100..4_999).for_each(|place| drop(slots.remove(place)));
        assert_eq!(slots.end(), 5_000);
        assert!(slots.capacity() <= 2 * STRETCH, "{}", slots.capacity());
        // Whoever comes takes a low place, so the next to go is likely the last up there.
        assert_eq!(slots.insert("a".into()), 100);
        slots.remove(4_999);
        assert_eq!((slots.end(), slots.len()), (101, 101));
        assert!(slots.capacity() <= STRETCH, "{}", slots.capacity());
    }
}
