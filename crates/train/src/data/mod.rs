//! Captioned pictures: what is in a dataset, in which order it comes, and as which numbers.
//!
//! [`Dataset::open`] takes
//! - a folder of pictures, each with a sidecar `NAME.txt` or `NAME.caption` (every line that is not empty is
//!   a caption of its own), or named by what they show, or in folders named so;
//! - `metadata.jsonl`, in a folder or by itself: `{"file_name": …, "text": …}` a line, where `text` may be a
//!   list and `group` names what must stay on one side of a split;
//! - a table, `.csv` or `.tsv`, with the columns `file` and `caption`;
//! - Parquet tables, `.parquet`, one or a folder of them: a column of pictures as bytes, a column of captions;
//! - WebDataset archives, `.tar`, one or a folder of them: members of one stem are one sample.
//!
//! The dataset is an index: names, captions, groups, some 100 bytes a picture and its captions. Pixels are read when a
//! [`Loader`] comes to them, within the limits of [`medley_media`]; what cannot be read is named, counted and
//! left out. [`Order`] says which picture is next; its [`Cursor`] is all that a checkpoint must keep.

mod error;
mod loader;
mod motion;
mod order;
mod report;
mod source;
mod split;
mod stream;
mod transform;

pub use error::DataError;
pub use loader::{Batch, Loader, LoaderSpec, Prefetch};
pub use order::{Cursor, Order};
pub use report::{Example, Report, Shape, Spread, survey};
pub use source::{Bad, BadList, Dataset, Item, Kind};
pub use split::{Side, Split};
pub use stream::Stream;
pub use transform::{Crop, Transform};
