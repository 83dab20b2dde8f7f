//! Which plans can be carried out.

use std::collections::{HashMap, HashSet};

use super::plan::{Make, Part, Plan, VERSION, WorkPlan, wrong};
use crate::Result;

/// Works of one plan at most.
const MOST_WORKS: usize = 64;

impl Plan {
    /// Refuses what cannot be made.
    ///
    /// # Errors
    /// [`EngineError::Plan`](crate::EngineError::Plan).
    pub fn check(&self) -> Result<()> {
        if self.version != VERSION {
            return Err(wrong(
                "version",
                format!("it is {}, and this program reads {VERSION}", self.version),
            ));
        }
        if self.works.is_empty() || self.works.len() > MOST_WORKS {
            return Err(wrong(
                "works",
                format!("there must be 1 to {MOST_WORKS}, not {}", self.works.len()),
            ));
        }
        for colour in [
            &self.palette.paper,
            &self.palette.ink,
            &self.palette.accent,
            &self.palette.soft,
        ] {
            if super::palette::rgb(colour).is_none() {
                return Err(wrong(
                    "palette",
                    format!("{colour:?} is no colour such as #a03020"),
                ));
            }
        }
        let (mut ids, mut files) = (HashSet::new(), HashMap::new());
        for work in &self.works {
            self.check_work(work)?;
            if !ids.insert(work.id.as_str()) {
                return Err(wrong(&work.id, "two works have this id"));
            }
            for file in work.files() {
                if let Some(other) = files.insert(file.clone(), &work.id) {
                    return Err(wrong(
                        &work.id,
                        format!("{other} is also written to {file}"),
                    ));
                }
            }
        }
        self.check_order()
    }

    fn check_work(&self, work: &WorkPlan) -> Result<()> {
        let id = work.id.as_str();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if id.is_empty() || !id.chars().all(plain) {
            return Err(wrong(
                "id",
                format!("{id:?} must be small letters, digits and -"),
            ));
        }
        check_file(work)?;
        for named in work.make.named() {
            if self.work(named).is_none() {
                return Err(wrong(id, format!("there is no work {named:?}")));
            }
        }
        match &work.make {
            Make::Text { parts, .. } => check_parts(id, parts, work.file.ends_with(".txt")),
            Make::Poster { size, .. } | Make::Film { size, .. }
                if size.iter().any(|side| !(64..=4096).contains(side)) =>
            {
                Err(wrong(id, "its sides must be 64 to 4096 pixels"))
            }
            Make::Image { tries, .. } if !(1..=16).contains(tries) => {
                Err(wrong(id, "tries must be 1 to 16"))
            }
            Make::Film { scenes, .. } if scenes.is_empty() => Err(wrong(id, "it has no scenes")),
            Make::Film { scenes, .. } => scenes.iter().try_for_each(|scene| {
                let shown = [&scene.title, &scene.still, &scene.clip];
                let count = shown.iter().filter(|shown| !shown.is_empty()).count();
                if count != 1 {
                    return Err(wrong(id, "a scene has one of title, still and clip"));
                }
                match scene.seconds {
                    seconds if (0.2..=600.0).contains(&seconds) => Ok(()),
                    _ => Err(wrong(id, "a scene lasts 0.2 to 600 seconds")),
                }
            }),
            _ => Ok(()),
        }
    }

    /// Refuses works that are made of one another.
    fn check_order(&self) -> Result<()> {
        let mut done: HashSet<String> = HashSet::new();
        loop {
            let ready: Vec<&WorkPlan> = self
                .works
                .iter()
                .filter(|work| !done.contains(&work.id))
                .filter(|work| self.needs(work).iter().all(|id| done.contains(id)))
                .collect();
            if ready.is_empty() {
                break;
            }
            done.extend(ready.into_iter().map(|work| work.id.clone()));
        }
        match self.works.iter().find(|work| !done.contains(&work.id)) {
            Some(stuck) => Err(wrong(
                &stuck.id,
                "it is made of works that are made of it in turn",
            )),
            None => Ok(()),
        }
    }
}

fn check_file(work: &WorkPlan) -> Result<()> {
    let file = work.file.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if file.is_empty() || file.starts_with('.') || !file.chars().all(plain) {
        return Err(wrong(
            &work.id,
            format!("{file:?} must be a plain name of a file in the folder"),
        ));
    }
    let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending);
    let endings = work.make.endings();
    if !endings.contains(&ending) {
        return Err(wrong(
            &work.id,
            format!(
                "{file}: a {} is written to .{}",
                work.make.medium(),
                endings.join(" or .")
            ),
        ));
    }
    Ok(())
}

fn check_parts(id: &str, parts: &[Part], alone: bool) -> Result<()> {
    if parts.is_empty() || alone && parts.len() > 1 {
        return Err(wrong(id, "a text has parts, in a .txt file one"));
    }
    let (mut ids, mut headings) = (HashSet::new(), HashSet::new());
    for part in parts {
        if !ids.insert(&part.id) || !headings.insert(&part.heading) {
            return Err(wrong(
                id,
                format!("two parts are called {:?}", part.heading),
            ));
        }
        let [least, most] = part.words;
        if least > most || most == 0 || most > 400 || !(1..=20).contains(&part.count) {
            return Err(wrong(
                id,
                format!(
                    "{}: words must be two numbers up to 400, count 1 to 20",
                    part.id
                ),
            ));
        }
        if part.fallback.len() < part.count {
            return Err(wrong(
                id,
                format!("{}: there must be a fallback for each item", part.id),
            ));
        }
    }
    Ok(())
}
