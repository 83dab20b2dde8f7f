//! Changes as a unified diff, as git writes and reads it.

use similar::TextDiff;

use super::{Change, ChangeKind};

/// The hunks between two texts under the names of the files; empty where they are the same.
pub fn unified(from: &str, to: &str, before: &str, after: &str) -> String {
    TextDiff::from_lines(before, after)
        .unified_diff()
        .header(from, to)
        .to_string()
}

/// A file's change with the lines that git puts before its hunks.
pub(super) fn of_change(change: &Change) -> String {
    let (from, to) = (name("a/", &change.path), name("b/", &change.path));
    let mode = match change.executable {
        true => "100755",
        false => "100644",
    };
    let mut text = format!("diff --git {from} {to}\n");
    let (from, to) = match change.kind {
        ChangeKind::Changed => (from, to),
        ChangeKind::New => {
            text.push_str(&format!("new file mode {mode}\n"));
            ("/dev/null".to_owned(), to)
        }
        ChangeKind::Deleted => {
            text.push_str(&format!("deleted file mode {mode}\n"));
            (from, "/dev/null".to_owned())
        }
    };
    // A tab ends a name with a space in it.
    let ended = |name: String| match name.contains(' ') {
        true => format!("{name}\t"),
        false => name,
    };
    text + &unified(&ended(from), &ended(to), &change.before, &change.after)
}

/// A path as git names it: in quotation marks, with escapes, where it has characters that need them.
fn name(side: &str, path: &str) -> String {
    let special = |c: char| c.is_control() || c == '"' || c == '\\';
    if !path.contains(special) {
        return format!("{side}{path}");
    }
    let mut quoted = format!("\"{side}");
    for c in path.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    quoted.push_str(&format!("\\{byte:03o}"));
                }
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
