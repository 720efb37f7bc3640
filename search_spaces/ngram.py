"""Interpolated n-grams for text: counted in seconds, and looked up in a tree of contexts by a few gathers.

An n-gram model tells the next token from how often it came after the last few ones. On small texts it is hard to beat.
The module holds the n-grams that tell most, as a tree in the order in which they are read: all n-grams that continue a
context lie together. So the places of those that may follow are known without a search, and where the next token is
one of them, its place is the next context. Every step is an operator that runtimes have.

With few different tokens, such as bytes, a table of all pairs may take the place of the tree's first tokens. A window
of 128 bytes then takes 6 µs in ONNX Runtime instead of 83 µs for pairs, and 63 µs instead of 176 µs for three tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nas.space.architecture import Architecture, Choice, Option
from nas.space.search_space import architecture_from
from nas.space.signature import Signature
from search_spaces.accepted import TEXTS
from search_spaces.ngram_fits import KNESER_NEY, UNKNOWN, WITTEN_BELL, IntArray, fit_ngrams, with_table_of_pairs

ORDERS = (2, 3, 4, 5, 6)
ENTRIES = tuple(2**each for each in range(9, 19))
"""The n-grams that a model has room for. Each takes 14 bytes."""
TREE, TABLE = "tree", "table"
"""Where the pairs of tokens are: among the n-grams, or in a table of all."""
MOST_PAIRS = 2**17
"""The pairs of tokens for which there may be a table. Each takes 12 bytes, or 4 without longer n-grams."""
FIRST = (
    (5, KNESER_NEY, 64, 2**16),
    (3, WITTEN_BELL, 64, 2**14),
    (6, KNESER_NEY, 128, 2**18),
    (4, KNESER_NEY, 64, 2**14),
    (2, KNESER_NEY, 64, 2**11),
    (3, KNESER_NEY, 32, 2**11),
)
"""The orders, smoothings, followers and sizes with which a search begins. Each takes seconds to fit."""
FOLLOWERS = (32, 64, 128)
"""The followers that a context of one token may have. A longer one has fewer: half as many for each token more."""
NARROWEST = 8
MOST_TOKENS = 2**23
"""The tokens to which a model is fitted at most, which takes ten seconds and 1 GB."""
IGNORED = -100
"""The target behind the end of a text."""


class Ngram:
    """Interpolated n-grams with Kneser-Ney's smoothing (Chen and Goodman, 1999) or Witten-Bell's, fitted in seconds.

    The modules have a method ``fit``, which takes the place of epochs. Models take windows of tokens, whole numbers of
    shape (N, tokens), and return log-probabilities of shape (N, tokens, vocabulary).

    >>> space = Ngram(nas.Signature((nas.TensorType("tokens", (64,), "int64", (256,)),), (64, 256)))
    >>> model = space.build(nas.sample(space, np.random.default_rng(0)))

    Raises:
        ValueError: the models have other inputs or outputs.
    """

    accepts = TEXTS

    def __init__(self, signature: Signature) -> None:
        TEXTS.check("Ngram", signature)
        tokens = signature.inputs[0]
        if signature.output != (*tokens.shape, *tokens.counts):
            raise ValueError(f"Ngram tells the next token, tokens × vocabulary, but the data have {signature}.")
        self._context, self._vocabulary = signature.output
        self.choices = (
            Choice("order", ORDERS),
            Choice("smoothing", (WITTEN_BELL, KNESER_NEY)),
            Choice("pairs", (TREE, TABLE) if self._vocabulary**2 <= MOST_PAIRS else (TREE,)),
            Choice("followers", FOLLOWERS),
            Choice("entries", ENTRIES),
        )

    @property
    def first(self) -> list[Architecture]:
        """The plain model of three tokens, and models from few and short n-grams to many and long ones."""
        pairs = self.choices[2].options[-1]
        return [
            architecture_from(self, dict(zip((each.name for each in self.choices), values, strict=True)))
            for values in ((order, smoothing, pairs, *room) for order, smoothing, *room in FIRST)
        ]

    def canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
        """Give pairs of tokens no more room than there can be of them, and none where they have a table."""
        if values["order"] != 2:
            return values
        if values["pairs"] == TABLE:
            return {**values, "followers": FOLLOWERS[0], "entries": ENTRIES[0]}
        pairs = self._vocabulary * min(self._vocabulary, int(values["followers"]))
        enough = min((each for each in ENTRIES if each >= pairs), default=ENTRIES[-1])
        return {**values, "entries": min(int(values["entries"]), enough)}

    def build(self, architecture: Architecture) -> NgramModel:
        """Return the torch module. Until it is fitted, its n-grams come from torch's global random state."""
        return NgramModel(
            self._context,
            self._vocabulary,
            int(architecture["order"]),
            str(architecture["smoothing"]),
            int(architecture["entries"]),
            int(architecture["followers"]),
            has_table=architecture["pairs"] == TABLE,
        )


