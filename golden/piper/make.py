"""What onnxruntime makes of phonemes in a voice of Piper, without noise.

    python3 golden/piper/make.py VOICE.onnx

`pip install onnxruntime numpy safetensors` beside it. Of the sound every eighth sample is kept.
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HERE = Path(__file__).parent
# ^ h ə l ˈ o ʊ , w ˈ ɜ ː l d . $ in the voice's own numbers, with the empty symbol between.
SAID = "1 20 59 24 120 27 100 8 3 35 120 62 122 24 17 10 2"


def main() -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    numbers = [int(n) for n in SAID.split()]
    ids = [n for number in numbers[:-1] for n in (number, 0)] + numbers[-1:]
    feed = {
        "input": np.asarray([ids], np.int64),
        "input_lengths": np.asarray([len(ids)], np.int64),
        "scales": np.asarray([0.0, 1.0, 0.0], np.float32),
    }
    (wave,) = session.run(None, feed)
    wave = wave.reshape(-1).astype(np.float32)
    arrays = {
        "ids": np.asarray(ids, np.int32),
        "length": np.asarray([len(wave)], np.int32),
        "wave": np.ascontiguousarray(wave[::8]),
    }
    save_file(arrays, HERE / "case.safetensors", metadata={"reference": f"onnxruntime {onnxruntime.__version__}"})
    print(len(ids), "ids,", len(wave), "samples")


if __name__ == "__main__":
    main()
