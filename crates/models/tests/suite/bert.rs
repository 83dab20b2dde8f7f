//! Sentence encoders against transformers, on tiny seeded configurations.

use medley_models::bert::{Bert, BertConfig};
use medley_nn::{Device, Weights};
use medley_testkit::{Case, Tolerance, assert_close};

#[test]
fn states_are_those_of_transformers() {
    for name in ["minilm", "bge", "nomic"] {
        let case = Case::open(&format!("bert/{name}")).unwrap();
        let config = BertConfig::from_json(&case.config().unwrap()).unwrap();
        let weights = Weights::from_tensors(case.weights().unwrap(), &Device::Cpu);
        let model = Bert::new(config, &weights).unwrap();
        let ids = case.ids("input_ids").unwrap();
        let states = model.forward(&[&ids[..12], &ids[12..19]]).unwrap();
        let expected = case.f32s("last_hidden_state").unwrap();
        let width = expected.len() / 24;
        assert_close(
            name,
            &states[0],
            &expected[..12 * width],
            Tolerance::absolute(1e-4),
        );
        assert_close(
            name,
            &states[1],
            &expected[12 * width..19 * width],
            Tolerance::absolute(1e-4),
        );
    }
}
