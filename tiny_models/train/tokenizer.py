"""The text encoder's vocabulary: byte-pair merges trained on the captions, in CLIP's own file format."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from dynamicid.synthetic import EXPRESSIONS, POSES, motion_prompt, posed

from ..places import BASE

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77
LARGEST_VOCABULARY = 512


def make_tokenizer(captions: Iterable[str]) -> CLIPTokenizer:
    """Loads the tokenizer of BASE, or trains and saves it. Every word of the captions and face prompts is one token."""
    folder = BASE / "tokenizer"
    if not (folder / "vocab.json").exists():
        prompts = [motion_prompt(posed(expression, pose)) for expression in EXPRESSIONS for pose in POSES]
        _train(folder, sorted({*captions, *prompts}))
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _train(folder: Path, texts: list[str]) -> None:
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    trainer = trainers.BpeTrainer(
        vocab_size=LARGEST_VOCABULARY, initial_alphabet=[*letters, *"0123456789,.-'"], end_of_word_suffix="</w>"
    )
    bpe.train_from_iterator(texts, trainer)
    content = json.loads(bpe.to_str())["model"]
    tokens = sorted(content["vocab"], key=content["vocab"].get)
    # Each letter also as the end of a word, so that any text has tokens.
    tokens += [f"{letter}</w>" for letter in letters if f"{letter}</w>" not in content["vocab"]]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: number for number, token in enumerate([*tokens, START, END])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in content["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    CLIPTokenizer.from_pretrained(folder, model_max_length=LENGTH).save_pretrained(folder)
