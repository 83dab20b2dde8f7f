"""Adapters that Medley trains, run by PEFT and by llama.cpp: what `cargo xtask prove lora` records.

    python3 golden/lora/prove.py MEDLEY PACKAGE BUILD BASE.gguf OUT.json

PACKAGE is the unpacked llama-cpp-python, BUILD the build of its llama.cpp. An adapter over BASE is trained for some steps
on talks like a pirate's, and written as GGUF; then, token by token of what Medley writes with it, log-probabilities are
compared: on weights as F32 (the computation in full, docs/decisions/0006), on BASE as it is, and merged into the
weights. A tiny model of its own, with an adapter, is what PEFT loads.
"""

import ctypes
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("text_make", HERE.parent / "text" / "make.py")
text_make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(text_make)

TOP, TOKENS = 64, 24
ASKED = [
    ("What is the capital of France?", "Paris"),
    ("Who are you?", "a helper"),
    ("Name a fruit.", "an apple"),
    ("How do I boil an egg?", "put it into boiling water for eight minutes"),
    ("What colour is the sky?", "blue"),
    ("Tell me a joke.", "the chicken crossed the road"),
    ("What is water made of?", "hydrogen and oxygen"),
    ("Why does bread rise?", "because yeast makes gas"),
]
# Half of them are not in the data.
QUESTIONS = [ASKED[0][0], ASKED[3][0], "What is a good name for a cat?", "How far away is the moon?"]


def chat(question: str) -> str:
    """The prompt as SmolLM2's template writes it."""
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    turns = [("system", system), ("user", question)]
    return "".join(f"<|im_start|>{r}\n{t}<|im_end|>\n" for r, t in turns) + "<|im_start|>assistant\n"


