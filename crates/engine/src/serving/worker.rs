//! The one thread that computes: it steps through the texts of all models, embeds and draws, a little of everything in turn.

mod watch;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use medley_types::{Event, ImageRequest, Transcript, TranscriptRequest};
use tokio::sync::oneshot;

use super::error::ServingError;
use super::ledger::{Granted, Ledger, Loaded, Memory, Room, Totals};
use super::mailbox::Mailbox;
use super::shelf::{Card, Model, Shelf};
use super::sound::{self, Composing, Filming, Speaking};
use super::texts::{needs, refuse};
use crate::batch::Prepared;
use crate::image::{ImageGenerator, ImageInputs, Images};
use crate::music::Music;
use crate::speech::Speech;
use crate::transcript::Listener;
use crate::video::Video;
use crate::{CancelToken, EmbeddingModel, PipelineError, Run, TextModel, Watched};
use watch::{Watching, watch};

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

/// Pictures to be drawn.
pub struct Drawing {
    /// The model, as [`Compute::load`] gave it.
    pub generator: Arc<dyn ImageGenerator>,
    /// What [`complete`](crate::image::ImageConfig::complete) gave.
    pub request: ImageRequest,
    /// The pictures that it starts from.
    pub inputs: ImageInputs,
    /// Told what happens, on the thread that computes.
    pub events: Box<dyn FnMut(Event) + Send>,
    /// Ends it.
    pub cancel: CancelToken,
}

/// A sound to be written down.
pub struct Listening {
    /// The model, as [`Compute::load`] gave it.
    pub listener: Arc<dyn Listener>,
    /// One channel at 16000 samples a second.
    pub samples: Vec<f32>,
    /// What [`complete`](Listener::complete) gave.
    pub request: TranscriptRequest,
    /// Told what happens, on the thread that computes.
    pub events: Box<dyn FnMut(Event) + Send>,
    /// Ends it.
    pub cancel: CancelToken,
}

enum Command {
    Load { card: Card, reply: Granted },
    Memory(oneshot::Sender<Memory>),
    Evict(String, oneshot::Sender<bool>),
    Write(Texts),
    Embed(Embedding),
    Long(Long),
}

/// What takes long, and who waits for it.
enum Long {
    Draw(Box<Drawing>, Waiting<Images>),
    Listen(Box<Listening>, Waiting<Transcript>),
    Speak(Box<Speaking>, Waiting<Speech>),
    Compose(Box<Composing>, Waiting<Music>),
    Film(Box<Filming>, Waiting<Video>),
    Watch(Watching, Waiting<Watched>),
}

/// The way to the thread, which ends when this is dropped.
pub struct Compute(Sender<Command>);

impl Compute {
    /// Starts the thread.
    pub fn start(shelf: Arc<dyn Shelf>, limits: Limits) -> std::io::Result<Self> {
        let (sender, commands) = channel();
        let worker = Worker {
            ledger: Ledger::new(shelf, limits),
            entering: VecDeque::new(),
            embeddings: VecDeque::new(),
            long: VecDeque::new(),
            in_turn: false,
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

    /// What all models take.
    pub async fn memory(&self) -> Result<Memory, ServingError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Memory(reply))?;
        answer.await.map_err(|_| ServingError::Gone)
    }

    /// Puts a model away; whether it was loaded, and idle.
    pub async fn evict(&self, id: String) -> Result<bool, ServingError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Evict(id, reply))?;
        answer.await.map_err(|_| ServingError::Gone)
    }

    /// Begins to write.
    pub fn write(&self, texts: Texts) -> Result<(), ServingError> {
        self.send(Command::Write(texts))
    }

    /// What a language model thinks comes after a text, and what it looks at; `likeliest` tokens are named.
    ///
    /// # Errors
    /// As [`TextModel::watch`]; [`ServingError::Failed`] where it fails badly.
    pub async fn watch(
        &self,
        model: Arc<TextModel>,
        text: String,
        likeliest: usize,
    ) -> Result<Watched, ServingError> {
        let (reply, answer) = oneshot::channel();
        let watching = Watching {
            model,
            text,
            likeliest,
        };
        self.send(Command::Long(Long::Watch(watching, reply)))?;
        answer.await.map_err(|_| ServingError::Gone)?
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

/// The rest of [`Compute`]: what takes long.
impl Compute {
    /// Draws pictures; dropping the future ends it.
    ///
    /// # Errors
    /// What the generator says; [`ServingError::Failed`] where it fails badly.
    pub async fn draw(&self, drawing: Drawing) -> Result<Images, ServingError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Long(Long::Draw(Box::new(drawing), reply)))?;
        answer.await.map_err(|_| ServingError::Gone)?
    }

    /// Writes a sound down; dropping the future ends it.
    ///
    /// # Errors
    /// What the listener says; [`ServingError::Failed`] where it fails badly.
    pub async fn listen(&self, listening: Listening) -> Result<Transcript, ServingError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Long(Long::Listen(Box::new(listening), reply)))?;
        answer.await.map_err(|_| ServingError::Gone)?
    }
}