class NgramModel(nn.Module):
    """The n-grams of a text as a tree of contexts, from which it reads the probabilities of the next token.

    Nodes are the roots, then the n-grams of the tree by length, and last a node that stands for unknown contexts. Roots
    are the tokens or, if there is a table of pairs, all pairs of tokens.

    Attributes:
        of_roots: the log-probability of each token without a context, or after each token, where there is a table.
        log_probabilities: by n-gram, the log-probability of its last token after the others.
        log_left: by node, what is added to the log-probabilities of tokens that do not follow it.
        followers: by n-gram, its last token.
        first: by node, the place of the first n-gram that continues it. Those of the next node come after.
        most_items: the windows to which it is fitted at most.
    """

    followers: torch.Tensor
    first: torch.Tensor

    def __init__(
        self,
        context: int,
        vocabulary: int,
        order: int,
        smoothing: str,
        entries: int,
        followers: int = FOLLOWERS[-1],
        *,
        has_table: bool = False,
    ) -> None:
        super().__init__()
        self._context, self._vocabulary = context, vocabulary
        self._order, self._smoothing, self._has_table = order, smoothing, has_table
        self._widths = tuple(min(vocabulary, max(followers >> length, NARROWEST)) for length in range(order - 1))
        if has_table:
            self._widths = self._widths[1:]
        self._roots = vocabulary**2 if has_table else vocabulary
        self._entries = entries if self._widths else 0
        self.most_items = max(1, MOST_TOKENS // context)
        # The last follower is no token. It stands for the followers that a context does not have.
        width = vocabulary + 1 if self._widths else vocabulary
        self.of_roots = nn.Parameter(-torch.rand(vocabulary, width) if has_table else -torch.rand(width))
        if not self._widths:
            return
        nodes = self._roots + entries + 1
        self.log_probabilities = nn.Parameter(-torch.rand(entries + 1))
        self.log_left = nn.Parameter(-torch.rand(nodes))
        small = torch.int16 if vocabulary < 2**15 else torch.int32
        self.register_buffer("followers", torch.randint(vocabulary, (entries + 1,)).to(small))
        self.register_buffer("first", torch.randint(entries + 1, (nodes + 1,)).sort().values.to(torch.int32))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the log-probabilities of the token after each, shape (N, tokens, vocabulary)."""
        unknown = 0 * tokens[:, :1] + (self._roots + self._entries)
        found: torch.Tensor = self.of_roots
        nodes = tokens
        if self._has_table:
            found = F.embedding(tokens, self.of_roots)
            nodes = torch.cat([unknown, tokens[:, :-1] * self._vocabulary + tokens[:, 1:]], dim=1)
        if not self._widths:
            return found
        read = tokens[:, 1:].unsqueeze(-1)
        for length, width in enumerate(self._widths, start=1):
            begin, end = self._taken(self.first, nodes, 1), self._taken(self.first, nodes + 1, 1)
            begin, last = (torch.where(begin < end, place, self._entries) for place in (begin, end - 1))
            steps = torch.arange(width, device=tokens.device)
            # Behind its last follower a context repeats it: scattering the same number twice changes nothing.
            places = torch.minimum(begin + steps, last)
            following = self._taken(self.followers, places, width)
            found = found + self._taken(self.log_left, nodes, 1)
            found = found.scatter(2, following, self._taken(self.log_probabilities, places, width))
            if length < len(self._widths):
                is_next = following[:, :-1] == read
                reached = torch.where(is_next, places[:, :-1], UNKNOWN).amax(-1)
                reached = torch.where(reached < 0, self._entries, reached) + self._roots
                nodes = torch.cat([unknown, reached], dim=1)
        return found[..., : self._vocabulary]

    def _taken(self, table: torch.Tensor, places: torch.Tensor, width: int) -> torch.Tensor:
        """Return the values of a table, shape (size,), at places, shape (N, tokens, width).

        Whole numbers become places themselves. ONNX Runtime runs ``gather`` in a quarter of the time of
        ``index_select``, which copies numbers one by one.
        """
        found = table.gather(0, places.reshape(-1)).view(-1, self._context, width)
        return found if found.is_floating_point() else found.long()

    @torch.no_grad()
    def fit(self, inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, seed: int) -> None:
        """Count the n-grams of windows, shape (N, tokens), and keep those that tell most. Nothing is drawn at random.

        ``targets`` are the tokens after each, int64 of shape (N, tokens); -100 stands behind the end of a text, and
        wherever nothing is to be told, such as in padding. The last tenth of the windows tells the best strength of the
        smoothing, and is then counted too.

        Raises:
            ValueError: targets that are not the next tokens.
        """
        tokens = _sequences(inputs[0].cpu().numpy(), targets.cpu().numpy())
        widths = (self._vocabulary, *self._widths) if self._has_table else self._widths
        kept = fit_ngrams(
            tokens, self._vocabulary, self._order, self._smoothing, widths, self._entries, all_pairs=self._has_table
        )
        if self._has_table:
            kept = with_table_of_pairs(kept)
        self.of_roots.zero_()[..., : self._vocabulary] = torch.from_numpy(kept.of_roots)
        if not self._widths:
            return
        nodes = len(kept.log_left)
        self.log_probabilities.zero_()[: len(kept.following)] = torch.from_numpy(kept.log_probabilities)
        self.log_left.zero_()[:nodes] = torch.from_numpy(kept.log_left)
        self.followers.fill_(self._vocabulary)[: len(kept.following)] = torch.from_numpy(kept.following)
        self.first.fill_(len(kept.following))[:nodes] = torch.from_numpy(kept.first[:-1])


def _sequences(tokens: IntArray, targets: IntArray) -> IntArray:
    """Return windows with the token after each, shape (N, tokens + 1); ``UNKNOWN`` where none is told."""
    is_one_later = targets.shape == tokens.shape and bool(
        ((targets[:, :-1] == tokens[:, 1:]) | (targets[:, :-1] == IGNORED)).all()
    )
    if not is_one_later:
        raise ValueError(
            "the space ngram learns the token after each one, so targets must be the inputs, one token later. Take "
            "another space, such as gpt."
        )
    followed = np.where(targets >= 0, targets, UNKNOWN)
    return np.concatenate([tokens[:, :1], followed], axis=1)
