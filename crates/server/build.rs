//! Compiles the server anew when a page of the studio was added or taken away.

fn main() {
    println!("cargo::rerun-if-changed=../../web");
    println!("cargo::rerun-if-changed=build.rs");
}
