"""The space of n-grams: fitted modules equal a plain count of n-grams, also when exported, and what is refused."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

import nas
from nas.formats.export import export_onnx, parity
from nas.hardware.runtimes.runtime import ExportedModel, load_runtime
from nas.space.search_space import architecture_from
from nas.space.signature import Signature, TensorType
from nas.values.target import Target
from search_spaces.ngram import ENTRIES, FIRST, FOLLOWERS, IGNORED, TABLE, TREE, Ngram, NgramModel
from search_spaces.ngram_fits import KNESER_NEY, STRENGTHS, WITTEN_BELL, best_strength

SMOOTHINGS = (WITTEN_BELL, KNESER_NEY)
LETTERS = 7
PAIRS = pytest.mark.parametrize("has_table", [False, True], ids=[TREE, TABLE])
Window = tuple[int, ...]


def signature(context: int, vocabulary: int) -> Signature:
    return Signature((TensorType("tokens", (context,), "int64", (vocabulary,)),), (context, vocabulary))


def text(tokens: int, seed: int = 0, letters: int = LETTERS) -> list[int]:
    """Return a text of few letters, in which each depends on the two before."""
    rng = np.random.default_rng(seed)
    chances = np.random.default_rng(7).dirichlet(np.full(letters, 0.3), size=(letters, letters))
    found = [0, 0]
    while len(found) < tokens:
        found.append(int(rng.choice(letters, p=chances[found[-2], found[-1]])))
    return found


def windows(tokens: list[int], context: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return windows of a text and the tokens after each. Those behind its end are ignored."""
    count = -(-(len(tokens) - 1) // context)
    filled = torch.full((count * context + 1,), IGNORED)
    filled[: len(tokens)] = torch.tensor(tokens)
    inputs = filled[:-1].clamp(min=0).view(count, context)
    return inputs, filled[1:].view(count, context)


def fitted(
    inputs: torch.Tensor,
    targets: torch.Tensor,
    order: int,
    smoothing: str,
    entries: int = 4096,
    vocabulary: int = LETTERS,
    *,
    has_table: bool = False,
) -> NgramModel:
    model = NgramModel(inputs.shape[1], vocabulary, order, smoothing, entries, has_table=has_table)
    model.fit((inputs,), targets, 0)
    return model.eval()


def outputs(model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(inputs)
    return found


def bits_of(model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    loss = torch.nn.functional.cross_entropy(outputs(model, inputs).flatten(0, 1), targets.flatten())
    return float(loss) / math.log(2)


class PlainCounts:
    """Interpolated n-grams as they are published, by dictionaries and one context at a time."""

    def __init__(self, sequences: list[Window], order: int, smoothing: str, strength: float) -> None:
        self.order, self.smoothing, self.strength = order, smoothing, strength
        raw: Counter[Window] = Counter()
        before: dict[Window, set[int]] = defaultdict(set)
        for sequence in sequences:
            for length in range(1, order + 1):
                for start in range(len(sequence) - length + 1):
                    if length == 1 and start == 0:
                        continue  # it is never told
                    raw[sequence[start : start + length]] += 1
                    before[sequence[start : start + length]].add(sequence[start - 1] if start else -1)
        self.counts: dict[Window, float] = dict(raw)
        if smoothing == KNESER_NEY:
            self.counts |= {each: len(before[each]) for each in raw if len(each) < order}
        self.after: dict[Window, list[Window]] = defaultdict(list)
        for each in self.counts:
            self.after[each[:-1]].append(each)

    def taken(self, ngram: Window) -> float:
        """Return the discount of an n-gram."""
        of_counts = Counter(count for each, count in self.counts.items() if len(each) == len(ngram))
        number = int(min(self.counts[ngram], 3))
        share = of_counts[1] / max(of_counts[1] + 2 * of_counts[2], 1)
        discount = number - (number + 1) * share * of_counts[number + 1] / max(of_counts[number], 1)
        return min(max(self.strength * discount, 0.05), 0.98 * number)

    def chance(self, context: Window, token: int) -> float:
        followers = self.after[context]
        if not followers:
            return self.chance(context[1:], token)
        total = sum(self.counts[each] for each in followers)
        own = self.counts.get((*context, token), 0)
        if not context:
            return (own + len(followers) / LETTERS) / (total + len(followers))
        shorter = self.chance(context[1:], token)
        if self.smoothing == WITTEN_BELL:
            left = self.strength * len(followers)
            return (own + left * shorter) / (total + left)
        left = sum(self.taken(each) for each in followers)
        return (own - (self.taken((*context, token)) if own else 0) + left * shorter) / total

    def bits(self, sequences: list[Window]) -> float:
        chances = [
            self.chance(sequence[max(0, place - self.order + 1) : place], sequence[place])
            for sequence in sequences
            for place in range(1, len(sequence))
        ]
        return -sum(map(math.log2, chances)) / len(chances)


def sequences_of(inputs: torch.Tensor, targets: torch.Tensor) -> list[Window]:
    return [
        (int(window[0]), *(int(each) for each in following if each >= 0))
        for window, following in zip(inputs, targets, strict=True)
    ]


def runs_of(windows: list[list[int]]) -> list[Window]:
    """Return the tokens between those that are ignored."""
    parts = [groupby(window, key=lambda token: token >= 0) for window in windows]
    return [tuple(run) for window in parts for is_told, run in window if is_told]


class TestFit:
    """What ``fit`` makes of a text."""

    @PAIRS
    @pytest.mark.parametrize("smoothing", SMOOTHINGS)
    @pytest.mark.parametrize("order", [2, 3, 5])
    def test_bits_are_those_of_a_plain_count(self, order: int, smoothing: str, has_table: bool) -> None:
        """Of the text itself and of another one, with a last window that is not full."""
        inputs, targets = windows(text(260), 20)
        model = fitted(inputs, targets, order, smoothing, has_table=has_table)
        sequences = torch.cat([inputs[:, :1], targets], dim=1).numpy()
        strength = best_strength(np.where(sequences < 0, -1, sequences), LETTERS, order, smoothing)
        plain = PlainCounts(sequences_of(inputs, targets), order, smoothing, strength)
        for each in (windows(text(260), 20), windows(text(90, seed=1), 20)):
            assert bits_of(model, *each) == pytest.approx(plain.bits(sequences_of(*each)), abs=1e-5)

    @PAIRS
    @pytest.mark.parametrize("smoothing", SMOOTHINGS)
    @pytest.mark.parametrize("entries", [0, 1, 10, 60, 400])
    def test_pruned_models_give_probabilities(self, entries: int, smoothing: str, has_table: bool) -> None:
        """They add up to 1, whatever is left out, and no more n-grams are kept than there is room for."""
        inputs, targets = windows(text(2000), 20)
        model = fitted(inputs, targets, 5, smoothing, entries, has_table=has_table)
        unseen = torch.randint(LETTERS, (50, 20), generator=torch.Generator().manual_seed(0))
        for each in (inputs, unseen):
            torch.testing.assert_close(outputs(model, each).exp().sum(-1), torch.ones(each.shape))
        assert int((model.followers < LETTERS).sum()) == entries

    def test_more_n_grams_tell_more(self) -> None:
        """The first ones tell most: a tenth of all is worth more than half of what all are worth."""
        inputs, targets = windows(text(20_000), 50)
        tested = windows(text(3000, seed=1), 50)
        none, tenth, all_of_them = (
            bits_of(fitted(inputs, targets, 4, KNESER_NEY, entries), *tested) for entries in (0, 120, 4096)
        )
        assert all_of_them < tenth < none
        assert none - tenth > 0.5 * (none - all_of_them)

    def test_a_table_of_pairs_leaves_the_room_to_longer_n_grams(self) -> None:
        """So with as much room the model tells more, and it never tells less than all pairs do."""
        inputs, targets = windows(text(2000), 20)
        tested = windows(text(900, seed=1), 20)
        pairs = bits_of(fitted(inputs, targets, 2, WITTEN_BELL, has_table=True), *tested)
        assert bits_of(fitted(inputs, targets, 4, WITTEN_BELL, 60), *tested) > pairs - 0.3
        assert bits_of(fitted(inputs, targets, 4, WITTEN_BELL, 60, has_table=True), *tested) < pairs - 0.3

    def test_a_context_has_room_for_its_best_followers(self) -> None:
        """A context of one token keeps 128 or 32 of 200 followers, and the others share what is left."""
        followers = [[0, 1 + place] for place in range(200) for _ in range(4 if place < 128 else 1)]
        inputs, targets = windows([token for pair in followers for token in pair], 40)
        for most in (128, 32):
            model = NgramModel(40, 256, 2, WITTEN_BELL, 4096, most)
            model.fit((inputs,), targets, 0)
            chances = outputs(model, torch.zeros(1, 40, dtype=torch.int64)).exp()[0, 0]
            assert int((model.followers[model.first[0] : model.first[1]] < 256).sum()) == most
            assert chances.sum() == pytest.approx(1, abs=1e-5)
            assert chances[1 : most + 1].min() > chances[129:].max()

    @pytest.mark.parametrize("smoothing", SMOOTHINGS)
    def test_the_strength_comes_from_windows_that_are_left_out(self, smoothing: str) -> None:
        """A text that repeats itself leaves little to shorter n-grams, and one by chance leaves much."""
        repeated = np.tile(np.arange(21), (100, 1))
        by_chance = np.random.default_rng(0).integers(0, 21, (100, 21))
        assert best_strength(repeated, 21, 4, smoothing) == STRENGTHS[smoothing][0]
        assert best_strength(by_chance, 21, 4, smoothing) == STRENGTHS[smoothing][-1]
        assert best_strength(repeated[:9], 21, 4, smoothing) == 1

    def test_the_state_is_all_there_is(self) -> None:
        """A module that is built anew and given the state gives the same, and a second fit changes nothing."""
        inputs, targets = windows(text(500), 20)
        model, again = (fitted(inputs, targets, 4, KNESER_NEY, 200) for _ in range(2))
        other = NgramModel(20, LETTERS, 4, KNESER_NEY, 200)
        other.load_state_dict(model.state_dict())
        assert torch.equal(outputs(model, inputs), outputs(other, inputs))
        again.fit((inputs,), targets, 3)
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


class TestAwkwardTexts:
    """Texts of which there is little to count."""

    @pytest.mark.parametrize("smoothing", SMOOTHINGS)
    @pytest.mark.parametrize(
        ("tokens", "context"),
        [
            pytest.param([1, 2, 3], 2, id="shorter than the order"),
            pytest.param([1, 2], 8, id="one pair"),
            pytest.param([5] * 400, 8, id="one repeated token"),
            pytest.param(list(range(256)), 8, id="nothing comes twice"),
            pytest.param([0, 0, *range(1, 200)] * 3, 2, id="windows too short for long n-grams"),
        ],
    )
    def test_gives_probabilities(self, tokens: list[int], context: int, smoothing: str) -> None:
        inputs, targets = windows(tokens, context)
        for order, has_table in itertools.product((2, 6), (False, True)):
            model = fitted(inputs, targets, order, smoothing, vocabulary=256, has_table=has_table)
            torch.testing.assert_close(outputs(model, inputs).exp().sum(-1), torch.ones(inputs.shape))
            assert bits_of(model, inputs, targets) < 8

    @PAIRS
    @pytest.mark.parametrize("smoothing", SMOOTHINGS)
    @pytest.mark.parametrize("order", [2, 3, 5])
    @pytest.mark.parametrize("ignored", [slice(6, 9), slice(0, 5), slice(3, None, 7)], ids=["gap", "left", "many"])
    def test_targets_may_be_ignored_anywhere(self, ignored: slice, order: int, smoothing: str, has_table: bool) -> None:
        """As of masked prompts and of padding on the left. What follows a gap begins anew."""
        inputs, targets = windows(text(2001), 20)
        targets[1::3, ignored] = IGNORED
        model = fitted(inputs, targets, order, smoothing, has_table=has_table)
        assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
        torch.testing.assert_close(outputs(model, inputs).exp().sum(-1), torch.ones(inputs.shape))
        whole = fitted(*windows(text(2001), 20), order, smoothing)
        tested = windows(text(901, seed=1), 20)
        assert bits_of(model, *tested) == pytest.approx(bits_of(whole, *tested), abs=0.1)
        if smoothing == KNESER_NEY:
            sequences = torch.cat([inputs[:, :1], targets], dim=1)
            strength = best_strength(np.where(sequences < 0, -1, sequences), LETTERS, order, smoothing)
            plain = PlainCounts(runs_of(sequences.tolist()), order, smoothing, strength)
            assert bits_of(model, *tested) == pytest.approx(plain.bits(sequences_of(*tested)), abs=1e-5)

    @pytest.mark.parametrize("smoothing", SMOOTHINGS)
    def test_ignored_targets_leave_the_choice_of_the_strength(self, smoothing: str) -> None:
        by_chance = np.random.default_rng(0).integers(0, 21, (100, 21))
        by_chance[:, 8:10] = -1
        assert best_strength(by_chance, 21, 4, smoothing) == STRENGTHS[smoothing][-1]

    def test_nothing_to_tell(self) -> None:
        """Where no token follows another one, all are equally probable."""
        nothing = torch.full((20, 8), IGNORED)
        for has_table in (False, True):
            inputs = torch.zeros(20, 8, dtype=torch.int64)
            model = fitted(inputs, nothing, 4, KNESER_NEY, vocabulary=256, has_table=has_table)
            torch.testing.assert_close(outputs(model, inputs[:1]), torch.full((1, 8, 256), -math.log(256)))

    def test_a_large_vocabulary_takes_no_larger_tables(self) -> None:
        """The most byte pairs that a text may have; each token takes 12 bytes, and no table has pairs of them."""
        rng = np.random.default_rng(0)
        inputs, targets = windows(rng.integers(0, 32_768, 300).tolist(), 16)
        model = fitted(inputs, targets, 3, KNESER_NEY, 512, vocabulary=32_768)
        assert outputs(model, inputs[:2]).exp().sum(-1).allclose(torch.ones(2, 16), atol=1e-4)
        assert bits_of(model, inputs, targets) < 14
        assert sum(each.nbytes for each in model.state_dict().values()) < 450_000

    def test_refuses_targets_that_are_not_the_next_tokens(self) -> None:
        inputs, targets = windows(text(100), 20)
        for wrong in (targets.flip(1), targets[:, :1]):
            with pytest.raises(ValueError, match=r"targets must be the inputs, one token later\. Take another space"):
                fitted(inputs, wrong, 3, WITTEN_BELL)


class TestExport:
    """Fitted models in runtimes."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("order", "vocabulary", "batch", "has_table"),
        [
            (2, LETTERS, 1, False),
            (5, LETTERS, 1, False),
            (3, 700, None, False),
            (2, LETTERS, 1, True),
            (5, LETTERS, None, True),
        ],
    )
    def test_exported_models_agree(
        self, order: int, vocabulary: int, batch: int | None, has_table: bool, tmp_path: Path
    ) -> None:
        """The file holds the tables and little else."""
        inputs, targets = windows(text(600, letters=LETTERS), 20)
        model = fitted(inputs, targets, order, KNESER_NEY, 200, vocabulary, has_table=has_table)
        path = tmp_path / "model.onnx"
        export_onnx(model, signature(20, vocabulary).inputs, batch, path)
        for each in inputs.split(1) if batch else [inputs]:
            assert parity(model, path, [each.numpy()]) < 1e-6
        tables = sum(each.nbytes for each in model.state_dict().values())
        assert tables < path.stat().st_size < tables + 40_000

    @pytest.mark.parametrize("precision", ["int8", "int8-dynamic"])
    def test_int8_keeps_the_tables_useful(self, precision: str, tmp_path: Path) -> None:
        """A table of log-probabilities in 8 bits costs less than a hundredth of a bit, and takes less room."""
        inputs, targets = windows(text(4000), 20)
        model = fitted(inputs, targets, 4, KNESER_NEY)
        path = tmp_path / "model.onnx"
        export_onnx(model, signature(20, LETTERS).inputs, 1, path)
        runtime, target = load_runtime("onnxruntime-cpu"), Target("onnxruntime-cpu", precision)
        deployed = runtime.convert(ExportedModel(path, lambda: (inputs[:32].numpy(),)), target, tmp_path)
        session = runtime.open(deployed.path, target)
        logits = torch.from_numpy(np.concatenate([session.outputs((each.numpy(),)) for each in inputs.split(1)]))
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        assert float(loss) / math.log(2) == pytest.approx(bits_of(model, inputs, targets), abs=0.01)
        assert deployed.weight_bytes <= path.stat().st_size * (0.75 if precision == "int8" else 1)


class TestChoices:
    """The choices of the space."""

    def test_a_search_begins_with_models_of_the_space(self) -> None:
        space = Ngram(signature(64, 256))
        assert len(set(space.first)) == len(FIRST)
        for each in space.first:
            assert all(each[choice.name] in choice.options for choice in space.choices)

    @pytest.mark.parametrize(("vocabulary", "most"), [(2, 512), (256, 32_768), (32_768, 262_144)])
    def test_pairs_have_no_more_room_than_there_are(self, vocabulary: int, most: int) -> None:
        space = Ngram(signature(64, vocabulary))
        largest = {"smoothing": WITTEN_BELL, "pairs": TREE, "followers": 128, "entries": 262_144}
        assert architecture_from(space, {"order": 2, **largest})["entries"] == most
        assert architecture_from(space, {"order": 3, **largest})["entries"] == 262_144

    def test_only_few_tokens_have_a_table_of_pairs(self) -> None:
        assert Ngram(signature(64, 363)).choices[2].options == (TREE,)
        space = Ngram(signature(64, 362))
        twins = [
            architecture_from(
                space, {"order": 2, "smoothing": WITTEN_BELL, "pairs": TABLE, "followers": followers, "entries": each}
            )
            for each in ENTRIES
            for followers in FOLLOWERS
        ]
        assert len(set(twins)) == 1

    def test_other_outputs_are_refused(self) -> None:
        tokens = TensorType("tokens", (64,), "int64", (256,))
        with pytest.raises(nas.RecipeError, match="Ngram tells the next token, tokens × vocabulary, but the data have"):
            nas.load_space("ngram", {}, Signature((tokens,), (64, 10)))
