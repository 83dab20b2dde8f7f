//! One module per command.

pub mod ask;
pub mod bench;
pub mod chat;
pub mod code;
pub mod create;
pub mod desk;
pub mod docs;
pub mod docs_bench;
pub mod doctor;
pub mod embed;
pub mod fidelity;
pub mod help;
pub mod image;
pub mod inspect;
pub mod keys;
pub mod models;
pub mod music;
pub mod remake;
pub mod route;
pub mod serve;
pub mod speech;
pub mod text;
pub mod train;
pub mod transcribe;
pub mod video;
