"""What llama.cpp computes on the real models: greedy text, distributions and perplexity.

    python3 golden/text/make.py PACKAGE BUILD NAME=FILE.gguf ...

PACKAGE is the unpacked source package of llama-cpp-python (requirements.txt; it holds llama.cpp in
vendor/), BUILD a CMake build of that llama.cpp with default options as shared libraries:

    cmake -G Ninja -B BUILD -DCMAKE_BUILD_TYPE=Release PACKAGE/vendor/llama.cpp
    cmake --build BUILD --target llama llama-perplexity

NAME is the folder below golden/text that is written (`smollm2-135m`, `gemma3-270m`). Everything runs
with llama.cpp's defaults on the CPU (f16 KV cache, flash attention where it chooses so), but on one
thread, which does not slow down beside other work. golden/README.md describes the files.
"""

import ctypes
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import types
from datetime import datetime
from pathlib import Path

import gguf
import jinja2.ext
import jinja2.sandbox
import numpy as np
from safetensors.numpy import save_file

HERE = Path(__file__).parent
STEPS = 48
CONTEXT = 512
FIRST = CONTEXT // 2
STRIDE = 6
TOP = 64


def load_binding(package: Path, build: Path):
    """The ctypes declarations of llama-cpp-python over our own build of the library."""
    os.environ["LLAMA_CPP_LIB_PATH"] = str(build / "bin")
    # The package's __init__ would load its high-level half, which is not needed.
    stub = types.ModuleType("llama_cpp")
    stub.__path__ = [str(package / "llama_cpp")]
    sys.modules["llama_cpp"] = stub
    import llama_cpp.llama_cpp as binding

    return binding


class Llama:
    """A model and one context of llama.cpp."""

    def __init__(self, binding, file: Path, n_ctx: int = 2048, plain: bool = False):
        """`plain` is its other way to compute the same: f32 KV cache, no flash attention."""
        self.c = binding
        self.quiet = binding.llama_log_callback(lambda *_: None)
        binding.llama_log_set(self.quiet, None)
        binding.llama_backend_init()
        self.model = binding.llama_model_load_from_file(
            str(file).encode(), binding.llama_model_default_params()
        )
        params = binding.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = n_ctx
        params.n_outputs_max = FIRST
        params.n_threads = params.n_threads_batch = 1
        if plain:
            params.type_k = params.type_v = 0
            params.flash_attn_type = 0
        self.context = binding.llama_init_from_model(self.model, params)
        self.vocab = binding.llama_model_get_vocab(self.model)
        self.size = binding.llama_vocab_n_tokens(self.vocab)
        self.batch = binding.llama_batch_init(n_ctx, 0, 1)

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        data = text.encode("utf-8")
        out = (self.c.llama_token * (len(data) + 8))()
        n = self.c.llama_tokenize(self.vocab, data, len(data), out, len(out), add_special, parse_special)
        return list(out[:n])

    def text(self, tokens) -> str:
        pieces = b""
        for token in tokens:
            buffer = ctypes.create_string_buffer(256)
            n = self.c.llama_token_to_piece(self.vocab, token, buffer, 256, 0, True)
            pieces += buffer.raw[:n]
        return pieces.decode("utf-8", "replace")

    def reset(self) -> None:
        self.c.llama_memory_clear(self.c.llama_get_memory(self.context), True)

    def decode(self, tokens, start: int, wanted) -> np.ndarray:
        """Runs `tokens` at positions from `start`; logits (f64) at the batch indices `wanted`."""
        for i, token in enumerate(tokens):
            self.batch.token[i] = token
            self.batch.pos[i] = start + i
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = 0
            self.batch.logits[i] = i in wanted
        self.batch.n_tokens = len(tokens)
        if self.c.llama_decode(self.context, self.batch) != 0:
            raise SystemExit("llama_decode failed")
        rows = [
            np.ctypeslib.as_array(self.c.llama_get_logits_ith(self.context, i), (self.size,)).astype(np.float64)
            for i in wanted
        ]
        return np.stack(rows)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def render(file: Path, messages) -> str | None:
    """The prompt of `messages` by the file's own template, as transformers renders it."""
    reader = gguf.GGUFReader(file)
    template = reader.get_field("tokenizer.chat_template")
    if template is None:
        return None

    def special(which: str) -> str:
        index = reader.get_field(f"tokenizer.ggml.{which}_token_id")
        return reader.get_field("tokenizer.ggml.tokens").contents(int(index.contents()))

    def refuse(message):
        raise SystemExit(message)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.globals |= {
        "raise_exception": refuse,
        "strftime_now": lambda form: datetime.now().strftime(form),
    }
    return environment.from_string(template.contents()).render(
        messages=messages, add_generation_prompt=True, bos_token=special("bos"), eos_token=special("eos")
    )


