#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _either = medley_formats::fuzzing::onnx(bytes);
});
