use medley_engine::{LoadOptions, work_file};
use medley_types::Request;

use crate::app::load_for;
use crate::args::{Global, RemakeArgs};
use crate::output::{Failure, Outcome};

/// `medley remake`
pub fn run(args: &RemakeArgs, global: &Global) -> Outcome {
    if let Some(path) = &args.output {
        work_file::check_text_output(path)?;
    }
    match work_file::recipe(&args.file)? {
        Request::Text(request) => {
            let model = load_for(&request, LoadOptions::default(), global)?;
            super::text::finish(&model, &request, args.output.as_deref(), global)
        }
        _ => Err(Failure::usage("this build makes only texts again")),
    }
}
