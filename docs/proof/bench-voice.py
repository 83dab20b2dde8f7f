"""Medians of five: voices of Medley beside onnxruntime with the same work, in turn, at two threads.

    python3 docs/proof/bench-voice.py MEDLEY HIBARI_PACKAGE VOICE.onnx > docs/proof/bench-voice.json

HIBARI_PACKAGE is the folder of the unpacked wheel; `pip install onnxruntime numpy scipy` beside it. Counted is the work
itself with the model loaded: hibari from text to samples (the package's own reader, network and synthesis), Piper from
phonemes to samples (the peer is given as many random phonemes as the text has and counts by seconds of sound).
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

TEXT = (
    "The quick brown fox jumps over the lazy dog, and nine people paid for it at half past seven. "
    "She sells sea shells by the sea shore. Our first ferry leaves at eight o'clock from the northern pier. "
    "Please keep your ticket ready, and remember that bicycles travel free on weekdays."
)
ROUNDS, THREADS = 5, 2


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def hibari(package):
    sys.path.insert(0, package)
    from hibari import Hibari

    voice = Hibari(threads=THREADS)
    voice("Warm up.")
    start = time.perf_counter()
    sound = voice(TEXT)
    print(json.dumps({"seconds": time.perf_counter() - start, "sound": len(sound) / 24000, "peak": peak()}))


def piper(file):
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    random, total, sound = np.random.default_rng(0), 0.0, 0
    for phonemes in (10, 80, 40, 60, 75):
        numbers = random.integers(14, 60, phonemes).tolist()
        ids = np.asarray([[1, 0] + [n for i in numbers for n in (i, 0)] + [2]], np.int64)
        feed = {"input": ids, "input_lengths": np.asarray([ids.shape[1]], np.int64)}
        feed["scales"] = np.asarray([0.667, 1.0, 0.8], np.float32)
        start = time.perf_counter()
        (wave,) = session.run(None, feed)
        if phonemes > 10:
            total, sound = total + time.perf_counter() - start, sound + wave.size
    print(json.dumps({"seconds": total, "sound": sound / 22050, "peak": peak()}))


def medley(program, model):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "x.wav")
        command = [program, "speech", TEXT, "--model", model, "--threads", str(THREADS), "--json", "-o", out]
        value = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    timings = value["timings"]
    return {
        "seconds": timings["total_s"],
        "first": timings["first_s"],
        "sound": value["files"][0]["seconds"],
        "peak": value["peak_rss_bytes"],
    }


def main():
    program, package, voice = sys.argv[1:]
    peers = {"hibari": ["hibari", package], "piper-joe": ["piper", voice]}
    report = {"command": "docs/proof/bench-voice.py", "threads": THREADS, "load": os.getloadavg()[0]}
    for model, peer in peers.items():
        own, other = [], []
        for _ in range(ROUNDS):
            run = subprocess.run([sys.executable, __file__, "--peer", *peer], check=True, capture_output=True)
            other.append(json.loads(run.stdout))
            own.append(medley(program, model))
        speed = lambda rounds: statistics.median(r["sound"] / r["seconds"] for r in rounds)  # noqa: E731
        report[model] = {
            "times_real_time": {"medley": round(speed(own), 1), "peer": round(speed(other), 1)},
            "ratio": round(speed(own) / speed(other), 2),
            "first_sound_s": round(statistics.median(r["first"] for r in own), 3),
            "peak_rss_bytes": {
                "medley": int(statistics.median(r["peak"] for r in own)),
                "peer": int(statistics.median(r["peak"] for r in other)),
            },
            "rounds": {"medley": own, "peer": other},
        }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    if sys.argv[1] == "--peer":
        {"hibari": hibari, "piper": piper}[sys.argv[2]](sys.argv[3])
    else:
        main()
