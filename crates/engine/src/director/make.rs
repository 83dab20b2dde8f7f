//! How each kind of work is made.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::speech::CaptionFormat;
use medley_media::audio::SoundFormat;
use medley_media::design::Poster;
use medley_media::film::timeline::{
    Captions, ClipScene, Placing, Role, Scene, Sound, Still, Timeline, Title, render,
};
use medley_media::score::ScoreFormat;
use medley_media::{Format, Limits, Origin};
use medley_types::{
    ClipInit, CreateRequest, ErrorReport, Event, ImageRequest, MusicRequest, Request,
    SpeechRequest, VideoRequest,
};
use serde_json::json;

use super::folder::Folder;
use super::palette::rgb;
use super::plan::{FilmScene, Make, Part, Plan, WorkPlan};
use super::stage::{Made, Stage, Told, waited};
use super::texts::{self, Items, Said};
use super::{captions as spoken, kit, page, words};
use crate::image::{self, Picture};
use crate::music::Target;
use crate::video::VideoInputs;
use crate::{EngineError, music, speech, video, work_file};

/// Seconds before the voice begins.
const LEAD: f64 = 0.8;
/// Seconds after it has ended.
const TAIL: f64 = 1.8;
/// Seconds in which a scene goes over into the next.
const FADE: f64 = 0.4;

/// What a work is made with.
pub(super) struct Maker {
    pub stage: Stage,
    pub folder: Folder,
    pub plan: Arc<Plan>,
    /// Whether files carry how they were made.
    pub recipes: bool,
    /// Hashes of the files that the work is made of, by their names.
    pub inputs: BTreeMap<String, String>,
}

/// The files of a work: their names and contents. A film is written where it belongs while it is made, and is not among them.
pub(super) type Files = Vec<(String, Vec<u8>)>;

fn engine(error: EngineError) -> ErrorReport {
    error.report()
}

fn media(error: medley_media::MediaError) -> ErrorReport {
    EngineError::from(error).report()
}

impl Maker {
    /// Makes a work whose needs are there.
    pub(super) async fn make(&self, work: &WorkPlan, told: Told) -> Made<Files> {
        match &work.make {
            Make::Text { parts, seed } => self.text(work, parts, *seed, told).await,
            Make::Image { .. } => self.picture(work, told).await,
            Make::Poster { .. } => self.poster(work).await,
            Make::Music { .. } => self.music(work, told).await,
            Make::Speech { .. } => self.speech(work, told).await,
            Make::Video { .. } => self.clip(work, told).await,
            Make::Film { .. } => self.film(work, told).await,
            Make::Page { .. } => self.page(work).await,
        }
    }

    /// What the texts say that this work is made of.
    pub(super) fn said(&self, work: &WorkPlan) -> Made<Said> {
        said(&self.plan, &self.folder, work)
    }

    /// How a work that no single model makes is made again.
    fn request(&self, work: &WorkPlan) -> Option<Request> {
        self.recipes.then(|| {
            Request::Create(CreateRequest {
                plan: json!(*self.plan),
                work: work.id.clone(),
                inputs: self.inputs.clone(),
            })
        })
    }

    /// The same as it stands in files.
    fn recipe(&self, work: &WorkPlan) -> Option<String> {
        self.request(work).map(|request| json!(request).to_string())
    }

    async fn text(
        &self,
        work: &WorkPlan,
        parts: &[Part],
        seed: u64,
        mut told: Told,
    ) -> Made<Files> {
        let examples = kit::examples().map_err(engine)?;
        let said = self.said(work)?;
        let mut items = Items::new();
        for (number, part) in parts.iter().enumerate() {
            let filled = Part {
                ask: said.fill(&part.ask),
                opening: said.fill(&part.opening),
                ..part.clone()
            };
            let seed = seed.wrapping_mul(31).wrapping_add(number as u64 * 1000);
            let written = words::part(&self.stage, &self.plan, &filled, &examples, seed).await?;
            items.insert(part.id.clone(), written);
            told(Event::Progress {
                stage: "write".into(),
                done: number + 1,
                total: parts.len(),
            });
        }
        let mut text = texts::render(&self.plan, work, parts, &items);
        if work.file.ends_with(".md") {
            text += &work_file::comment(self.request(work).as_ref());
        } else {
            text.push('\n');
        }
        Ok(vec![(work.file.clone(), text.into_bytes())])
    }

