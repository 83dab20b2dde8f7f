"""Makes the small vocabularies and the reference ids that tests/vocabularies.rs compares with.

    python make.py LLAMA_TOKENIZE      # llama.cpp's llama-tokenize

Needs gguf 0.19.0, tokenizers 0.23.3, sentencepiece 0.2.3. Reference ids of the GGUF families are llama.cpp's, those of
tokenizer.json the tokenizers package's. Nothing random: the same input gives the same files.
"""

import ast
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unicodedata

import gguf
import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

here = pathlib.Path(__file__).parent
llama_tokenize = sys.argv[1]
text = (here / "torture.txt").read_bytes().decode("utf8")
broken = b"ok \xff\xfe bad \xc3( \xe2\x82 x \xf0\x9f\x98 y \xed\xa0\x80 z \xc0\x80 w \x80\x80 \xe2 a\n \xfe b\xc3"

KINDS = """default llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano deepseek-llm deepseek-coder
deepseek-v3 spark2_5 youtu falcon mpt starcoder gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert
jais-2 gemma4 granite-embed-multi-311m sarvam-moe jina-v1-en jina-v2-code roberta-bpe refact command-r qwen2 deepseek-r1-qwen kormo
f2llmv2 qwen35 stablelm2 olmo dbrx smaug-bpe poro-chat chatglm-bpe glm4 glm5 viking jais tekken smollm codeshell bloom gpt3-finnish
exaone exaone4 exaone-moe chameleon minerva-7b megrez gpt-4o llama4 kanana2 talkie granite-embed-multi-97m tiny_aya cohere2moe superbpe
trillion granite-docling bailingmoe bailingmoe2 llada-moe seed-coder hunyuan hunyuan-dense hy_v4 joyai-llm kimi-k2 ufakzeka grok-2
afmoe laguna minimax-m2 solar-open mellum2 minicpm5""".split()

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def reference(vocabulary, data, parse_special):
    """llama.cpp's ids."""
    with tempfile.TemporaryDirectory() as folder:
        model, file = f"{folder}/v.gguf", f"{folder}/t"
        writer = gguf.GGUFWriter(model, "llama")
        for key in ("context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count"):
            writer.add_uint32(f"llama.{key}", 1)
        writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        writer.add_uint32("llama.rope.dimension_count", 1)
        for key, value in vocabulary.items():
            if key == "tokenizer.ggml.precompiled_charsmap":
                writer.add_array(key, bytes(value))
            elif isinstance(value, list):
                writer.add_array(key, value)
            elif isinstance(value, bool):
                writer.add_bool(key, value)
            elif isinstance(value, int):
                writer.add_uint32(key, value)
            else:
                writer.add_string(key, value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        pathlib.Path(file).write_bytes(data)
        command = [llama_tokenize, "-m", model, "-f", file, "--ids", "--no-escape", "--log-disable"]
        if not parse_special:
            command.append("--no-parse-special")
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{vocabulary['tokenizer.ggml.model']} {done.stderr[-500:]}")
        return ast.literal_eval(done.stdout)


def write(name, value):
    (here / name).write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf8")


def byte_level():
    """One vocabulary whose merges cross every boundary, so that what differs between kinds shows."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        [text], trainers.BpeTrainer(vocab_size=1000, initial_alphabet=alphabet, show_progress=False, max_token_length=6)
    )
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    # A byte without a token, and tokens added later: one that starts like another, one with spaces in it.
    tokens[tokens.index("Þ")] = "[unused0]"
    merges = [" ".join(pair) for pair in model["merges"]]
    added = {"<|im_start|>": CONTROL, "<|im_end|>": CONTROL, "<|endoftext|>": CONTROL, "<s>": CONTROL, "foo_bar": USER_DEFINED,
             "o_ba": USER_DEFINED, "  y": USER_DEFINED, "</s>": CONTROL, "<tool>": USER_DEFINED}
    tokens = [t if t not in added else f"[unused {i}]" for i, t in enumerate(tokens)]
    types = [NORMAL] * len(tokens) + list(added.values())
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": tokens + list(added),
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": merges,
    }


def plain_bpe():
    """The form of Gemma 4: merges over plain text, spaces written as U+2581, bytes as <0xXX>."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.train_from_iterator(
        [text.replace(" ", "\u2581")],
        trainers.BpeTrainer(vocab_size=700, limit_alphabet=150, show_progress=False, max_token_length=8),
    )
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    tokens += [f"<0x{byte:02X}>" for byte in range(256)] + ["\n\n\n", "<bos>", "<eos>", "<turn|>"]
    types = [NORMAL] * len(model["vocab"]) + [BYTE] * 256 + [NORMAL, CONTROL, CONTROL, CONTROL]
    return {
        "tokenizer.ggml.model": "gemma4",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
        "tokenizer.ggml.bos_token_id": len(tokens) - 3,
        "tokenizer.ggml.eos_token_id": len(tokens) - 2,
    }


