//! Batches of pictures as numbers.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use medley_kernels::pool::parallel_chunks;
use medley_media::film::Clip;
use medley_media::{Limits, MediaError, Picture};

use super::error::setting;
use super::motion::{Motion, moving_caption};
use super::transform::Chance;
use super::{BadList, Cursor, DataError, Dataset, Order, Side, Split, Transform};
use crate::random::{Purpose, below, bits};

/// What a loader gives.
#[derive(Clone, Copy, Debug)]
pub struct LoaderSpec {
    /// How pictures become numbers.
    pub transform: Transform,
    /// Pictures or clips of a batch.
    pub batch: usize,
    /// Frames of a clip, taken evenly from the whole of each; 1 for pictures.
    pub frames: usize,
    /// Whether clips are made of pictures, set in motion, with captions that say how.
    pub set_in_motion: bool,
    /// Seed of the order, of captions, crops and mirroring; without one pictures come as they are in the dataset, each
    /// with its first caption.
    pub seed: Option<u64>,
    /// Pictures that are shuffled at a time; see [`Order`].
    pub buffer: usize,
    /// What is held out.
    pub split: Split,
    /// The side that is given.
    pub side: Side,
    /// Most pictures of a group in an epoch, each epoch others: so that what comes in many variants does not crowd out
    /// the rest. Without it all come.
    pub per_group: Option<usize>,
    /// How large a picture's file may be.
    pub limits: Limits,
    /// Bytes of pictures that are kept once they were decoded and resized. Not used where they are cut elsewhere each time.
    pub memory: usize,
}

impl LoaderSpec {
    /// Batches of all pictures, shuffled through a buffer of a million.
    pub fn new(transform: Transform, batch: usize, seed: u64) -> Self {
        Self {
            transform,
            batch,
            frames: 1,
            set_in_motion: false,
            seed: Some(seed),
            buffer: 1 << 20,
            split: Split::default(),
            side: Side::Train,
            per_group: None,
            limits: Limits::default(),
            memory: 256 << 20,
        }
    }
}

/// Some pictures and what is said about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[pictures, 3, height, width]` or `[clips, 3, frames, height, width]` in [-1, 1], transparency over white.
    pub pixels: Vec<f32>,
    /// Height and width.
    pub size: (usize, usize),
    /// Frames of each.
    pub frames: usize,
    /// Frames a second of each clip as its frames were taken; 0 for pictures.
    pub rates: Vec<f64>,
    /// A caption for each.
    pub captions: Vec<String>,
    /// Their numbers in [`Dataset::items`].
    pub items: Vec<u32>,
    /// Where the next batch begins: a run that has learned from this one goes on there.
    pub cursor: Cursor,
}

impl Batch {
    /// How many pictures.
    pub fn len(&self) -> usize {
        self.captions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.captions.is_empty()
    }

    /// `[pictures, 3, height, width]`, of clips those of all their frames.
    pub fn shape(&self) -> [usize; 4] {
        [self.len() * self.frames, 3, self.size.0, self.size.1]
    }

    /// `[clips, 3, frames, height, width]`
    pub fn clip_shape(&self) -> [usize; 5] {
        [self.len(), 3, self.frames, self.size.0, self.size.1]
    }
}

/// Reads, decodes and resizes the pictures of one side of a dataset, batch by batch, on the pool.
pub struct Loader {
    dataset: Arc<Dataset>,
    spec: LoaderSpec,
    chosen: Chosen,
    order: Order,
    known_bad: HashSet<u32>,
    bad: Arc<Mutex<BadList>>,
    /// Pictures at their size, and the bytes of them all.
    sized: Mutex<(HashMap<u32, Arc<Still>>, usize)>,
    /// Bad pictures in a row.
    in_a_row: usize,
    /// Whether pictures are decoded on the pool or here.
    alone: bool,
}

/// The pictures of an epoch.
enum Chosen {
    /// The same ones each time.
    All(Vec<u32>),
    /// Some of each group, each time others.
    Balanced {
        groups: Vec<Vec<u32>>,
        /// The group of each place of the epoch, and which of those chosen of it.
        places: Vec<(u32, u32)>,
    },
}

impl Chosen {
    /// At most `most` of each group among `side`; groups in the order in which they begin.
    fn balanced(dataset: &Dataset, side: &[u32], most: usize) -> Self {
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for &number in side {
            let name = dataset.items()[number as usize].group();
            let at = *by_name.entry(name).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[at].push(number);
        }
        let places = (0u32..).zip(&groups).flat_map(|(group, members)| {
            let count = members.len().min(most) as u32;
            (0..count).map(move |which| (group, which))
        });
        Self::Balanced {
            places: places.collect(),
            groups,
        }
    }