    async fn picture(&self, work: &WorkPlan, told: Told) -> Made<Files> {
        let Make::Image {
            prompt,
            negative,
            size,
            upscale,
            tries,
            seed,
        } = &work.make
        else {
            return Ok(Vec::new());
        };
        let request = ImageRequest {
            model: self.plan.models.image.clone(),
            prompt: self.said(work)?.fill(prompt),
            negative: negative.clone(),
            size: *size,
            upscale: *upscale,
            seed: *seed,
            count: 1,
            ..ImageRequest::default()
        };
        let request = ImageRequest {
            seed: self.stage.best_seed(&request, *tries).await?,
            ..request
        };
        let (request, images) = self.stage.draw(request, told).await?;
        let (name, recipes) = (work.file.clone(), self.recipes);
        waited(move || {
            let format = Format::from_path(name.as_ref()).map_err(media)?;
            let files = image::encoded(&request, &images, format, recipes).map_err(engine)?;
            Ok(files
                .into_iter()
                .take(1)
                .map(|file| (name.clone(), file.bytes))
                .collect())
        })
        .await
    }

    async fn poster(&self, work: &WorkPlan) -> Made<Files> {
        let Make::Poster {
            size,
            kicker,
            headline,
            text,
            picture,
        } = &work.make
        else {
            return Ok(Vec::new());
        };
        let said = self.said(work)?;
        let texts = [kicker, headline, text].map(|text| said.fill(text));
        let picture = self.file_of(picture);
        let (palette, size, name) = (self.plan.palette.clone(), *size, work.file.clone());
        let (folder, recipe) = (self.folder.clone(), self.recipe(work));
        waited(move || {
            let picture = picture
                .map(|file| read_picture(&folder, &file))
                .transpose()?;
            let colour = |text: &str| rgb(text).unwrap_or([128; 3]);
            let poster = Poster {
                size,
                paper: colour(&palette.paper),
                ink: colour(&palette.ink),
                accent: colour(&palette.accent),
                soft: colour(&palette.soft),
                kicker: &texts[0],
                title: texts[1].trim_end_matches('.'),
                text: &texts[2],
                picture: picture.as_ref(),
            };
            let format = Format::from_path(name.as_ref()).map_err(media)?;
            let origin = Origin::Generated {
                recipe: recipe.as_deref(),
            };
            let painted = poster.paint().map_err(media)?;
            Ok(vec![(
                name,
                medley_media::encode(&painted, format, origin).map_err(media)?,
            )])
        })
        .await
    }

    async fn music(&self, work: &WorkPlan, told: Told) -> Made<Files> {
        let Make::Music {
            prompt,
            seconds,
            seed,
        } = &work.make
        else {
            return Ok(Vec::new());
        };
        let request = MusicRequest {
            model: self.plan.models.music.clone(),
            prompt: self.said(work)?.fill(prompt),
            seconds: Some(*seconds),
            seed: *seed,
            ..MusicRequest::default()
        };
        let (request, made) = self.stage.play(request, told).await?;
        let (names, recipes) = (work.files(), self.recipes);
        waited(move || {
            let recipe = recipes.then(|| json!(Request::Music(request)).to_string());
            let recipe = recipe.as_deref();
            let sound = SoundFormat::from_path(names[0].as_ref()).map_err(media)?;
            let targets = [Target::Sound(sound), Target::Score(ScoreFormat::Midi)];
            let files = names.iter().zip(targets).map(|(name, target)| {
                Ok((
                    name.clone(),
                    music::encoded(&made, target, recipe).map_err(engine)?,
                ))
            });
            files.collect()
        })
        .await
    }

