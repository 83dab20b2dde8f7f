"""What voices take on onnxruntime: the peer of `medley bench speech`.

    python3 voice.py hibari --text TEXT [--threads N]
    python3 voice.py piper --model VOICE.onnx [--threads N]

hibari: its own package, from text to samples. Piper: from phonemes to samples, as many random ones as four sentences have,
with the voice's own noise. Each once before it is timed. Prints one JSON object: the version of onnxruntime, the seconds
that it took, loading not counted, and the seconds of sound.
"""

import argparse
import json
import time

import numpy as np
import onnxruntime


def hibari(args: argparse.Namespace) -> tuple[float, float]:
    from hibari import Hibari

    voice = Hibari(threads=args.threads)
    voice(args.text)
    began = time.perf_counter()
    sound = voice(args.text)
    return time.perf_counter() - began, len(sound) / 24000


def piper(args: argparse.Namespace) -> tuple[float, float]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    with open(args.model + ".json") as file:
        rate = json.load(file)["audio"]["sample_rate"]
    seconds = samples = 0.0
    for turn in range(2):
        random = np.random.default_rng(0)
        seconds, samples = 0.0, 0
        for phonemes in (80, 40, 60, 75):
            numbers = random.integers(14, 60, phonemes).tolist()
            ids = np.asarray([[1, 0] + [n for i in numbers for n in (i, 0)] + [2]], np.int64)
            feed = {"input": ids, "input_lengths": np.asarray([ids.shape[1]], np.int64)}
            feed["scales"] = np.asarray([0.667, 1.0, 0.8], np.float32)
            began = time.perf_counter()
            (wave,) = session.run(None, feed)
            seconds, samples = seconds + time.perf_counter() - began, samples + wave.size
    return seconds, samples / rate


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["hibari", "piper"])
    parser.add_argument("--text", default="Hello.")
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    seconds, sound = {"hibari": hibari, "piper": piper}[args.kind](args)
    print(json.dumps({"version": onnxruntime.__version__, "seconds": seconds, "sound": sound}))


if __name__ == "__main__":
    main()
