//! Carrying out the works of a brief.

use std::sync::Arc;

use medley_types::{Job, Medium, Request};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::Stop;
use super::carry::{Failure, Tools};
use crate::director::{
    Creation, Director, Folder, Happening, Kit, Make, Models, Plan, Stage, WorkState, mime,
};
use crate::library::NewWork;
use crate::serving::Purpose;
use crate::{EngineError, Result, work_file};

impl Tools {
    /// Plans a brief where that was not done yet, and makes the works that are not there.
    pub(super) async fn create(
        &self,
        job: &Job,
        stop: &Stop,
    ) -> std::result::Result<Vec<NewWork>, Failure> {
        let id = job.request["creation"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let (creations, wanted) = (self.creations.clone(), id.clone());
        let found = spawn_blocking(move || {
            Ok::<_, EngineError>((creations.get(&wanted)?, creations.folder(&wanted)?))
        });
        let (creation, folder) = found.await??;
        let made = self.works(job, &creation, &folder, stop).await;
        self.creations.ended(&id);
        made
    }

    async fn works(
        &self,
        job: &Job,
        creation: &Creation,
        folder: &Folder,
        stop: &Stop,
    ) -> std::result::Result<Vec<NewWork>, Failure> {
        let director = self.director(&job.id, &creation.id, stop);
        let plan = match folder.plan()? {
            Some(plan) => plan,
            None => {
                let kit = Kit::find(self.store.home(), &creation.kit)?;
                let plan = director
                    .plan(&kit, &creation.brief, &self.models().await?, creation.seed)
                    .await?;
                folder.write_plan(&plan)?;
                plan
            }
        };
        let plan = Arc::new(plan);
        let report = director.carry_out(folder, plan.clone()).await?;
        if let Some(failure) = report.failure() {
            return Err(failure.clone().into());
        }
        let (folder, job) = (folder.clone(), job.id.clone());
        let fresh = move |id: &str| {
            report
                .works
                .iter()
                .any(|(work, state)| work == id && *state == WorkState::Done)
        };
        Ok(spawn_blocking(move || kept(&plan, &folder, &job, &fresh)).await??)
    }

    fn director(&self, job: &str, creation: &str, stop: &Stop) -> Director {
        let (jobs, creations) = (self.jobs.clone(), self.creations.clone());
        let (job, creation) = (job.to_owned(), creation.to_owned());
        Director {
            stage: Stage {
                compute: self.compute.clone(),
                shelf: self.shelf.clone(),
                cancel: stop.token.clone(),
            },
            recipes: true,
            watch: Arc::new(move |happening| {
                creations.happens(&creation, &happening);
                if let Happening::Progress {
                    id,
                    stage,
                    done,
                    total,
                } = happening
                {
                    jobs.live().progress(
                        &job,
                        &format!("{id}: {stage}"),
                        done as u64,
                        total as u64,
                    );
                }
            }),
        }
    }

    /// The usual model of each medium.
    async fn models(&self) -> std::result::Result<Models, Failure> {
        let shelf = self.shelf.clone();
        let cards = spawn_blocking(move || shelf.list()).await?;
        let usual = |purpose: Purpose, name: &str| {
            let mut of_purpose = cards.iter().filter(|card| card.purpose == purpose);
            let named = of_purpose.clone().find(|card| card.id == name);
            let found = named.or_else(|| of_purpose.next());
            found.map_or_else(|| name.to_owned(), |card| card.id.clone())
        };
        Ok(Models {
            text: usual(Purpose::Text, "smollm2-135m"),
            image: usual(Purpose::Image, "icons"),
            video: usual(Purpose::Video, "clips"),
            music: usual(Purpose::Music, "tunes"),
            speech: usual(Purpose::Speech, "hibari"),
        })
    }
}

/// What is kept in the library of works that were made: those that are seen and heard.
fn kept(
    plan: &Plan,
    folder: &Folder,
    job: &str,
    fresh: &dyn Fn(&str) -> bool,
) -> Result<Vec<NewWork>> {
    let mut works = Vec::new();
    for work in plan.works.iter().filter(|work| fresh(&work.id)) {
        let (medium, model) = match &work.make {
            Make::Image { .. } => (Medium::Image, plan.models.image.as_str()),
            Make::Poster { .. } => (Medium::Image, ""),
            Make::Music { .. } => (Medium::Music, plan.models.music.as_str()),
            Make::Speech { .. } => (Medium::Speech, plan.models.speech.as_str()),
            Make::Video { .. } => (Medium::Video, plan.models.video.as_str()),
            Make::Film { .. } => (Medium::Video, ""),
            Make::Text { .. } | Make::Page { .. } => continue,
        };
        let path = folder.file(&work.file);
        let recipe = work_file::recipe(&path)?;
        let size = match &work.make {
            Make::Poster { size, .. } | Make::Film { size, .. } => Some(*size),
            _ => None,
        };
        let prompt = match &recipe {
            Request::Image(request) => request.prompt.clone(),
            Request::Music(request) => request.prompt.clone(),
            Request::Speech(request) => request.text.clone(),
            Request::Video(request) => request.prompt.clone(),
            _ => format!("{}: {}", plan.name, work.title),
        };
        works.push(NewWork {
            medium,
            model: model.to_owned(),
            model_sha256: None,
            prompt,
            recipe: json!(recipe),
            mime: mime(&work.file),
            bytes: std::fs::read(&path).map_err(EngineError::io("read", &path))?,
            size,
            timings: json!({}),
            job: Some(job.to_owned()),
        });
    }
    Ok(works)
}