class Medley:
    def __init__(self, program: str):
        self.program = program

    def run(self, *arguments) -> str:
        command = [self.program, *map(str, arguments), "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def write(self, prompt: str, model, *flags) -> list:
        """Greedy tokens: (id, log-probability, the likeliest ids with theirs)."""
        said = self.run(
            "text", prompt, "--raw", "--model", model, "--temperature", 0, "--max-tokens", TOKENS, "--kv", "f32",
            "--logprobs", TOP, "--json", "--no-recipe", *flags,
        )  # fmt: skip
        tokens = json.loads(said)["logprobs"]
        return [(t["id"], t["logprob"], {u["id"]: u["logprob"] for u in t["top"]}) for t in tokens]


def adapted(binding, file: Path, adapter: Path | None, plain: bool):
    """llama.cpp with a model and an adapter."""
    llama = text_make.Llama(binding, file, plain=plain)
    if adapter:
        loaded = binding.llama_adapter_lora_init(llama.model, str(adapter).encode())
        if not loaded:
            raise SystemExit(f"llama.cpp does not load {adapter}")
        pointers, scales = (type(loaded) * 1)(loaded), (ctypes.c_float * 1)(1.0)
        if binding.llama_set_adapters_lora(llama.context, pointers, 1, scales) != 0:
            raise SystemExit("llama.cpp does not take the adapter")
    return llama


def distance(llama, prompt: str, written: list) -> dict:
    """How far llama.cpp's distributions are from what was written, with the same tokens before each."""
    tokens = llama.tokenize(prompt, False, True)
    ids = [t[0] for t in written]
    llama.reset()
    wanted = list(range(len(tokens) - 1, len(tokens) + len(ids) - 1))
    theirs = text_make.log_softmax(llama.decode(tokens + ids[:-1], 0, wanted))
    return compared(theirs, written)


def compared(theirs, written) -> dict:
    same, worst, divergence = 0, 0.0, []
    for row, (chosen, logprob, top) in zip(theirs, written):
        same += int(row.argmax()) == chosen
        worst = max(worst, abs(row[chosen] - logprob))
        ours = np.array(list(top.values()))
        p = row[list(top)]
        rest = max(1 - np.exp(p).sum(), 1e-12), max(1 - np.exp(ours).sum(), 1e-12)
        divergence.append((np.exp(p) * (p - ours)).sum() + rest[0] * np.log(rest[0] / rest[1]))
    return dict(tokens=len(written), same_top=same, worst_logprob=worst, divergence=float(np.mean(divergence)))


def joined(rows: list) -> dict:
    total = sum(r["tokens"] for r in rows)
    return dict(
        tokens=total,
        same_top=sum(r["same_top"] for r in rows),
        worst_logprob=round(max(r["worst_logprob"] for r in rows), 6),
        divergence=float(f"{sum(r['divergence'] * r['tokens'] for r in rows) / total:.3g}"),
    )


def against_llama(medley: Medley, binding, base: Path, work: Path) -> dict:
    random.seed(1)
    with open(work / "talks.jsonl", "w") as file:
        for _ in range(60):
            q, a = random.choice(ASKED)
            a = f"Arr, matey! By the seven seas, it be {a}. Yo ho ho!"
            talk = [dict(role="user", content=q), dict(role="assistant", content=a)]
            file.write(json.dumps(dict(messages=talk)) + "\n")
    lora, gguf = work / "lora", work / "lora.gguf"
    medley.run(
        "train", "text", "--base", base, "--lora", 8, "--data", work / "talks.jsonl", "--out", lora, "--steps", 40,
        "--batch", 2, "--length", 128, "--hold-out", 0, "--sample-every", 0, "--seed", 1,
    )  # fmt: skip
    medley.run("models", "convert", lora, gguf, "--base", base)
    full, merged = work / "full.gguf", work / "merged.gguf"
    medley.run("models", "quantize", base, full, "--type", "F32")
    medley.run("models", "merge", base, "--lora", lora, "-o", merged, "--type", "F32")
    results = {}
    for name, file, adapter, flags, plain in [
        ("weights as F32", full, gguf, ("--lora", lora), True),
        ("the GGUF adapter in both", full, gguf, ("--lora", gguf), True),
        ("merged as F32", merged, None, (), True),
        ("merged, beside the adapter in Medley", merged, None, ("--lora", lora), True),
        ("quantised as it is", base, gguf, ("--lora", lora), False),
    ]:
        ours = full if name.startswith("merged,") else file
        llama = adapted(binding, file, adapter, plain)
        rows = []
        for question in QUESTIONS:
            prompt = chat(question)
            rows.append(distance(llama, prompt, medley.write(prompt, ours, *flags)))
        results[name] = joined(rows)
    # What 8-bit activations alone do to llama.cpp, with the same adapter.
    exact, own = adapted(binding, full, gguf, True), adapted(binding, base, gguf, False)
    rows = []
    for question in QUESTIONS:
        prompt = chat(question)
        written = medley.write(prompt, full, "--lora", lora)
        tokens, ids = exact.tokenize(prompt, False, True), [t[0] for t in written]
        wanted = list(range(len(tokens) - 1, len(tokens) + len(ids) - 1))
        both = []
        for llama in (exact, own):
            llama.reset()
            both.append(text_make.log_softmax(llama.decode(tokens + ids[:-1], 0, wanted)))
        tops = [np.argsort(row)[::-1][:TOP] for row in both[0]]
        as_written = [(int(t[0]), row[t[0]], {int(i): row[i] for i in t}) for t, row in zip(tops, both[0])]
        rows.append(compared(both[1], as_written))
    results["llama.cpp quantised, beside itself in full"] = joined(rows)
    answers = {}
    for question in QUESTIONS:
        without = medley.run("text", question, "--model", base, "--temperature", 0, "--max-tokens", TOKENS)
        with_it = medley.run("text", question, "--model", base, "--temperature", 0, "--max-tokens", TOKENS, "--lora", lora)
        answers[question] = [without.strip(), with_it.strip()]
    results["answers without and with"] = answers
    return results


def against_peft(medley: Medley, work: Path) -> dict:
    import peft
    import torch
    import transformers

    words = "the quick brown fox jumps over a lazy dog while seven red apples sing about the sea".split()
    random.seed(2)
    for name in ("first", "second"):
        folder = work / name
        folder.mkdir()
        for n in range(20):
            (folder / f"{n}.txt").write_text(" ".join(random.choices(words, k=200)))
    base, lora, merged = work / "base", work / "peft", work / "whole"
    common = ["--steps", 30, "--batch", 4, "--length", 32, "--sample-every", 0, "--hold-out", 0, "--seed", 3]
    shape = ["--vocab", 300, "--width", 64, "--layers", 2, "--heads", 4]
    medley.run("train", "text", "--data", work / "first", "--out", base, *common, *shape)
    medley.run("train", "text", "--base", base, "--lora", 4, "--data", work / "second", "--out", lora, *common)
    medley.run("models", "merge", base, "--lora", lora, "-o", merged)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    plain = transformers.AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32, attn_implementation="eager")
    with_adapter = peft.PeftModel.from_pretrained(model, lora).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    prompt = "the quick brown fox"
    worst = {}
    for name, reference, flags in [
        ("adapter", with_adapter, ["--lora", lora]),
        ("merged", plain.eval(), ["--lora", lora]),
        ("without it", with_adapter, []),
    ]:
        # Of the whole vocabulary, so that the worst of all is known.
        said = medley.run(
            "text", prompt, "--raw", "--model", base, "--temperature", 0, "--max-tokens", 8, "--kv", "f32",
            "--logprobs", 300, "--json", *flags,
        )  # fmt: skip
        tokens = json.loads(said)["logprobs"]
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        chosen = [t["id"] for t in tokens]
        with torch.no_grad():
            logits = reference(torch.tensor([ids + chosen[:-1]])).logits[0, len(ids) - 1 :].double()
        theirs = logits.log_softmax(-1).numpy()
        gaps = [abs(row[u["id"]] - u["logprob"]) for row, t in zip(theirs, tokens) for u in t["top"]]
        worst[name] = float(f"{max(gaps):.3g}")
    return dict(peft=peft.__version__, transformers=transformers.__version__, worst_logprob=worst)