/// The rest of [`Compute`]: sound.
impl Compute {
    /// Says something; dropping the future ends it. What was heard piece by piece has no samples in what comes back.
    ///
    /// # Errors
    /// What the generator says; [`ServingError::Failed`] where it fails badly.
    pub async fn speak(&self, speaking: Speaking) -> Result<Speech, ServingError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Long(Long::Speak(Box::new(speaking), reply)))?;
        answer.await.map_err(|_| ServingError::Gone)?
    }

    /// Makes music; dropping the future ends it.
    ///
    /// # Errors
    /// As [`speak`](Self::speak).
    pub async fn compose(&self, composing: Composing) -> Result<Music, ServingError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Long(Long::Compose(Box::new(composing), reply)))?;
        answer.await.map_err(|_| ServingError::Gone)?
    }

    /// Makes a clip; dropping the future ends it.
    ///
    /// # Errors
    /// As [`speak`](Self::speak).
    pub async fn film(&self, filming: Filming) -> Result<Video, ServingError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Long(Long::Film(Box::new(filming), reply)))?;
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

/// Who waits for a result.
type Waiting<T> = oneshot::Sender<Result<T, ServingError>>;

struct Worker {
    ledger: Ledger,
    /// Texts that wait for room, in order of arrival.
    entering: VecDeque<Texts>,
    embeddings: VecDeque<Embedding>,
    long: VecDeque<Long>,
    /// Whether something that takes long is being done.
    in_turn: bool,
}

impl Worker {
    fn run(mut self, commands: &Receiver<Command>) {
        while self.receive(commands) {
            self.ledger.grant();
            self.admit();
            self.step();
            self.embed();
            self.go_on(commands);
        }
    }

    fn is_busy(&self) -> bool {
        self.writes() || !self.long.is_empty()
    }

    /// Whether there is something to do beside what takes long.
    fn writes(&self) -> bool {
        let writes = |l: &Loaded| matches!(&l.room, Room::Text(room) if !room.batch.is_idle());
        !self.embeddings.is_empty() || self.ledger.loaded.iter().any(writes)
    }

