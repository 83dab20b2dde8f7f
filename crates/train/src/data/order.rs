//! In which order the pictures of a dataset come.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::DataError;
use super::error::setting;
use crate::random::{Purpose, below, bits};

/// A place in the order: all that a checkpoint keeps of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// How often every picture has come before.
    pub epoch: u64,
    /// How many pictures of this epoch have come, those that could not be read included.
    pub position: u64,
    /// How many pictures an epoch has; 0 before the first.
    pub pictures: u64,
}

/// The numbers 0 to `count - 1`, each once an epoch, shuffled through a buffer.
///
/// The buffer holds the next `buffer` numbers; one of them is drawn, and the next one takes its place. With a
/// buffer of `count` every order is as likely as any other; a smaller one keeps reading an archive nearly in its own order. The order
/// depends on `seed` and the epoch alone, and going on at a [`Cursor`] repeats draws, no reading.
#[derive(Clone, Debug)]
pub struct Order {
    count: u64,
    buffer: usize,
    seed: Option<u64>,
    cursor: Cursor,
    /// The numbers to draw from, and the next number that comes in.
    waiting: VecDeque<u64>,
    incoming: u64,
}

impl Order {
    /// The order of `count` pictures from the beginning; without a seed as they are.
    ///
    /// # Errors
    /// [`DataError::Setting`] if there are none, or no buffer.
    pub fn new(count: usize, buffer: usize, seed: Option<u64>) -> Result<Self, DataError> {
        setting(count > 0, "the number of pictures", count, "at least 1")?;
        setting(
            buffer > 0,
            "the shuffle buffer",
            buffer,
            "at least 1 picture",
        )?;
        let mut order = Self {
            count: count as u64,
            buffer: buffer.min(count),
            seed,
            cursor: Cursor {
                pictures: count as u64,
                ..Cursor::default()
            },
            waiting: VecDeque::new(),
            incoming: 0,
        };
        order.fill();
        Ok(order)
    }

    /// Where the next picture is taken.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Goes to a place. `false`, and nothing done, if this order has no such place.
    pub fn seek(&mut self, cursor: Cursor) -> bool {
        if cursor.pictures == 0 && cursor == Cursor::default() {
            return self.seek(Cursor {
                pictures: self.count,
                ..cursor
            });
        }
        if cursor.pictures != self.count || cursor.position >= self.count {
            return false;
        }
        self.cursor = Cursor {
            position: 0,
            ..cursor
        };
        self.waiting.clear();
        self.incoming = 0;
        self.fill();
        for _ in 0..cursor.position {
            self.draw();
        }
        true
    }

    /// The next number, with the epoch and the place in it, by which its random choices are made.
    pub fn draw(&mut self) -> (usize, u64, u64) {
        let (epoch, position) = (self.cursor.epoch, self.cursor.position);
        let at = match self.seed {
            Some(seed) => below(
                self.waiting.len() as u64,
                bits(seed, Purpose::Order, epoch, position),
            ) as usize,
            None => 0,
        };
        // The buffer is never empty here: an epoch that ends fills it anew.
        let number = match self.seed {
            Some(_) => self.waiting.swap_remove_back(at),
            None => self.waiting.pop_front(),
        }
        .unwrap_or(0);
        self.cursor.position += 1;
        if self.cursor.position == self.count {
            self.cursor.epoch += 1;
            self.cursor.position = 0;
            self.incoming = 0;
        }
        self.fill();
        (number as usize, epoch, position)
    }

    fn fill(&mut self) {
        // At an epoch's last pictures the buffer runs empty before the next epoch's come in.
        while self.waiting.len() < self.buffer && self.incoming < self.count {
            self.waiting.push_back(self.incoming);
            self.incoming += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(order: &mut Order, count: usize) -> Vec<usize> {
        (0..count).map(|_| order.draw().0).collect()
    }

    #[test]
    fn every_picture_comes_once_an_epoch_in_another_order() {
        for buffer in [1, 2, 7, 50, 1000] {
            let mut order = Order::new(50, buffer, Some(3)).unwrap();
            let (first, second) = (epoch(&mut order, 50), epoch(&mut order, 50));
            for run in [&first, &second] {
                let mut sorted = run.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..50).collect::<Vec<_>>(), "buffer {buffer}");
            }
            assert_eq!(first != second, buffer > 1);
            // What comes at place p has entered the buffer by then.
            assert!(first.iter().enumerate().all(|(p, &n)| n < p + buffer));
        }
    }

    #[test]
    fn without_a_seed_they_come_as_they_are() {
        let mut order = Order::new(5, 3, None).unwrap();
        assert_eq!(epoch(&mut order, 7), [0, 1, 2, 3, 4, 0, 1]);
    }

    #[test]
    fn a_full_buffer_gives_every_order_alike() {
        let mut counts = std::collections::HashMap::new();
        for seed in 0..6000 {
            let mut order = Order::new(3, 3, Some(seed)).unwrap();
            *counts.entry(epoch(&mut order, 3)).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(
            counts.values().all(|n| (850..1150).contains(n)),
            "{counts:?}"
        );
    }

    #[test]
    fn it_goes_on_where_it_stopped() {
        let mut order = Order::new(23, 6, Some(9)).unwrap();
        let all: Vec<_> = (0..80).map(|_| (order.cursor(), order.draw())).collect();
        for (at, (cursor, _)) in all.iter().enumerate() {
            let mut later = Order::new(23, 6, Some(9)).unwrap();
            assert!(later.seek(*cursor));
            for (_, drawn) in &all[at..] {
                assert_eq!(later.draw(), *drawn);
            }
        }
    }

    #[test]
    fn a_place_of_another_dataset_is_refused() {
        let mut order = Order::new(23, 6, Some(9)).unwrap();
        let mut other = Order::new(24, 6, Some(9)).unwrap();
        other.draw();
        assert!(!order.seek(other.cursor()));
        assert!(!order.seek(Cursor {
            epoch: 0,
            position: 23,
            pictures: 23
        }));
        assert!(order.seek(Cursor::default()));
        assert!(Order::new(0, 1, None).is_err());
        assert!(Order::new(1, 0, None).is_err());
    }
}