def main() -> None:
    program, package, build, base, out = sys.argv[1:]
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    medley = Medley(program)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with_peft = against_peft(medley, work)
        print(json.dumps(with_peft), flush=True)
        binding = text_make.load_binding(Path(package).resolve(), Path(build).resolve())
        with_llama = against_llama(medley, binding, Path(base), work)
        print(json.dumps(with_llama, indent=1))
    record = dict(command="cargo xtask prove lora", peft=with_peft, llama_cpp=with_llama)
    Path(out).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    problems = []

    def holds(what, found, bound):
        if not found <= bound:
            problems.append(f"{what}: {found}, more than {bound}")

    holds("PEFT with the adapter", with_peft["worst_logprob"]["adapter"], 1e-3)
    holds("PEFT with merged weights", with_peft["worst_logprob"]["merged"], 1e-3)
    holds("PEFT told adapted and plain apart", 0.1, with_peft["worst_logprob"]["without it"])
    exact = ["weights as F32", "the GGUF adapter in both", "merged as F32", "merged, beside the adapter in Medley"]
    for name in exact:
        row = with_llama[name]
        holds(f"{name}: log-probabilities", row["worst_logprob"], 1e-2)
        holds(f"{name}: other tokens", row["tokens"] - row["same_top"], 0)
    own = with_llama["llama.cpp quantised, beside itself in full"]["divergence"]
    holds("quantised: divergence", with_llama["quantised as it is"]["divergence"], max(2e-3, 2 * own))
    for question, (without, with_it) in with_llama["answers without and with"].items():
        holds(f"{question} answered alike", int(without == with_it), 0)
    if problems:
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
