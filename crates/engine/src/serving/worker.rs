//! The one thread that computes: it loads models, steps through their texts and embeds, a little of everything in turn.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use medley_types::{Event, ImageRequest};
use tokio::sync::oneshot;

use super::error::ServingError;
use super::mailbox::Mailbox;
use super::shelf::{Card, Model, Shelf};
use crate::batch::{Batch, BatchOptions, Happening, Prepared, SlotId};
use crate::image::{ImageGenerator, ImageInputs, Images};
use crate::{CancelToken, EmbeddingModel, Run, TextModel};

/// How often the thread looks whether there is room for a model that waits for it.
const PATIENCE: Duration = Duration::from_millis(20);

/// Texts that are embedded between two steps of the others.
const EMBEDDED_AT_ONCE: usize = 8;

/// Vectors of texts, or why there are none.
type Vectors = Result<Vec<Vec<f32>>, ServingError>;

/// How much the engine may hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of memory for all models together.
    pub memory: u64,
    /// Texts that are written at the same time by one model.
    pub slots: usize,
    /// Bytes that each language model keeps of what was read before.
    pub prefix_bytes: usize,
}

/// Texts to be written.
pub struct Texts {
    /// The model, as [`Compute::load`] gave it.
    pub model: Arc<TextModel>,
    /// The requests, ready to be written.
    pub prepared: Vec<Prepared>,
    /// Where their texts go, by number.
    pub mailbox: Arc<Mailbox>,
    /// Ends them all.
    pub cancel: CancelToken,
}

enum Command {
    Load {
        card: Card,
        reply: oneshot::Sender<Result<Model, ServingError>>,
    },
    Write(Texts),
    Embed(Embedding),
    Draw(Box<Drawing>),
}

/// The way to the thread, which ends when this is dropped.
pub struct Compute(Sender<Command>);

impl Compute {
    /// Starts the thread.
    pub fn start(shelf: Arc<dyn Shelf>, limits: Limits) -> std::io::Result<Self> {
        let (sender, commands) = channel();
        let worker = Worker {
            shelf,
            limits,
            loaded: Vec::new(),
            waiting: VecDeque::new(),
            embeddings: VecDeque::new(),
            drawings: VecDeque::new(),
            clock: 0,
        };
        std::thread::Builder::new()
            .name("medley-compute".into())
            .spawn(move || worker.run(&commands))?;
        Ok(Self(sender))
    }

    fn send(&self, command: Command) -> Result<(), ServingError> {
        self.0.send(command).map_err(|_| ServingError::Gone)
    }

    /// A model in memory, which stays there as long as it is held.
    pub async fn load(&self, card: Card) -> Result<Model, ServingError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Load { card, reply })?;
        answer.await.map_err(|_| ServingError::Gone)?
    }

    /// As [`load`](Self::load), for a thread that may wait.
    pub fn load_now(&self, card: Card) -> Result<Model, ServingError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Load { card, reply })?;
        answer.blocking_recv().map_err(|_| ServingError::Gone)?
    }

    /// Begins to write.
    pub fn write(&self, texts: Texts) -> Result<(), ServingError> {
        self.send(Command::Write(texts))
    }

    /// One vector for each text.
    pub async fn embed(&self, model: Arc<EmbeddingModel>, texts: Vec<Vec<u32>>) -> Vectors {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Embed(Embedding {
            model,
            texts,
            vectors: Vec::new(),
            reply,
        }))?;
        answer.await.map_err(|_| ServingError::Gone)?
    }
}

/// The rest of [`Compute`]: pictures.
impl Compute {
    /// Draws what a completed request asks for; dropping the future ends it.
    pub async fn draw(
        &self,
        generator: Arc<dyn ImageGenerator>,
        request: ImageRequest,
    ) -> Result<Images, ServingError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Draw(Box::new(Drawing {
            generator,
            request,
            reply,
        })))?;
        answer.await.map_err(|_| ServingError::Gone)?
    }
}

/// Texts that are being embedded.
struct Embedding {
    model: Arc<EmbeddingModel>,
    texts: Vec<Vec<u32>>,
    vectors: Vec<Vec<f32>>,
    reply: oneshot::Sender<Vectors>,
}

/// Pictures that are to be drawn.
struct Drawing {
    generator: Arc<dyn ImageGenerator>,
    request: ImageRequest,
    reply: oneshot::Sender<Result<Images, ServingError>>,
}

/// A model in memory with what it does.
struct Loaded {
    id: String,
    memory: u64,
    /// When it was last asked for.
    used: u64,
    room: Room,
}

enum Room {
    Text(Box<TextRoom>),
    Embedding(Arc<EmbeddingModel>),
    Image(Arc<dyn ImageGenerator>),
}

/// The texts of one model.
struct TextRoom {
    model: Arc<TextModel>,
    batch: Batch,
    readers: HashMap<SlotId, (Arc<Mailbox>, usize)>,
}

