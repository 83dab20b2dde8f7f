//! What is in a dataset, for people: `--dry-run`.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use medley_kernels::pool::parallel_chunks;
use medley_media::{
    Filter, Format, Layout, Limits, Origin, Picture, contact_sheet, encode, write_file,
};
use serde::Serialize;

use super::{BadList, DataError, Dataset, Item, Kind, Order, Side, Split, Transform};

/// Pictures that are decoded at a time.
const AT_A_TIME: usize = 64;
/// Pictures on the contact sheet, and in a row of it.
const ON_SHEET: usize = 64;
const IN_A_ROW: usize = 8;
/// Width and height of a cell of the contact sheet.
const CELL: u32 = 96;
/// Captions that are shown.
const EXAMPLES: usize = 8;
/// Sizes that are shown, the most frequent first.
const SIZES: usize = 5;

/// Least, middle and greatest of some numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The least.
    pub least: u64,
    /// Half of them are no greater.
    pub median: u64,
    /// The greatest.
    pub most: u64,
}

impl Spread {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let at = |i: usize| values.get(i).copied().unwrap_or(0);
        Self {
            least: at(0),
            median: at(values.len().saturating_sub(1) / 2),
            most: at(values.len().saturating_sub(1)),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.most {
            write!(f, "{}", self.most)
        } else {
            write!(
                f,
                "{} to {}, mostly about {}",
                self.least, self.most, self.median
            )
        }
    }
}

/// How many pictures have a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// How many.
    pub pictures: usize,
}

/// A picture and what is said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Its file.
    pub name: String,
    /// Its captions.
    pub captions: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The dataset.
    pub path: PathBuf,
    /// What it was recognised as.
    pub kind: Kind,
    /// Pictures with captions.
    pub pictures: usize,
    /// Groups that a split keeps together.
    pub groups: usize,
    /// Pictures to train on.
    pub train: usize,
    /// Pictures held out.
    pub held_out: usize,
    /// Captions in all.
    pub captions: usize,
    /// Captions of a picture.
    pub captions_each: Spread,
    /// Words of a caption.
    pub words: Spread,
    /// Pictures that were decoded for what follows.
    pub looked_at: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// How many are of each format.
    pub formats: BTreeMap<&'static str, usize>,
    /// Widths in pixels.
    pub width: Spread,
    /// Heights in pixels.
    pub height: Spread,
    /// The most frequent sizes.
    pub shapes: Vec<Shape>,
    /// How many have transparent parts, which come to lie over white.
    pub transparent: usize,
    /// How many are smaller than what they would be trained at.
    pub enlarged: usize,
    /// Entries and pictures that cannot be used.
    pub bad: BadList,
    /// Some captions.
    pub examples: Vec<Example>,
}

/// Pictures that a survey decodes.
const SURVEYED: usize = 2000;

/// What is in a dataset, with a contact sheet that is written to `contact-sheet.png` in the folder `out`; no path if not
/// one picture could be read.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) and [`Error::Media`](crate::Error::Media) if the sheet cannot be written.
pub fn survey(
    dataset: &Dataset,
    split: Split,
    transform: &Transform,
    out: &Path,
) -> crate::Result<(Report, Option<PathBuf>)> {
    let (report, sheet) = Report::make(dataset, split, transform, &Limits::default(), SURVEYED)?;
    let Some(sheet) = sheet else {
        return Ok((report, None));
    };
    std::fs::create_dir_all(out).map_err(|e| crate::Error::io(out, "make", e))?;
    let path = out.join("contact-sheet.png");
    write_file(&path, &encode(&sheet, Format::Png, Origin::Collected)?)?;
    Ok((report, Some(path)))
}

/// What is kept of a decoded picture.
struct Seen {
    format: &'static str,
    bytes: u64,
    width: u32,
    height: u32,
    transparent: bool,
    small: Option<Picture>,
}