    /// Pictures of an epoch.
    fn len(&self) -> usize {
        match self {
            Self::All(numbers) => numbers.len(),
            Self::Balanced { places, .. } => places.len(),
        }
    }

    /// Pictures that may come.
    fn pictures(&self) -> usize {
        match self {
            Self::All(numbers) => numbers.len(),
            Self::Balanced { groups, .. } => groups.iter().map(Vec::len).sum(),
        }
    }

    /// The picture at a place of an epoch. Of a group those from a random one on are chosen, so that each has the
    /// same chance and none comes twice.
    fn number(&self, place: usize, seed: Option<u64>, epoch: u64) -> u32 {
        match self {
            Self::All(numbers) => numbers[place],
            Self::Balanced { groups, places } => {
                let (group, which) = places[place];
                let members = &groups[group as usize];
                let count = members.len() as u64;
                let first = seed.map_or(0, |seed| {
                    below(count, bits(seed, Purpose::Group, epoch, u64::from(group)))
                });
                members[((first + u64::from(which)) % count) as usize]
            }
        }
    }
}

/// A picture, or the frames of a clip, at their size.
struct Still {
    frames: Vec<Picture>,
    /// Frames a second; 0 for a picture.
    rate: f64,
}

/// A picture that is being read.
struct Slot {
    number: u32,
    chance: Chance,
    /// Its numbers and its rate.
    result: Result<(Vec<f32>, f64), String>,
}

impl Loader {
    /// A loader at the beginning of the order.
    ///
    /// # Errors
    /// [`DataError::Setting`] for sizes that cannot be, [`DataError::EmptySplit`] if the side has no pictures.
    pub fn new(dataset: Arc<Dataset>, spec: LoaderSpec) -> Result<Self, DataError> {
        spec.transform.check()?;
        setting(
            (1..=65_536).contains(&spec.batch),
            "the batch",
            spec.batch,
            "1 to 65536 pictures",
        )?;
        setting(
            (1..=4096).contains(&spec.frames),
            "the number of frames",
            spec.frames,
            "1 to 4096",
        )?;
        setting(
            spec.per_group != Some(0),
            "the number of pictures of a group",
            0,
            "at least 1",
        )?;
        let side = dataset.side(spec.split, spec.side)?;
        let chosen = match spec.per_group {
            Some(most) => Chosen::balanced(&dataset, &side, most),
            None => Chosen::All(side),
        };
        Ok(Self {
            order: Order::new(chosen.len(), spec.buffer, spec.seed)?,
            dataset,
            spec,
            chosen,
            known_bad: HashSet::new(),
            bad: Arc::default(),
            sized: Mutex::default(),
            in_a_row: 0,
            alone: false,
        })
    }

    /// Pictures of an epoch, those that cannot be read included.
    pub fn pictures(&self) -> usize {
        self.chosen.len()
    }

    /// The dataset.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Where the next batch begins.
    pub fn cursor(&self) -> Cursor {
        self.order.cursor()
    }

    /// Goes on where a run stopped.
    ///
    /// # Errors
    /// [`DataError::Resume`] if the dataset has another number of pictures.
    pub fn seek(&mut self, cursor: Cursor) -> Result<(), DataError> {
        if self.order.seek(cursor) {
            return Ok(());
        }
        Err(DataError::Resume {
            path: self.dataset.path().to_owned(),
            position: cursor.position,
            recorded: cursor.pictures,
            pictures: self.chosen.len() as u64,
        })
    }