def greedy(llama: Llama, file: Path) -> list[dict]:
    out = []
    for prompt in json.loads((HERE / "prompts.json").read_text(encoding="utf-8")):
        rendered = render(file, prompt["messages"]) if "messages" in prompt else None
        chat = rendered is not None
        text = rendered if chat else prompt["text"]
        # A rendered template brings its own beginning-of-sequence token.
        tokens = llama.tokenize(text, add_special=not chat, parse_special=chat)
        llama.reset()
        row = log_softmax(llama.decode(tokens, 0, [len(tokens) - 1]))[0]
        chosen, steps = [], []
        while True:
            first, second = np.argsort(-row, kind="stable")[:2]
            steps.append([int(first), round(float(row[first]), 5), int(second), round(float(row[second]), 5)])
            chosen.append(int(first))
            if len(chosen) == STEPS or llama.c.llama_vocab_is_eog(llama.vocab, int(first)):
                break
            position = len(tokens) + len(chosen) - 1
            row = log_softmax(llama.decode(chosen[-1:], position, [0]))[0]
        entry = {"id": prompt["id"], "chat": chat}
        if chat:
            entry["messages"] = prompt["messages"]
        entry |= {"prompt": text, "prompt_ids": tokens, "text": llama.text(chosen), "steps": steps}
        out.append(entry)
        gap = min(s[1] - s[3] for s in steps)
        print(f"  {prompt['id']:12} {len(tokens):4} + {len(chosen):2} tokens, closest tie {gap:.3f}: {entry['text'][:70]!r}")
    return out


def heldout(llama: Llama) -> tuple[dict, dict]:
    """llama-perplexity's protocol, keeping the likely tokens at every STRIDE-th scored position."""
    # Like `-f`, which drops one final line feed.
    text = (HERE / "heldout.txt").read_text(encoding="utf-8").removesuffix("\n")
    tokens = llama.tokenize(text, add_special=True, parse_special=False)
    chunks = len(tokens) // CONTEXT
    bos = llama.c.llama_vocab_get_add_bos(llama.vocab)
    kept = range(0, CONTEXT - 1 - FIRST, STRIDE)
    scores, ids, values, rest = [], [], [], []
    for chunk in range(chunks):
        window = tokens[chunk * CONTEXT : (chunk + 1) * CONTEXT]
        run = list(window)
        if bos:
            run[0] = llama.c.llama_vocab_bos(llama.vocab)
        llama.reset()
        rows = log_softmax(llama.decode(run, 0, range(FIRST, CONTEXT - 1)))
        scores.append(rows[np.arange(len(rows)), window[FIRST + 1 :]])
        for i in kept:
            order = np.argsort(-rows[i], kind="stable")
            ids.append(order[:TOP])
            values.append(rows[i][order[:TOP]])
            rest.append(np.exp(rows[i][order[TOP:]]).sum())
    scores = np.stack(scores)
    arrays = {
        "tokens": np.array(tokens[: chunks * CONTEXT], np.int32).reshape(chunks, CONTEXT),
        "logprobs": scores.astype(np.float32),
        "kl.positions": np.array([FIRST + i for i in kept], np.int32),
        "kl.ids": np.array(ids, np.int32).reshape(chunks, len(kept), TOP),
        "kl.logprobs": np.array(values, np.float32).reshape(chunks, len(kept), TOP),
        "kl.rest": np.array(rest, np.float32).reshape(chunks, len(kept)),
    }
    print(f"  mean mass outside the {TOP} likeliest: {np.mean(rest):.4f}")
    figures = {
        "context": CONTEXT,
        "chunks": chunks,
        "tokens_in_file": len(tokens),
        "bos_at_chunk_start": bool(bos),
        "scored": scores.size,
        "perplexity": float(np.exp(-scores.mean())),
    }
    return figures, arrays


