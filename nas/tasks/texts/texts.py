"""The task of texts: after each token, the next one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import torch

from nas.errors import first_few
from nas.space.signature import Signature, TensorType
from nas.tasks.batches import Items, Places, Tensors
from nas.tasks.criteria import NextToken
from nas.tasks.deployed.texts import IGNORED, TextPreparation
from nas.tasks.task import Task
from nas.tasks.texts.sources import Title
from nas.tasks.texts.token_file import TokenFile

TOKENS_OF_BATCH = 2048
TOKENS_OF_EPOCH = 150_000
"""The tokens that a candidate sees in an epoch. It ranks candidates well enough, and takes seconds."""
TOKENS_OF_WINNER = 6_000_000
LITTLE = 100_000
"""With fewer training tokens, models learn little more than which letters are frequent."""
RANDOM_TOKENS = "random-tokens"
MOST_NAMED = 3


@final
class Windows:
    """Windows of texts and, as targets, the same windows one token later.

    Windows begin at the start of each text and after every ``stride`` tokens. None reaches into the next text: behind
    the end of a text, tokens are 0 and targets are ignored.
    """

    def __init__(self, tokens: TokenFile, title: Title, context: int, stride: int) -> None:
        """Lay windows over the texts of a split, whose tokens stay on disk."""
        self._file, self._title = tokens, title
        self._ends = np.asarray(tokens.ends[title], dtype=np.int64)
        self._starts = np.concatenate([np.zeros(1, np.int64), self._ends[:-1]])
        self._context, self._stride = context, stride
        followed = self._ends - self._starts - 1  # tokens that another one follows
        more = -(-np.maximum(followed - context, 0) // stride)
        self._numbers = np.cumsum(np.where(followed > 0, 1 + more, 0))

    def __len__(self) -> int:
        return int(self._numbers[-1])

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        raw, targets = self.items_at(np.array([range(len(self))[index]]))
        return raw[0][0], targets[0]

    def items_at(self, places: Places) -> Items:
        """Return the windows at ``places``, in this order."""
        numbers = np.arange(len(self))[places] if isinstance(places, slice) else np.asarray(places)
        texts = np.searchsorted(self._numbers, numbers, side="right")
        within = numbers - np.where(texts > 0, self._numbers[texts - 1], 0)
        first = self._starts[texts] + within * self._stride
        at = first[:, None] + np.arange(self._context + 1)
        is_known = at < self._ends[texts][:, None]
        tokens = self._file.tokens(self._title)
        found = tokens[np.minimum(at, len(tokens) - 1)].astype(np.int64)
        inputs = np.where(is_known, found, 0)[:, :-1]
        targets = np.where(is_known, found, IGNORED)[:, 1:]
        return Items((torch.from_numpy(inputs),), torch.from_numpy(targets))


@final
class Texts(Task):
    """Windows of texts, whose next tokens models learn to tell. The splits have no text in common.

    Attributes:
        tokens: the tokens on disk.
        context: the number of tokens that a model sees together.
        stride: how many tokens training windows lie apart. Those of the other splits never overlap.
    """

    noun: ClassVar[str] = "sequences"
    default_space: ClassVar[str | None] = "gpt"

    def __init__(
        self,
        name: str,
        tokens: TokenFile,
        preparation: TextPreparation,
        stride: int,
        notes: Sequence[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Lay windows over the texts of each split."""
        self.name, self.tokens, self.stride = name, tokens, stride
        self.context = preparation.context
        self._preparation, self._notes, self._facts = preparation, tuple(notes), dict(facts or {})
        self.train = Windows(tokens, "train", self.context, stride)
        self.validation = Windows(tokens, "validation", self.context, self.context)
        self.test = Windows(tokens, "test", self.context, self.context)

    def __repr__(self) -> str:
        counts = f"{len(self.train)} training, {len(self.validation)} validation and {len(self.test)} test sequences"
        return f"Texts {self.name}: {counts}, {self.in_words}"

    @property
    def vocabulary(self) -> int:
        """The number of different tokens."""
        return self._preparation.vocabulary

    @property
    def files(self) -> tuple[Path, ...]:
        """The folder with the tokens."""
        return (self.tokens.folder,)

    @property
    def signature(self) -> Signature:
        """Windows of tokens to logits of the token after each."""
        tokens = TensorType("tokens", (self.context,), "int64", (self.vocabulary,))
        return Signature((tokens,), (self.context, self.vocabulary))

    @cached_property
    def criterion(self) -> NextToken:
        """The loss of the next token, and the bits that a byte of text takes."""
        return NextToken(self.vocabulary, tuple(map(len, self._preparation.spelled)))

    @property
    def simple_spaces(self) -> tuple[str, ...]:
        """N-grams, which are hard to beat on small texts."""
        return ("ngram",)

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Tokens that were replaced by random ones, as bytes are in a damaged file."""
        return (RANDOM_TOKENS,)

    def corrupted(self, raw: Tensors, name: str, strength: float, generator: torch.Generator) -> Tensors:
        """Return sequences of which a share of the tokens is random: a fifth at strength 1."""
        (tokens,) = raw
        is_hit = torch.rand(tokens.shape, generator=generator) < strength / 5
        return (torch.where(is_hit, torch.randint(self.vocabulary, tokens.shape, generator=generator), tokens),)

    @property
    def why_one_fold(self) -> str:
        """Windows of one text overlap, and no text is in two splits."""
        return "texts are split as a whole, and their windows overlap"

    @property
    def why_closed(self) -> str:
        """Tokens are learned from the text itself."""
        return "the tokens of a text are learned from itself"

    @property
    def preparation(self) -> TextPreparation:
        """The way from a text to tokens."""
        return self._preparation

    @property
    def training_defaults(self) -> dict[str, dict[str, Any]]:
        """Batches and epochs by the number of tokens, and no label smoothing, which spoils probabilities."""
        count = self.tokens.ends["train"][-1]
        training = {
            "epochs": 3,
            "subset": float(f"{min(1.0, TOKENS_OF_EPOCH / count):.2g}"),
            "batch_size": min(64, max(4, TOKENS_OF_BATCH // self.context)),
            "learning_rate": 3e-3,
            "weight_decay": 0.1,
            "label_smoothing": 0.0,
        }
        return {"training": training, "retraining": {"epochs": min(20, max(1, round(TOKENS_OF_WINNER / count)))}}

    @property
    def in_words(self) -> str:
        """The tokens, and how many a model sees together."""
        return f"the next of {self._kind}, from up to {self.context} before it"

    @property
    def _kind(self) -> str:
        return "256 bytes" if not self.tokens.merges else f"{self.vocabulary:,} byte pairs"

    @property
    def facts(self) -> dict[str, Any]:
        """The tokens, and the size of the splits."""
        return {
            "tokens": self._kind,
            "context": self.context,
            **self._facts,
            "training tokens": self.tokens.ends["train"][-1],
            "test tokens": self.tokens.ends["test"][-1],
        }

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Notes of loading, texts that are in two splits, and too little text."""
        found = list(self._notes)
        if self.tokens.twice:
            found.append(
                f"{len(self.tokens.twice)} test texts are also in the training or validation texts, so test errors "
                f"look better than they are: {first_few(self.tokens.twice, MOST_NAMED)}"
            )
        if self.tokens.repeated:
            found.append(
                f"{len(self.tokens.repeated)} validation texts are also in the training texts, so candidates that "
                f"memorise texts are preferred: {first_few(self.tokens.repeated, MOST_NAMED)}"
            )
        if self.tokens.odd and self.tokens.merges:
            found.append(
                f"{len(self.tokens.odd)} texts are not in UTF-8, and their bytes are taken as they are: "
                f"{first_few(self.tokens.odd, MOST_NAMED)}"
            )
        count = self.tokens.ends["train"][-1]
        if count < LITTLE:
            found.append(f"there are only {count:,} training tokens: models learn little from so few")
        return tuple(found)

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that depend on the tokens, the splits and the windows."""
        text = json.dumps([self.tokens.digest, self.context, self.stride])
        return hashlib.sha256(text.encode()).hexdigest()[:12]
