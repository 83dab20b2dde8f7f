use medley_engine::inspect;

use crate::args::{Global, InspectArgs};
use crate::output::{Outcome, print_json, print_now};

/// `medley inspect`
pub fn run(args: &InspectArgs, global: &Global) -> Outcome {
    let found = inspect::file(&args.file)?;
    if global.json {
        return print_json(&found);
    }
    Ok(print_now(&inspect::describe(&found))?)
}