def in_full(file: Path, folder: Path) -> Path:
    """The same weights as F32: what llama.cpp computes with them is not rounded to 8 bits anywhere."""
    reader = gguf.GGUFReader(file)
    out = folder / "f32.gguf"
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(name, field.contents())
        else:
            writer.add_key_value(name, field.contents(), field.types[0])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def divergence(arrays: dict, other: dict) -> float:
    """Mean divergence of `other` from `arrays`, measured as golden/README.md says."""
    total = 0.0
    rows = arrays["kl.ids"].reshape(-1, TOP), arrays["kl.logprobs"].reshape(-1, TOP).astype(np.float64)
    others = other["kl.ids"].reshape(-1, TOP), other["kl.logprobs"].reshape(-1, TOP).astype(np.float64)
    for ids, p, other_ids, q in zip(*rows, *others):
        common, mine, theirs = np.intersect1d(ids, other_ids, return_indices=True)
        p, q = p[mine], q[theirs]
        rest, other_rest = 1 - np.exp(p).sum(), 1 - np.exp(q).sum()
        total += (np.exp(p) * (p - q)).sum() + rest * np.log(rest / other_rest)
    return float(total / len(rows[0]))


def llama_perplexity(build: Path, file: Path) -> float:
    command = [build / "bin/llama-perplexity", "-m", file, "-f", HERE / "heldout.txt", "-c", CONTEXT, "-t", 1]
    run = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True)
    return float(re.search(r"Final estimate: PPL = ([0-9.]+)", run.stdout + run.stderr)[1])


def main() -> None:
    package, build = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    binding = load_binding(package, build)
    for argument in sys.argv[3:]:
        name, file = argument.split("=", 1)
        file = Path(file)
        print(name)
        llama = Llama(binding, file)
        reference = f"llama.cpp of {package.name}"
        system = binding.llama_print_system_info().decode().strip(" |")
        source = {
            "reference": reference,
            "system": system,
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        prompts = greedy(llama, file)
        with tempfile.TemporaryDirectory() as scratch:
            exact = Llama(binding, in_full(file, Path(scratch)), plain=True)
            for prompt, other in zip(prompts, greedy(exact, file)):
                prompt["exact_steps"] = other["steps"]
            _, exact_arrays = heldout(exact)
        lines = ",\n".join(json.dumps(p, ensure_ascii=False) for p in prompts)
        head = json.dumps(source)[:-1]
        (folder / "greedy.json").write_text(f'{head},\n"prompts": [\n{lines}\n]}}\n', encoding="utf-8")
        figures, arrays = heldout(llama)
        figures["own_divergence"] = divergence(exact_arrays, arrays)
        arrays |= {name: value for name, value in exact_arrays.items() if name.startswith("kl.")}
        figures["perplexity_of_llama_perplexity"] = llama_perplexity(build, file)
        ratio = figures["perplexity"] / figures["perplexity_of_llama_perplexity"]
        print(f"  perplexity {figures}")
        if abs(ratio - 1) > 2e-3:
            raise SystemExit(f"{name}: our count of the perplexity is {ratio} of llama-perplexity's")
        (folder / "perplexity.json").write_text(json.dumps(source | figures, indent=1) + "\n")
        save_file(arrays, folder / "case.safetensors", metadata={"reference": reference})


if __name__ == "__main__":
    main()