def sentencepiece_model(kind, **options):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.split("\n")), model_writer=out, model_type=kind, vocab_size=options.pop("size"), minloglevel=2,
        hard_vocab_limit=False, num_threads=1, **options,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=out.getvalue()), out.getvalue()


def spm(options, **keys):
    model, _ = sentencepiece_model("bpe", size=700, byte_fallback=True, character_coverage=0.98, **options)
    return sentencepiece_keys(model, "llama") | keys


def sentencepiece_keys(model, name):
    ids = range(model.vocab_size())
    kind = lambda i: (
        UNKNOWN if model.is_unknown(i) else CONTROL if model.is_control(i) else BYTE if model.is_byte(i)
        else UNUSED if model.is_unused(i) else USER_DEFINED if model.id_to_piece(i) in ("<extra>", "\n\n") else NORMAL
    )
    return {
        "tokenizer.ggml.model": name,
        "tokenizer.ggml.tokens": [model.id_to_piece(i) for i in ids],
        "tokenizer.ggml.scores": [model.get_score(i) for i in ids],
        "tokenizer.ggml.token_type": [kind(i) for i in ids],
    }


def charsmap(proto):
    from sentencepiece import sentencepiece_model_pb2

    spec = sentencepiece_model_pb2.ModelProto.FromString(proto).normalizer_spec
    return list(spec.precompiled_charsmap)


def unigram(**keys):
    # The published charsmap weighs 240 kB; this is NFKC for the characters of the text, and two sequences.
    units = sorted(set(text)) + ["e\u0301", "n\u0303"]
    rules = {unit: unicodedata.normalize("NFKC", unit) for unit in units} | {c: " " for c in "\t\n\r"} | {"\u200b": ""}
    spell = lambda unit: " ".join(f"{ord(c):X}" for c in unit)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines(f"{spell(unit)}\t{spell(to)}\n" for unit, to in rules.items() if unit != to)
        file.flush()
        model, proto = sentencepiece_model("unigram", size=400, character_coverage=0.98, user_defined_symbols=["<extra>"],
                                           pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_tsv=file.name)
    return sentencepiece_keys(model, "t5") | {"tokenizer.ggml.precompiled_charsmap": charsmap(proto)} | keys


def wordpiece_tokens():
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # The trainer breaks ties by hash; the vocabulary is made by hand of all characters and the words' halves.
    pieces = set()
    for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text)):
        half = (len(word) + 1) // 2
        pieces |= {word[0], word[:half]} | {"##" + c for c in word[1:]} | ({"##" + word[half:]} if word[half:] else set())
    return special + sorted(p for p in pieces if p not in ("\u0ba8", "##\u0ba8", "z"))


def wordpiece(tokens, **keys):
    special = tokens.index("[MASK]") + 1
    spelled = tokens[:special] + [t[2:] if t.startswith("##") else "\u2581" + t for t in tokens[special:]]
    return {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": spelled,
        "tokenizer.ggml.token_type": [CONTROL] * special + [NORMAL] * (len(tokens) - special),
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.seperator_token_id": 3,
        "tokenizer.ggml.padding_token_id": 0,
    } | keys


def case(vocabulary, overrides=None):
    full = vocabulary | (overrides or {})
    return {
        "overrides": overrides or {},
        "special": reference(full, text.encode(), True),
        "plain": reference(full, text.encode(), False),
        "broken": reference(full, broken, False),
    }


def deduplicated(cases):
    """Many kinds give the same ids; they are stored once."""
    lists, where = [], {}
    for entry in cases:
        for key in ("special", "plain", "broken"):
            ids = tuple(entry[key])
            if ids not in where:
                where[ids] = len(lists)
                lists.append(list(ids))
            entry[key] = where[ids]
    return {"cases": cases, "ids": lists}