    async fn speech(&self, work: &WorkPlan, told: Told) -> Made<Files> {
        let Make::Speech { text, voice, seed } = &work.make else {
            return Ok(Vec::new());
        };
        let request = SpeechRequest {
            model: self.plan.models.speech.clone(),
            text: self.said(work)?.fill(text),
            voice: voice.clone(),
            seed: *seed,
            ..SpeechRequest::default()
        };
        let (request, made) = self.stage.speak(request, told).await?;
        let (names, recipes) = (work.files(), self.recipes);
        waited(move || {
            let recipe = recipes.then(|| json!(Request::Speech(request)).to_string());
            let format = SoundFormat::from_path(names[0].as_ref()).map_err(media)?;
            let sound = speech::encoded(&made.audio, format, recipe.as_deref()).map_err(engine)?;
            let said = speech::captions(&made.work.words, CaptionFormat::Vtt);
            let contents = [sound, said.into_bytes()];
            Ok(names.into_iter().zip(contents).collect())
        })
        .await
    }

    async fn clip(&self, work: &WorkPlan, told: Told) -> Made<Files> {
        let Make::Video {
            prompt,
            init,
            frames,
            seed,
        } = &work.make
        else {
            return Ok(Vec::new());
        };
        let mut request = VideoRequest {
            model: self.plan.models.video.clone(),
            prompt: self.said(work)?.fill(prompt),
            frames: *frames,
            seed: *seed,
            ..VideoRequest::default()
        };
        let mut inputs = VideoInputs::default();
        if let Some(file) = self.file_of(init) {
            let path = self.folder.file(&file);
            let (clip, file) = waited(move || video::read_init(&path).map_err(engine)).await?;
            request.init = Some(ClipInit { file, pad: false });
            inputs.init = Some(clip);
        }
        let (request, made) = self.stage.film(request, inputs, told).await?;
        let (name, path) = (work.file.clone(), self.folder.file(&work.file));
        let recipes = self.recipes;
        waited(move || {
            if recipes {
                return Ok(vec![(
                    name,
                    video::encoded(&made.clip, &request).map_err(engine)?,
                )]);
            }
            video::write(&path, &made.clip, None).map_err(engine)?;
            Ok(Vec::new())
        })
        .await
    }