    /// Pictures that could not be read so far, each once.
    pub fn bad(&self) -> BadList {
        self.bad.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// The next full batch; after the last picture of an epoch the next epoch's first one comes.
    ///
    /// # Errors
    /// [`DataError::AllBad`] if no picture can be read.
    pub fn next_batch(&mut self) -> Result<Batch, DataError> {
        self.gather(|_| false)
    }

    /// The next batch of this epoch, a short one at its end; `None` when it is over. For measuring on every
    /// picture once.
    ///
    /// # Errors
    /// [`DataError::AllBad`] if no picture can be read.
    pub fn next_of_epoch(&mut self, epoch: u64) -> Result<Option<Batch>, DataError> {
        let batch = self.gather(|cursor| cursor.epoch > epoch)?;
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Fills a batch, unless the order comes to an end.
    fn gather(&mut self, end: impl Fn(Cursor) -> bool) -> Result<Batch, DataError> {
        let values = self.values();
        let mut batch = Batch {
            pixels: Vec::with_capacity(self.spec.batch * values),
            size: (
                self.spec.transform.height as usize,
                self.spec.transform.width as usize,
            ),
            frames: self.spec.frames,
            rates: Vec::with_capacity(self.spec.batch),
            captions: Vec::with_capacity(self.spec.batch),
            items: Vec::with_capacity(self.spec.batch),
            cursor: self.order.cursor(),
        };
        while batch.len() < self.spec.batch && !end(self.order.cursor()) {
            let mut slots = Vec::new();
            while slots.len() < self.spec.batch - batch.len() && !end(self.order.cursor()) {
                let (drawn, epoch, position) = self.order.draw();
                let chance = Chance {
                    seed: self.spec.seed,
                    epoch,
                    position,
                };
                slots.push(Slot {
                    number: self.chosen.number(drawn, self.spec.seed, epoch),
                    chance,
                    result: Ok((Vec::new(), 0.0)),
                });
            }
            self.read(&mut slots);
            for slot in slots {
                self.take(slot, &mut batch)?;
            }
        }
        batch.cursor = self.order.cursor();
        Ok(batch)
    }

    fn read(&self, slots: &mut [Slot]) {
        let one = |_: usize, slots: &mut [Slot]| {
            for slot in slots {
                if !self.known_bad.contains(&slot.number) {
                    slot.result = self.planes(slot.number, slot.chance);
                }
            }
        };
        if self.alone {
            one(0, slots);
        } else {
            parallel_chunks(slots, 1, one);
        }
    }

    /// Numbers of a picture or clip.
    fn values(&self) -> usize {
        self.spec.transform.values() * self.spec.frames
    }

    /// A picture that was kept.
    fn kept(&self, number: u32) -> Option<Arc<Still>> {
        let kept = self.sized.lock().unwrap_or_else(|e| e.into_inner());
        kept.0.get(&number).cloned()
    }

    /// Keeps a picture if there is room for it.
    fn keep(&self, number: u32, still: &Arc<Still>) {
        let mut kept = self.sized.lock().unwrap_or_else(|e| e.into_inner());
        let own: usize = still.frames.iter().map(|f| f.pixels().len()).sum();
        let bytes = kept.1 + own;
        let alike = self.spec.transform.always_cuts_alike() && !self.spec.set_in_motion;
        if alike && bytes <= self.spec.memory {
            kept.0.insert(number, still.clone());
            kept.1 = bytes;
        }
    }

    fn planes(&self, number: u32, chance: Chance) -> Result<(Vec<f32>, f64), String> {
        if let Some(still) = self.kept(number) {
            return Ok(self.turned(&still, chance));
        }
        // A decoder that panics on a hostile file must not end hours of training.
        let decoded = catch_unwind(AssertUnwindSafe(|| self.still(number, chance)));
        match decoded {
            Ok(Ok(still)) => {
                let still = Arc::new(still);
                self.keep(number, &still);
                Ok(self.turned(&still, chance))
            }
            Ok(Err(e)) => Err(e),
            Err(_) => Err("the decoder gave up on it".to_owned()),
        }
    }

    /// Decodes and resizes.
    fn still(&self, number: u32, chance: Chance) -> Result<Still, String> {
        let text = |e: MediaError| e.to_string();
        let item = &self.dataset.items()[number as usize];
        let sized = |picture: &Picture| self.spec.transform.sized(picture, chance);
        if self.spec.frames == 1 {
            let picture = self.dataset.picture(item, &self.spec.limits);
            let frames = vec![picture.and_then(|p| sized(&p)).map_err(text)?];
            return Ok(Still { frames, rate: 0.0 });
        }
        if self.spec.set_in_motion {
            let picture = self
                .dataset
                .picture(item, &self.spec.limits)
                .map_err(text)?;
            let (motion, _) = Motion::chosen(chance);
            let frames = motion.frames(&picture, self.spec.frames).map_err(text)?;
            let frames: Result<_, _> = frames.iter().map(sized).collect();
            return Ok(Still {
                frames: frames.map_err(text)?,
                rate: 0.0,
            });
        }
        let clip: Clip = self.dataset.clip(item, &self.spec.limits).map_err(text)?;
        if clip.frames().len() == 1 {
            return Err("it does not move: it is a picture".to_owned());
        }
        let clip = clip.sampled(self.spec.frames).map_err(text)?;
        let frames: Result<_, _> = clip.frames().iter().map(sized).collect();
        Ok(Still {
            frames: frames.map_err(text)?,
            rate: clip.rate().per_second(),
        })
    }

    /// `[3, frames, height, width]`, all frames mirrored or none.
    fn turned(&self, still: &Still, chance: Chance) -> (Vec<f32>, f64) {
        let turned = |frame| self.spec.transform.turned(frame, chance);
        if let [only] = still.frames.as_slice() {
            return (turned(only), still.rate);
        }
        let frames: Vec<Vec<f32>> = still.frames.iter().map(turned).collect();
        let plane = self.spec.transform.values() / 3;
        let mut planes = Vec::with_capacity(self.values());
        for channel in 0..3 {
            for frame in &frames {
                planes.extend_from_slice(&frame[channel * plane..][..plane]);
            }
        }
        (planes, still.rate)
    }

    fn take(&mut self, slot: Slot, batch: &mut Batch) -> Result<(), DataError> {
        let item = &self.dataset.items()[slot.number as usize];
        match slot.result {
            Ok((planes, rate)) if planes.len() == self.values() => {
                batch.pixels.extend_from_slice(&planes);
                batch.rates.push(rate);
                let caption = item.chosen(slot.chance.bits(Purpose::Caption));
                batch.captions.push(match self.spec.set_in_motion {
                    true => moving_caption(caption, Motion::chosen(slot.chance).1),
                    false => caption.to_owned(),
                });
                batch.items.push(slot.number);
                self.in_a_row = 0;
                return Ok(());
            }
            Ok(_) => {}
            Err(reason) => {
                if self.known_bad.insert(slot.number) {
                    let mut bad = self.bad.lock().unwrap_or_else(|e| e.into_inner());
                    bad.push(item.name(), reason);
                }
            }
        }
        self.in_a_row += 1;
        // After a whole epoch in which every picture was bad, another one can only bring others of their groups.
        if self.in_a_row <= self.chosen.len() || self.known_bad.len() < self.chosen.pictures() {
            return Ok(());
        }
        let bad = self.bad();
        Err(DataError::AllBad {
            path: self.dataset.path().to_owned(),
            pictures: self.known_bad.len(),
            first: bad
                .named
                .first()
                .map_or(String::new(), |bad| format!("{}: {}", bad.name, bad.reason)),
        })
    }

    /// The same batches, read ahead by a thread of their own that leaves the pool to the model, from the first one that is
    /// asked for on.
    ///
    /// # Errors
    /// [`DataError::Setting`] if nothing is to be read ahead.
    pub fn prefetch(self, ahead: usize) -> Result<Prefetch, DataError> {
        setting(
            (1..=64).contains(&ahead),
            "the number of batches read ahead",
            ahead,
            "1 to 64",
        )?;
        Ok(Prefetch {
            dataset: self.dataset.clone(),
            bad: self.bad.clone(),
            waiting: Some((self, ahead)),
            receiver: None,
            thread: None,
        })
    }
}

/// Batches of a [`Loader`] that are read ahead.
pub struct Prefetch {
    dataset: Arc<Dataset>,
    bad: Arc<Mutex<BadList>>,
    /// The loader before the first batch.
    waiting: Option<(Loader, usize)>,
    receiver: Option<Receiver<Result<Batch, DataError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Prefetch {
    /// The next batch, as [`Loader::next_batch`] would give it.
    ///
    /// # Errors
    /// As [`Loader::next_batch`], and [`DataError::Io`] if no thread can be had.
    pub fn next_batch(&mut self) -> Result<Batch, DataError> {
        if let Some((loader, ahead)) = self.waiting.take() {
            self.start(loader, ahead)?;
        }
        let next = self.receiver.as_ref().and_then(|r| r.recv().ok());
        next.unwrap_or_else(|| {
            Err(DataError::NoPictures {
                path: self.dataset.path().to_owned(),
            })
        })
    }

    fn start(&mut self, mut loader: Loader, ahead: usize) -> Result<(), DataError> {
        let (sender, receiver) = sync_channel(ahead);
        loader.alone = true;
        let thread = std::thread::Builder::new()
            .name("medley-data".to_owned())
            .spawn(move || {
                loop {
                    let batch = loader.next_batch();
                    let over = batch.is_err();
                    if sender.send(batch).is_err() || over {
                        return;
                    }
                }
            })
            .map_err(DataError::io(self.dataset.path(), "start a thread to read"))?;
        (self.receiver, self.thread) = (Some(receiver), Some(thread));
        Ok(())
    }

    /// Pictures that could not be read so far, those read ahead included.
    pub fn bad(&self) -> BadList {
        self.bad.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // Without a receiver the thread's next batch has nowhere to go, and it ends.
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            // It has no result, and a panic in it was reported where it happened.
            let _ = thread.join();
        }
    }
}
