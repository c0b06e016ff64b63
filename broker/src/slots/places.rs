//! A long row of places, each with a thing or free. It grows and gives back a stretch at a time, so
//! that nothing in it is ever moved, growing leaves nothing behind, and a stretch without a thing has
//! no memory, wherever it is.

/// Places of a stretch: enough that the ends of its memory, which are whole pages, don't count.
pub(crate) const STRETCH: usize = 1024;

/// Things by their places, from 0.
#[derive(Debug)]
pub struct Places<T>(Vec<Stretch<T>>);

#[derive(Debug)]
struct Stretch<T> {
    /// Up to the last that was ever taken, since the stretch had none; no memory if it has none.
    places: Vec<Option<T>>,
    taken: usize,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Default for Stretch<T> {
    fn default() -> Self {
        Self { places: Vec::new(), taken: 0 }
    }
}

impl<T> Places<T> {
    /// Puts a thing at a place; returns what was there.
    pub fn put(&mut self, place: usize, thing: T) -> Option<T> {
        let (number, at) = split(place);
        if self.0.len() <= number {
            self.0.resize_with(number + 1, Stretch::default);
        }
        let stretch = &mut self.0[number];
        // Memory that is never written to is not the process's.
        stretch.places.reserve_exact(STRETCH - stretch.places.len());
        if stretch.places.len() <= at {
            stretch.places.resize_with(at + 1, || None);
        }
        let earlier = stretch.places[at].replace(thing);
        stretch.taken += usize::from(earlier.is_none());
        earlier
    }

    /// Takes out what is at a place, if anything is.
    pub fn take(&mut self, place: usize) -> Option<T> {
        let (number, at) = split(place);
        let stretch = self.0.get_mut(number)?;
        let taken = stretch.places.get_mut(at)?.take()?;
        stretch.taken -= 1;
        if stretch.taken == 0 {
            stretch.places = Vec::new();
            while self.0.pop_if(|last| last.taken == 0).is_some() {}
        }
        Some(taken)
    }

    /// What is at a place, if anything is.
    #[inline]
    pub fn get(&self, place: usize) -> Option<&T> {
        let (number, at) = split(place);
        self.0.get(number)?.places.get(at)?.as_ref()
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        let (number, at) = split(place);
        self.0.get_mut(number)?.places.get_mut(at)?.as_mut()
    }

    /// All with their places, in order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.0.iter().enumerate().flat_map(|(number, stretch)| {
            let held = stretch.places.iter().enumerate();
            held.filter_map(move |(at, held)| Some((number * STRETCH + at, held.as_ref()?)))
        })
    }

    /// How many places there is memory for.
    pub fn capacity(&self) -> usize {
        self.0.iter().map(|stretch| stretch.places.capacity()).sum()
    }
}

fn split(place: usize) -> (usize, usize) {
    (place / STRETCH, place % STRETCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_coming_and_going_is_as_in_a_map() {
        let (mut places, mut held) = (Places::default(), std::collections::BTreeMap::new());
        let mut random = fastrand::Rng::with_seed(11);
        for number in 0..30_000_u32 {
            let place = random.usize(0..2_000);
            if random.u32(0..100) < if number / 5_000 % 2 == 0 { 70 } else { 10 } {
                assert_eq!(places.put(place, number), held.insert(place, number), "step {number}");
            } else {
                assert_eq!(places.take(place), held.remove(&place), "step {number}");
            }
            let other = random.usize(0..3_000);
            assert_eq!(places.get(other), held.get(&other), "step {number}");
            assert_eq!(places.get_mut(other), held.get_mut(&other), "step {number}");
        }
        assert!(places.iter().eq(held.iter().map(|(place, number)| (*place, number))));
    }

    #[test]
    fn only_stretches_with_a_thing_have_memory() {
        let mut places = Places::default();
        (0..STRETCH * 3).for_each(|place| assert_eq!(places.put(place, place), None));
        assert_eq!(places.capacity(), STRETCH * 3);
        (1..STRETCH * 3 - 1).for_each(|place| assert_eq!(places.take(place), Some(place)));
        assert_eq!(places.capacity(), STRETCH * 2);
        assert_eq!(places.put(STRETCH + 7, 1), None);
        assert_eq!((places.capacity(), places.get(STRETCH)), (STRETCH * 3, None));
        for place in [0, STRETCH + 7, STRETCH * 3 - 1] {
            assert!(places.take(place).is_some());
        }
        assert_eq!((places.capacity(), places.0.len()), (0, 0));
    }
}