    async fn film(&self, work: &WorkPlan, mut told: Told) -> Made<Files> {
        let Make::Film {
            size,
            scenes,
            voice,
            music,
        } = &work.make
        else {
            return Ok(Vec::new());
        };
        let said = self.said(work)?;
        let (voice, music) = (self.work_of(voice), self.work_of(music));
        let timeline = self.timeline(*size, scenes, &said, (voice, music)).await?;
        let (folder, path) = (self.folder.clone(), self.folder.file(&work.file));
        let (recipe, cancel) = (self.recipe(work), self.stage.cancel.clone());
        waited(move || {
            let origin = Origin::Generated {
                recipe: recipe.as_deref(),
            };
            let mut watch = |step: medley_media::film::timeline::Step| {
                if step.done.is_multiple_of(15) {
                    told(Event::Progress {
                        stage: "frame".into(),
                        done: step.done as usize,
                        total: step.total as usize,
                    });
                }
                match cancel.is_cancelled() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            render(&timeline, folder.path(), &path, origin, &mut watch).map_err(media)?;
            Ok(Vec::new())
        })
        .await
    }

    /// The timeline of a film: its scenes, as long together as the voice needs, what is heard, and what is said as captions.
    async fn timeline(
        &self,
        size: [u32; 2],
        scenes: &[FilmScene],
        said: &Said,
        (voice, music): (Option<&WorkPlan>, Option<&WorkPlan>),
    ) -> Made<Timeline> {
        let palette = &self.plan.palette;
        let mut spoken_for = 0.0;
        let mut captions = None;
        let mut sounds = Vec::new();
        if let Some(voice) = voice {
            let files = voice.files();
            let (heard, words) = (self.folder.file(&files[0]), self.folder.file(&files[1]));
            let read = waited(move || {
                let (audio, _) = video::read_sound(&heard).map_err(engine)?;
                let text = std::fs::read_to_string(&words)
                    .map_err(EngineError::io("read", &words))
                    .map_err(engine)?;
                Ok((audio.seconds(), spoken::words(&text)))
            });
            let (seconds, words) = read.await?;
            spoken_for = LEAD + seconds + TAIL;
            captions = (!words.is_empty()).then_some(Captions { words, start: LEAD });
            sounds.push(sound(&files[0], Role::Voice, LEAD));
        }
        if let Some(music) = music {
            sounds.push(Sound {
                repeat: true,
                fade_in: 0.4,
                fade_out: 1.5,
                ..sound(&music.file, Role::Music, 0.0)
            });
        }
        let asked: f64 = scenes.iter().map(|scene| scene.seconds).sum();
        let over = FADE * (scenes.len() - 1) as f64;
        let stretch = ((spoken_for.max(asked) + over) / asked).max(1.0);
        let scenes = scenes.iter().enumerate().map(|(number, scene)| Scene {
            seconds: Some(scene.seconds * stretch),
            // The first frame is what players show before they play.
            fade: if number == 0 { 0.0 } else { FADE },
            ..self.scene(number, scene, said)
        });
        Ok(Timeline {
            size,
            rate: 30,
            background: palette.paper.clone(),
            font: None,
            scenes: scenes.collect(),
            fade_out: 0.5,
            sounds,
            captions,
            loudness: -16.0,
            duck: 12.0,
            codec: Default::default(),
        })
    }

    fn scene(&self, number: usize, scene: &FilmScene, said: &Said) -> Scene {
        let palette = &self.plan.palette;
        let mut out = Scene::default();
        if let Some(file) = self.file_of(&scene.still) {
            // Every other picture comes nearer, the others go away.
            let zoom = if number.is_multiple_of(2) {
                [1.0, 1.1]
            } else {
                [1.1, 1.0]
            };
            out.still = Some(Still {
                file: file.into(),
                zoom,
                towards: [0.5, 0.5],
                fit: Placing::Pad,
                multiply: true,
            });
        } else if let Some(file) = self.file_of(&scene.clip) {
            out.clip = Some(ClipScene {
                file: file.into(),
                start: 0.0,
                repeat: true,
                fit: Placing::Pad,
                multiply: true,
                volume: None,
            });
        } else {
            let on_accent = number == 0;
            out.title = Some(Title {
                text: said.fill(&scene.title).trim_end_matches('.').to_owned(),
                subtitle: said.fill(&scene.subtitle),
                colour: if on_accent {
                    "#ffffff".into()
                } else {
                    palette.ink.clone()
                },
                background: Some(if on_accent {
                    palette.accent.clone()
                } else {
                    palette.soft.clone()
                }),
            });
        }
        out
    }

    async fn page(&self, work: &WorkPlan) -> Made<Files> {
        let Make::Page { blocks } = &work.make else {
            return Ok(Vec::new());
        };
        let (plan, folder, blocks) = (self.plan.clone(), self.folder.clone(), blocks.clone());
        let (said, name) = (self.said(work)?, work.file.clone());
        let recipe = self.recipe(work);
        waited(move || {
            let text = page::render(&plan, &folder, &blocks, &said, recipe.as_deref());
            Ok(vec![(name, text.map_err(engine)?.into_bytes())])
        })
        .await
    }

    fn work_of(&self, id: &str) -> Option<&WorkPlan> {
        self.plan.work(id)
    }

    fn file_of(&self, id: &str) -> Option<String> {
        Some(self.work_of(id)?.file.clone())
    }
}

fn sound(file: &str, role: Role, start: f64) -> Sound {
    Sound {
        file: file.into(),
        role,
        start,
        gain: 0.0,
        repeat: false,
        fade_in: 0.0,
        fade_out: 0.0,
    }
}

fn read_picture(folder: &Folder, file: &str) -> Made<Picture> {
    let path = folder.file(file);
    let bytes = image::read_limited(&path, Limits::default().file_bytes).map_err(engine)?;
    medley_media::decode(&bytes, &Limits::default()).map_err(media)
}

/// What the texts say that a work is made of, out of their files.
pub(super) fn said(plan: &Plan, folder: &Folder, work: &WorkPlan) -> Made<Said> {
    let mut said = Said::default();
    for id in plan.needs(work) {
        let Some(text) = plan
            .work(&id)
            .filter(|w| matches!(w.make, Make::Text { .. }))
        else {
            continue;
        };
        let path = folder.file(&text.file);
        let read = std::fs::read_to_string(&path).map_err(EngineError::io("read", &path));
        said.0
            .insert(id, texts::parse(text, &read.map_err(engine)?));
    }
    Ok(said)
}