struct Worker {
    shelf: Arc<dyn Shelf>,
    limits: Limits,
    loaded: Vec<Loaded>,
    /// Requests for models, in order of arrival; none overtakes another, so that each gets its turn.
    waiting: VecDeque<(Card, oneshot::Sender<Result<Model, ServingError>>)>,
    embeddings: VecDeque<Embedding>,
    drawings: VecDeque<Box<Drawing>>,
    clock: u64,
}

impl Worker {
    fn run(mut self, commands: &Receiver<Command>) {
        while self.receive(commands) {
            self.grant();
            self.step();
            self.embed();
            self.draw(commands);
        }
    }

    fn is_busy(&self) -> bool {
        self.writes() || !self.drawings.is_empty()
    }

    /// Whether there is something to do beside pictures.
    fn writes(&self) -> bool {
        let writes = |l: &Loaded| matches!(&l.room, Room::Text(room) if !room.batch.is_idle());
        !self.embeddings.is_empty() || self.loaded.iter().any(writes)
    }

    /// Takes in all commands that are there, and waits for one where there is nothing else to do; false at the end.
    fn receive(&mut self, commands: &Receiver<Command>) -> bool {
        if !self.is_busy() {
            let first = if self.waiting.is_empty() {
                commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                commands.recv_timeout(PATIENCE)
            };
            match first {
                Ok(command) => self.take_in(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        self.look(commands)
    }

    /// Takes in all commands that are there; false at the end.
    fn look(&mut self, commands: &Receiver<Command>) -> bool {
        loop {
            match commands.try_recv() {
                Ok(command) => self.take_in(command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Draws the next pictures. Between two steps of it, texts and embeddings have as long as the last step took, so that
    /// they go on at half their speed at worst.
    fn draw(&mut self, commands: &Receiver<Command>) {
        let Some(drawing) = self.drawings.pop_front() else {
            return;
        };
        let Drawing {
            generator,
            request,
            reply,
        } = *drawing;
        let cancel = CancelToken::default();
        let mut since = Instant::now();
        let drawn = catch_unwind(AssertUnwindSafe(|| {
            let mut run = Run::new(cancel.clone(), |_| {
                let until = Instant::now() + since.elapsed();
                let mut going = self.look(commands);
                self.grant();
                while going && self.writes() && Instant::now() < until {
                    self.step();
                    self.embed();
                    going = self.look(commands);
                    self.grant();
                }
                if !going || reply.is_closed() {
                    cancel.cancel();
                }
                since = Instant::now();
            });
            generator.generate(&request, &ImageInputs::default(), &mut run)
        }));
        // Held until here alone, so that the model can be put away for the next.
        drop(generator);
        let drawn = match drawn {
            Ok(drawn) => drawn.map_err(ServingError::from),
            Err(_) => Err(ServingError::failed("drawing failed")),
        };
        drop(reply.send(drawn));
    }

    fn take_in(&mut self, command: Command) {
        match command {
            Command::Load { card, reply } => self.waiting.push_back((card, reply)),
            Command::Embed(embedding) => self.embeddings.push_back(embedding),
            Command::Draw(drawing) => self.drawings.push_back(drawing),
            Command::Write(texts) => {
                let rooms = self.loaded.iter_mut().filter_map(|l| match &mut l.room {
                    Room::Text(room) => Some(room),
                    Room::Embedding(_) | Room::Image(_) => None,
                });
                let mut rooms = rooms.filter(|room| Arc::ptr_eq(&room.model, &texts.model));
                match rooms.next() {
                    Some(room) => room.enter(texts),
                    None => {
                        let lost = ServingError::failed("the model failed and was put away");
                        for text in 0..texts.prepared.len() {
                            texts
                                .mailbox
                                .put(text, |part| part.end = Some(Err(lost.clone())));
                        }
                    }
                }
            }
        }
    }

    /// Gives out models to those who wait for them, in order, as long as there is room.
    fn grant(&mut self) {
        while let Some((card, reply)) = self.waiting.pop_front() {
            if reply.is_closed() {
                continue;
            }
            match self.model(&card) {
                Some(model) => drop(reply.send(model)),
                None => {
                    self.waiting.push_front((card, reply));
                    return;
                }
            }
        }
    }

    /// A model, loaded where it is not; `None` as long as others that are in use leave no room for it.
    fn model(&mut self, card: &Card) -> Option<Result<Model, ServingError>> {
        self.clock += 1;
        if let Some(loaded) = self.loaded.iter_mut().find(|l| l.id == card.id) {
            loaded.used = self.clock;
            return Some(Ok(loaded.room.model()));
        }
        if card.memory > self.limits.memory {
            return Some(Err(ServingError::TooLarge {
                model: card.id.clone(),
                needed: card.memory,
                limit: self.limits.memory,
            }));
        }
        if !self.make_room(card.memory) {
            return None;
        }
        let loading = catch_unwind(AssertUnwindSafe(|| self.shelf.load(card)));
        let model = match loading {
            Ok(Ok(model)) => model,
            Ok(Err(report)) => return Some(Err(ServingError::Load(report))),
            Err(_) => return Some(Err(ServingError::failed("loading the model failed"))),
        };
        let room = match &model {
            Model::Text(model) => Room::Text(Box::new(TextRoom::new(model, &self.limits))),
            Model::Embedding(model) => Room::Embedding(model.clone()),
            Model::Image(model) => Room::Image(model.clone()),
        };
        self.loaded.push(Loaded {
            id: card.id.clone(),
            memory: card.memory,
            used: self.clock,
            room,
        });
        Some(Ok(model))
    }

    /// Puts away idle models, the least recently used first, until `memory` more bytes fit; false where they cannot.
    fn make_room(&mut self, memory: u64) -> bool {
        let held = |loaded: &[Loaded]| loaded.iter().map(|l| l.memory).sum::<u64>();
        while held(&self.loaded).saturating_add(memory) > self.limits.memory {
            let idle = self.loaded.iter().enumerate();
            let idle = idle.filter(|(_, l)| l.room.is_idle());
            let Some((oldest, _)) = idle.min_by_key(|(_, l)| l.used) else {
                return false;
            };
            self.loaded.remove(oldest);
        }
        true
    }

    /// One step of every model that writes. A model that fails badly is put away; the others go on.
    fn step(&mut self) {
        self.loaded.retain_mut(|loaded| match &mut loaded.room {
            Room::Text(room) if !room.batch.is_idle() => {
                let stepped = catch_unwind(AssertUnwindSafe(|| room.step()));
                if stepped.is_err() {
                    room.fail(&ServingError::failed("writing the text failed"));
                }
                stepped.is_ok()
            }
            _ => true,
        });
    }

    /// A few more texts of the first that wait for vectors.
    fn embed(&mut self) {
        let Some(mut embedding) = self.embeddings.pop_front() else {
            return;
        };
        if embedding.reply.is_closed() {
            return;
        }
        let done = embedding.vectors.len();
        let next = embedding.texts.iter().skip(done).take(EMBEDDED_AT_ONCE);
        let next: Vec<&[u32]> = next.map(Vec::as_slice).collect();
        let embedded = catch_unwind(AssertUnwindSafe(|| embedding.model.embed_tokens(&next)));
        let error = match embedded {
            Ok(Ok(vectors)) => {
                embedding.vectors.extend(vectors);
                if embedding.vectors.len() < embedding.texts.len() {
                    // The next in line gets its turn first.
                    self.embeddings.push_back(embedding);
                } else {
                    drop(embedding.reply.send(Ok(embedding.vectors)));
                }
                return;
            }
            Ok(Err(error)) => error.into(),
            Err(_) => ServingError::failed("embedding failed"),
        };
        drop(embedding.reply.send(Err(error)));
    }
}

impl Room {
    fn model(&self) -> Model {
        match self {
            Self::Text(room) => Model::Text(room.model.clone()),
            Self::Embedding(model) => Model::Embedding(model.clone()),
            Self::Image(model) => Model::Image(model.clone()),
        }
    }

    /// Whether nobody needs the model: no text is on its way, and no request holds it.
    fn is_idle(&self) -> bool {
        match self {
            // The room and its batch.
            Self::Text(room) => room.batch.is_idle() && Arc::strong_count(&room.model) <= 2,
            Self::Embedding(model) => Arc::strong_count(model) <= 1,
            Self::Image(model) => Arc::strong_count(model) <= 1,
        }
    }
}

impl TextRoom {
    fn new(model: &Arc<TextModel>, limits: &Limits) -> Self {
        let options = BatchOptions {
            slots: limits.slots,
            prefix_bytes: limits.prefix_bytes,
        };
        Self {
            model: model.clone(),
            batch: Batch::new(model.clone(), options),
            readers: HashMap::new(),
        }
    }

    fn enter(&mut self, texts: Texts) {
        for (text, prepared) in texts.prepared.into_iter().enumerate() {
            let slot = self.batch.enter(prepared, texts.cancel.clone());
            self.readers.insert(slot, (texts.mailbox.clone(), text));
        }
    }

    fn step(&mut self) {
        for (slot, happening) in self.batch.step() {
            let end = match happening {
                Happening::Event(event) => {
                    if let Some((mailbox, text)) = self.readers.get(&slot) {
                        tell(mailbox, *text, event);
                    }
                    continue;
                }
                Happening::Finished(work) => Ok(work),
                Happening::Failed(error) => Err(ServingError::failed(error.to_string())),
            };
            if let Some((mailbox, text)) = self.readers.remove(&slot) {
                mailbox.put(text, |part| part.end = Some(end));
            }
        }
    }

    /// Ends all texts with an error.
    fn fail(&mut self, error: &ServingError) {
        for (_, (mailbox, text)) in self.readers.drain() {
            mailbox.put(text, |part| part.end = Some(Err(error.clone())));
        }
    }
}

fn tell(mailbox: &Mailbox, text: usize, event: Event) {
    match event {
        Event::Chunk { text: chunk } => mailbox.put(text, |part| part.text.push_str(&chunk)),
        Event::Token(token) => mailbox.put(text, |part| part.tokens.push(token)),
        _ => {}
    }
}