def gguf_fixtures():
    base = byte_level()
    vocabularies = {
        "byte_level": (base, [{"tokenizer.ggml.pre": kind} for kind in KINDS]
                       + [{}, {"tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": True,
                               "tokenizer.ggml.bos_token_id": base["tokenizer.ggml.tokens"].index("<s>"),
                               "tokenizer.ggml.eos_token_id": base["tokenizer.ggml.tokens"].index("</s>")},
                          {"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.add_bos_token": False}]),
        "plain_bpe": (plain_bpe(), [{}, {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "sarvam-moe"}]),
        "spm": (spm(dict(normalization_rule_name="identity", remove_extra_whitespaces=False)), [
            {}, {"tokenizer.ggml.add_space_prefix": False}, {"tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.add_eos_token": True}]),
        # Tokens that reach across a space.
        "spm_phrases": (spm(dict(normalization_rule_name="identity", remove_extra_whitespaces=False, split_by_whitespace=False)), [{}]),
        "unigram": (unigram(), [
            {"tokenizer.ggml.add_space_prefix": True, "tokenizer.ggml.remove_extra_whitespaces": True},
            {"tokenizer.ggml.add_space_prefix": True, "tokenizer.ggml.remove_extra_whitespaces": False},
            {}]),
        "wordpiece": (wordpiece(wordpiece_tokens()), [{}, {"tokenizer.ggml.normalizer.lowercase": False}]),
    }
    for name, (vocabulary, variants) in vocabularies.items():
        print(name, len(vocabulary["tokenizer.ggml.tokens"]), "tokens,", len(variants), "cases")
        value = {"metadata": vocabulary} | deduplicated([case(vocabulary, variant) for variant in variants])
        write(f"{name}.json", value)
    write("broken.json", list(broken))


def hub_fixtures():
    base = byte_level()
    vocab = {t: i for i, (t, k) in enumerate(zip(base["tokenizer.ggml.tokens"], base["tokenizer.ggml.token_type"])) if k == NORMAL}
    merges = [tuple(m.split(" ")) for m in base["tokenizer.ggml.merges"]]
    merges = [(a, b) for a, b in merges if {a, b, a + b} <= vocab.keys()]
    made = {}

    bpe = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges))
    bpe.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(["<|im_start|>", "<|im_end|>", "<s>"])
    bpe.add_tokens(["foo_bar"])
    bpe.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", bpe.token_to_id("<s>"))])
    made["bpe"] = bpe

    keys = spm(dict(normalization_rule_name="identity", remove_extra_whitespaces=False))
    tokens = keys["tokenizer.ggml.tokens"]
    ids = {t: i for i, t in enumerate(tokens)}
    ranked = sorted((i for i, k in enumerate(keys["tokenizer.ggml.token_type"]) if k == NORMAL), key=lambda i: -keys["tokenizer.ggml.scores"][i])
    pairs = [(tokens[i][:cut], tokens[i][cut:]) for i in ranked for cut in range(1, len(tokens[i]))
             if tokens[i][:cut] in ids and tokens[i][cut:] in ids]
    llama = tokenizers.Tokenizer(models.BPE(vocab=ids, merges=pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    llama.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    llama.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    llama.add_special_tokens(["<unk>", "<s>", "</s>"])
    llama.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", ids["<s>"])])
    made["llama"] = llama

    keys = unigram()
    pieces = list(zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.scores"]))
    t5 = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=2))
    t5.normalizer = normalizers.Precompiled(bytes(keys["tokenizer.ggml.precompiled_charsmap"]))
    t5.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    t5.decoder = decoders.Metaspace()
    t5.add_special_tokens(["<pad>", "</s>", "<unk>"])
    t5.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    made["t5"] = t5

    tokens = wordpiece_tokens()
    bert = tokenizers.Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]", max_input_chars_per_word=100))
    bert.normalizer = normalizers.BertNormalizer()
    bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    bert.decoder = decoders.WordPiece()
    bert.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    bert.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made["bert"] = bert

    expected = {}
    for name, tokenizer in made.items():
        folder = here / "hub" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=False), encoding="utf8")
        special = {"bpe": {"bos_token": "<s>", "eos_token": "<|im_end|>"}, "llama": {"bos_token": {"content": "<s>"}, "eos_token": "</s>"},
                   "t5": {"eos_token": "</s>"}, "bert": {"sep_token": "[SEP]", "pad_token": "[PAD]"}}[name]
        (folder / "tokenizer_config.json").write_text(json.dumps(special), encoding="utf8")
        ids = tokenizer.encode(text).ids
        tokenizer.encode_special_tokens = True
        expected[name] = {"special": ids, "plain": tokenizer.encode(text).ids}
        tokenizer.encode_special_tokens = False
        print("hub", name, len(ids))
    write("hub/expected.json", expected)


gguf_fixtures()
hub_fixtures()