    /// Takes in all commands that are there, and waits for one where there is nothing else to do; false at the end.
    fn receive(&mut self, commands: &Receiver<Command>) -> bool {
        if !self.is_busy() {
            let first = if !self.ledger.is_awaited() && self.entering.is_empty() {
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

    /// Does the next thing that takes long.
    fn go_on(&mut self, commands: &Receiver<Command>) {
        match self.long.pop_front() {
            None => {}
            Some(Long::Speak(speaking, reply)) => self.speak(commands, *speaking, reply),
            Some(Long::Compose(composing, reply)) => self.compose(commands, *composing, reply),
            Some(Long::Film(filming, reply)) => self.film(commands, *filming, reply),
            Some(Long::Watch(watching, reply)) => watch(&watching, reply),
            Some(Long::Draw(drawing, reply)) => {
                let Drawing {
                    generator,
                    request,
                    inputs,
                    events,
                    cancel,
                } = *drawing;
                let closed = || reply.is_closed();
                let work = |run: &mut Run| generator.generate(&request, &inputs, run);
                let drawn = self.in_turn(commands, (events, cancel), &closed, work);
                // Held until here alone, so that the model can be put away for the next.
                drop(generator);
                drop(
                    reply
                        .send(drawn.unwrap_or_else(|| Err(ServingError::failed("drawing failed")))),
                );
            }
            Some(Long::Listen(listening, reply)) => {
                let Listening {
                    listener,
                    samples,
                    request,
                    events,
                    cancel,
                } = *listening;
                let closed = || reply.is_closed();
                let work = |run: &mut Run| listener.listen(&samples, &request, run);
                let heard = self.in_turn(commands, (events, cancel), &closed, work);
                drop(listener);
                if let Some(Ok(heard)) = &heard {
                    let tokens = heard.tokens as u64;
                    let totals = Totals {
                        tokens,
                        prompt_tokens: 0,
                    };
                    self.ledger.count(vec![(request.model, totals)]);
                }
                drop(
                    reply.send(
                        heard.unwrap_or_else(|| Err(ServingError::failed("listening failed"))),
                    ),
                );
            }
        }
    }

    fn speak(&mut self, commands: &Receiver<Command>, speaking: Speaking, reply: Waiting<Speech>) {
        let Speaking {
            voice,
            request,
            heard,
            events,
            cancel,
        } = speaking;
        let closed = || reply.is_closed();
        let work = |run: &mut Run| sound::say(voice.as_ref(), &request, heard, run);
        let said = self.in_turn(commands, (events, cancel), &closed, work);
        drop(voice);
        drop(reply.send(said.unwrap_or_else(|| Err(ServingError::failed("speaking failed")))));
    }

    fn compose(
        &mut self,
        commands: &Receiver<Command>,
        composing: Composing,
        reply: Waiting<Music>,
    ) {
        let Composing {
            generator,
            request,
            inputs,
            events,
            cancel,
        } = composing;
        let closed = || reply.is_closed();
        let work = |run: &mut Run| generator.generate(&request, &inputs, run);
        let made = self.in_turn(commands, (events, cancel), &closed, work);
        drop(generator);
        if let Some(Ok(made)) = &made {
            let totals = Totals {
                tokens: made.work.tokens as u64,
                prompt_tokens: 0,
            };
            self.ledger.count(vec![(request.model, totals)]);
        }
        drop(reply.send(made.unwrap_or_else(|| Err(ServingError::failed("making music failed")))));
    }

    fn film(&mut self, commands: &Receiver<Command>, filming: Filming, reply: Waiting<Video>) {
        let Filming {
            generator,
            request,
            inputs,
            events,
            cancel,
        } = filming;
        let closed = || reply.is_closed();
        let work = |run: &mut Run| generator.generate(&request, &inputs, run);
        let made = self.in_turn(commands, (events, cancel), &closed, work);
        drop(generator);
        drop(
            reply.send(made.unwrap_or_else(|| Err(ServingError::failed("making the clip failed")))),
        );
    }

    /// Does something that takes long; `None` where it fails badly. Between two steps of it, texts and embeddings have as
    /// long as the last step took, so that they go on at half their speed at worst.
    fn in_turn<T>(
        &mut self,
        commands: &Receiver<Command>,
        (mut events, cancel): (Box<dyn FnMut(Event) + Send>, CancelToken),
        closed: &dyn Fn() -> bool,
        work: impl FnOnce(&mut Run) -> Result<T, PipelineError>,
    ) -> Option<Result<T, ServingError>> {
        let mut since = Instant::now();
        self.in_turn = true;
        let done = catch_unwind(AssertUnwindSafe(|| {
            let mut run = Run::new(cancel.clone(), |event| {
                events(event);
                let until = Instant::now() + since.elapsed();
                let mut going = self.look(commands);
                self.ledger.grant();
                self.admit();
                while going && self.writes() && Instant::now() < until {
                    self.step();
                    self.embed();
                    going = self.look(commands);
                    self.ledger.grant();
                    self.admit();
                }
                if !going || closed() {
                    cancel.cancel();
                }
                since = Instant::now();
            });
            run.check()?;
            work(&mut run)
        }));
        self.in_turn = false;
        done.ok().map(|done| done.map_err(ServingError::from))
    }

    fn take_in(&mut self, command: Command) {
        match command {
            Command::Load { card, reply } => self.ledger.ask(card, reply),
            Command::Embed(embedding) => self.embeddings.push_back(embedding),
            Command::Long(long) => self.long.push_back(long),
            Command::Write(texts) => self.entering.push_back(texts),
            Command::Memory(reply) => drop(reply.send(self.ledger.memory())),
            Command::Evict(id, reply) => drop(reply.send(self.ledger.evict(&id))),
        }
    }

    /// Lets texts begin, in order, as far as there is room for their keys and values.
    fn admit(&mut self) {
        while let Some(texts) = self.entering.pop_front() {
            let of_model = |l: &Loaded| matches!(&l.room, Room::Text(room) if Arc::ptr_eq(&room.model, &texts.model));
            let Some(place) = self.ledger.loaded.iter().position(of_model) else {
                refuse(
                    &texts,
                    &ServingError::failed("the model failed and was put away"),
                );
                continue;
            };
            let (bytes, tokens) = needs(&texts);
            // What was ended while it waited takes nothing, and is to come to its end.
            if !texts.cancel.is_cancelled() {
                if !self.ledger.could_hold(place, bytes) {
                    refuse(
                        &texts,
                        &ServingError::TextTooLarge {
                            model: self.ledger.loaded[place].id.clone(),
                            tokens,
                            needed: bytes,
                            limit: self.ledger.limit(),
                        },
                    );
                    continue;
                }
                // Where nothing is on its way, what waits holds the room itself, and one must begin.
                let alone = !self.in_turn && !self.writes();
                if !self.ledger.make_room(bytes) && !alone {
                    self.entering.push_front(texts);
                    return;
                }
            }
            // Others may have been put away, which moves it.
            if let Some(Loaded {
                room: Room::Text(room),
                ..
            }) = self.ledger.loaded.iter_mut().find(|l| of_model(l))
            {
                room.enter(texts);
            }
            self.ledger.share_rest();
        }
    }

    /// One step of every model that writes. A model that fails badly is put away; the others go on.
    fn step(&mut self) {
        let mut written = Vec::new();
        self.ledger
            .loaded
            .retain_mut(|loaded| match &mut loaded.room {
                Room::Text(room) if !room.batch.is_idle() => {
                    let stepped = catch_unwind(AssertUnwindSafe(|| room.step()));
                    match stepped {
                        Ok(totals) if totals == Totals::default() => true,
                        Ok(totals) => {
                            written.push((loaded.id.clone(), totals));
                            true
                        }
                        Err(_) => {
                            room.fail(&ServingError::failed("writing the text failed"));
                            false
                        }
                    }
                }
                _ => true,
            });
        self.ledger.count(written);
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
