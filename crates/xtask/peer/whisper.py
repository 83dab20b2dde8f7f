"""What faster-whisper, which runs on CTranslate2, hears: the peer of `medley transcribe`.

    python3 whisper.py --model DIR [--threads N] [--beam B] FILE ...

int8 on the CPU. Prints one JSON object: the version of CTranslate2, and for each file its text and the seconds that it
took, spectrogram included and the loading of the model not.
"""

import argparse
import json
import time

import ctranslate2
import faster_whisper


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    model = faster_whisper.WhisperModel(args.model, device="cpu", compute_type="int8", cpu_threads=args.threads)
    files = []
    for file in args.files:
        began = time.perf_counter()
        segments, _ = model.transcribe(file, language="en", beam_size=args.beam)
        text = "".join(segment.text for segment in segments).strip()
        files.append({"text": text, "seconds": time.perf_counter() - began})
    print(json.dumps({"version": ctranslate2.__version__, "faster_whisper": faster_whisper.__version__, "files": files}))


if __name__ == "__main__":
    main()
