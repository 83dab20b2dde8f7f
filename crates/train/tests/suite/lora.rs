//! A step of AdamW on an adapter against PEFT and PyTorch (golden/lora).

use medley_models::decoder::from_tensors;
use medley_nn::Device;
use medley_nn::train::{Compute, IGNORED};
use medley_testkit::{Case, Tolerance, assert_close};
use medley_train::text::{NextToken, TokenBatch};
use medley_train::{OptimiserSettings, Schedule, StepSettings, Trainer};

const SAMPLES: usize = 8;

#[test]
fn a_step_on_an_adapter_is_that_of_pytorch() {
    for name in ["llama", "qwen3", "gemma3_text", "phi3"] {
        let case = Case::open(&format!("lora/{name}")).unwrap();
        let base = Case::open(&format!("decoder/{name}")).unwrap();
        let settings = case.config().unwrap();
        let number = |key: &str| settings[key].as_f64().unwrap();
        let divisor = match settings["use_rslora"] == true {
            true => number("r").sqrt(),
            false => number("r"),
        };
        let (weights, config) = (base.weights().unwrap(), base.config().unwrap());
        let mut decoder = from_tensors(weights, &config, &Device::Cpu, false).unwrap();
        let factors = case.weights().unwrap();
        let parameters = decoder
            .learn(&factors, number("lora_alpha") / divisor)
            .unwrap();
        let mut objective = NextToken {
            decoder,
            device: Device::Cpu,
        };
        let ids = base.ids("input_ids").unwrap();
        let length = ids.len() / 2;
        let target = |i: usize| match i % length {
            0..3 => IGNORED,
            at if at + 1 == length => IGNORED,
            _ => ids[i + 1],
        };
        let batch = TokenBatch {
            length,
            targets: (0..ids.len()).map(target).collect(),
            ids: ids.clone(),
        };
        let step = StepSettings {
            optimiser: OptimiserSettings::default(),
            schedule: Schedule::constant(1e-2),
            clip: None,
            compute: Compute::F32,
            ema: None,
        };
        let mut trainer = Trainer::new(parameters, step).unwrap();
        let report = trainer.step(&mut objective, &[batch]).unwrap();
        let loss = case.f32s("loss").unwrap()[0];
        assert!((report.loss - f64::from(loss)).abs() < 1e-4, "{name}");
        let expected = case.f32s("step.samples").unwrap();
        let rows = case.weight_list().unwrap();
        assert_eq!(trainer.parameters().all().len(), rows.len());
        for (row, expected) in rows.iter().zip(expected.chunks_exact(SAMPLES)) {
            let found = trainer
                .parameters()
                .get(&row.name)
                .unwrap()
                .stored()
                .unwrap();
            let at: Vec<f32> = (0..SAMPLES)
                .map(|i| found[i * found.len() / SAMPLES])
                .collect();
            // The step is 0.01 wide, so this is a thousandth of it.
            let label = format!("{name} {}", row.name);
            assert_close(&label, &at, expected, Tolerance::absolute(1e-5));
        }
    }
}