impl Report {
    /// Looks at up to `most` pictures, chosen at random but always the same, and gives what was found with a contact sheet
    /// of some of them; none if not one could be read.
    ///
    /// # Errors
    /// [`DataError::Media`] if the sheet cannot be made, which no dataset brings about.
    pub fn make(
        dataset: &Dataset,
        split: Split,
        transform: &Transform,
        limits: &Limits,
        most: usize,
    ) -> Result<(Self, Option<Picture>), DataError> {
        let mut report = Self::of_index(dataset, split);
        let mut order = Order::new(dataset.items().len(), usize::MAX, Some(0))?;
        let looked_at = most.min(dataset.items().len());
        let numbers: Vec<usize> = (0..looked_at).map(|_| order.draw().0).collect();
        let mut sheet = Vec::new();
        let (mut widths, mut heights) = (Vec::new(), Vec::new());
        let mut shapes: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        for some in numbers.chunks(AT_A_TIME) {
            let items: Vec<&Item> = some.iter().map(|&n| &dataset.items()[n]).collect();
            for (item, seen) in items.iter().zip(look(dataset, &items, limits)) {
                let seen = match seen {
                    Ok(seen) => seen,
                    Err(reason) => {
                        report.bad.push(item.name(), reason);
                        continue;
                    }
                };
                report.bytes += seen.bytes;
                *report.formats.entry(seen.format).or_default() += 1;
                widths.push(u64::from(seen.width));
                heights.push(u64::from(seen.height));
                *shapes.entry((seen.width, seen.height)).or_default() += 1;
                report.transparent += usize::from(seen.transparent);
                let enlarged = seen.width < transform.width || seen.height < transform.height;
                report.enlarged += usize::from(enlarged);
                if sheet.len() < ON_SHEET {
                    sheet.extend(seen.small);
                }
                if report.examples.len() < EXAMPLES {
                    report.examples.push(Example {
                        name: item.name().to_owned(),
                        captions: item.captions().map(str::to_owned).collect(),
                    });
                }
            }
        }
        report.looked_at = looked_at;
        report.width = Spread::of(widths);
        report.height = Spread::of(heights);
        let mut shapes: Vec<Shape> = shapes
            .into_iter()
            .map(|((width, height), pictures)| Shape {
                width,
                height,
                pictures,
            })
            .collect();
        shapes.sort_by_key(|shape| std::cmp::Reverse(shape.pictures));
        shapes.truncate(SIZES);
        report.shapes = shapes;
        let sheet = match sheet.as_slice() {
            [] => None,
            pictures => Some(contact_sheet(pictures, IN_A_ROW, CELL)?),
        };
        Ok((report, sheet))
    }

    fn of_index(dataset: &Dataset, split: Split) -> Self {
        let items = dataset.items();
        let groups: HashSet<&str> = items.iter().map(Item::group).collect();
        let held_out = items
            .iter()
            .filter(|item| split.side(item.group()) == Side::HeldOut)
            .count();
        let each: Vec<u64> = items
            .iter()
            .map(|item| item.captions().len() as u64)
            .collect();
        let captions = items.iter().flat_map(Item::captions);
        Self {
            path: dataset.path().to_owned(),
            kind: dataset.kind(),
            pictures: items.len(),
            groups: groups.len(),
            train: items.len() - held_out,
            held_out,
            captions: each.iter().sum::<u64>() as usize,
            captions_each: Spread::of(each),
            words: Spread::of(
                captions
                    .map(|c| c.split_whitespace().count() as u64)
                    .collect(),
            ),
            looked_at: 0,
            bytes: 0,
            formats: BTreeMap::new(),
            width: Spread::default(),
            height: Spread::default(),
            shapes: Vec::new(),
            transparent: 0,
            enlarged: 0,
            bad: dataset.bad().clone(),
            examples: Vec::new(),
        }
    }
}

fn look(dataset: &Dataset, items: &[&Item], limits: &Limits) -> Vec<Result<Seen, String>> {
    let mut seen: Vec<Result<Seen, String>> = items.iter().map(|_| Err(String::new())).collect();
    parallel_chunks(&mut seen, 1, |i, slot| {
        let one = || -> Result<Seen, medley_media::MediaError> {
            let bytes = dataset.bytes(items[i], limits)?;
            let picture = medley_media::decode(&bytes, limits)?;
            Ok(Seen {
                format: Format::of_bytes(&bytes)
                    .map_or("", |f| f.mime().trim_start_matches("image/")),
                bytes: bytes.len() as u64,
                width: picture.width(),
                height: picture.height(),
                transparent: picture.layout() == Layout::Rgba,
                small: Some(picture.fit(CELL, CELL, [255; 3], Filter::default())?),
            })
        };
        slot[0] = one().map_err(|e| e.to_string());
    });
    seen
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.path.display(), self.kind.describe())?;
        writeln!(
            f,
            "  {} pictures in {} groups: {} to train on, {} held out",
            self.pictures, self.groups, self.train, self.held_out
        )?;
        writeln!(
            f,
            "  {} captions; of a picture {}; words of a caption {}",
            self.captions, self.captions_each, self.words
        )?;
        let formats: Vec<String> = self
            .formats
            .iter()
            .map(|(format, count)| format!("{count} {format}"))
            .collect();
        writeln!(
            f,
            "  of {} pictures that were looked at: {}; {:.1} MB; {} with transparent parts, {} smaller than asked for",
            self.looked_at,
            formats.join(", "),
            self.bytes as f64 / 1e6,
            self.transparent,
            self.enlarged
        )?;
        writeln!(f, "  width {}; height {}", self.width, self.height)?;
        let shapes: Vec<String> = self
            .shapes
            .iter()
            .map(|shape| format!("{}x{} ({})", shape.width, shape.height, shape.pictures))
            .collect();
        writeln!(f, "  sizes: {}", shapes.join(", "))?;
        for example in &self.examples {
            writeln!(f, "    {}: {}", example.name, example.captions.join(" | "))?;
        }
        if self.bad.count > 0 {
            writeln!(f, "  {} cannot be used:", self.bad.count)?;
            const SHOWN: usize = 10;
            for bad in self.bad.named.iter().take(SHOWN) {
                writeln!(f, "    {}: {}", bad.name, bad.reason)?;
            }
            if self.bad.count > SHOWN {
                writeln!(f, "    and {} more", self.bad.count - SHOWN)?;
            }
        }
        Ok(())
    }
}
