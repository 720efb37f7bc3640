"""The zoo of pretrained models: names, resolutions, preparation, weights, and what is known of models."""

from __future__ import annotations

import json
import logging
import pickle
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny_zoo import CONVNET, SMALL, VIT, write_weights

import nas
from nas.errors import CandidateError, RecipeError
from nas.results.bundle import Bundle
from nas.space.architecture import Architecture
from nas.space.parts.own_inputs import signature_of
from nas.space.parts.start_weights import check_start, load_start, origin_of
from nas.space.search_space import enumerate_space, sample
from nas.space.signature import image_signature
from nas.space.tracing import build_checked, trace_layers
from search_spaces import timm_descriptions, timm_weights, timm_zoo
from search_spaces.tensor_files import tensors_in
from search_spaces.timm_models import SHIPPED, chosen_models, read_facts
from search_spaces.timm_zoo import TimmZoo

COLOUR = image_signature((3, 32, 32), 2)
TRAINING = {"tune": "all", "learning_rate": 1e-3, "layer_decay": 1.0}


def zoo(**options: Any) -> TimmZoo:
    return TimmZoo((3, 32, 32), 2, **{"models": [VIT, CONVNET], **options})


def one(model: str, **more: Any) -> Architecture:
    return Architecture({"model": model, **more, **TRAINING})


class TestOrigin:
    """Where weights come from, for model cards."""

    def test_the_licence_is_what_timm_records(self) -> None:
        found = origin_of(zoo(weights="hub"), one(CONVNET))
        assert found["model"] == CONVNET
        assert found["source"].startswith("huggingface.co/timm/")
        assert found["licence"].startswith(timm.models.get_pretrained_cfg(CONVNET).license or "not told by timm")

    def test_files_of_ones_own_have_an_unknown_licence(self, tmp_path: Path) -> None:
        write_weights(tmp_path)
        assert origin_of(zoo(weights=str(tmp_path)), one(VIT))["licence"].startswith("unknown")

    def test_models_from_scratch_have_none(self) -> None:
        assert origin_of(zoo(weights="none"), one(VIT)) == {}


class TestNames:
    """Which models are searched."""

    def test_curated_models_exist_with_facts_and_span_sizes(self) -> None:
        """150 of many families: from below 1 to above 80 million weights."""
        models = chosen_models("curated")
        facts = read_facts(SHIPPED)
        assert len(models) == 150
        assert set(models) <= set(timm.list_models(pretrained=True))
        sizes = [facts[name]["mparams"] for name in models]
        assert (min(sizes) < 1, max(sizes) > 80) == (True, True)
        assert len({name[:6] for name in models}) >= 40
        assert all(facts[name]["imagenet_top1"] > 40 for name in models)

    def test_patterns_lists_and_bare_names(self) -> None:
        """A name without a tag stands for timm's default weights."""
        assert chosen_models("test_vit*")[0].startswith("test_vit")
        assert all(name.startswith("mobilenetv4") for name in chosen_models("mobilenetv4*"))
        assert chosen_models(["lcnet_050", CONVNET]) == (SMALL, CONVNET)

    def test_a_pattern_without_a_match_names_the_nearest(self) -> None:
        with pytest.raises(ValueError, match=r"none is called 'mobilenetv9\*'. Nearest: .*mobilenet"):
            zoo(models="mobilenetv9*")


class TestResolutions:
    """The inputs of models."""

    def test_each_model_has_its_own_preparation(self) -> None:
        """Mean, deviation, crop and interpolation are timm's; the size is the model's own, or the chosen one."""
        assert zoo().inputs(one(VIT)) == {
            "image_size": 160,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "crop": 0.95,
            "interpolation": "bicubic",
        }
        chosen = zoo(resolutions=(64, 96)).inputs(one(CONVNET, resolution=96))
        assert (chosen["image_size"], chosen["mean"]) == (96, [0.485, 0.456, 0.406])
        assert len(TimmZoo((1, 28, 28), 2, models=VIT).inputs(one(VIT))["mean"]) == 1

    def test_modules_take_their_size_and_layers_are_those_of_a_trace(self) -> None:
        space = zoo(resolutions=(64, 96))
        for architecture in (one(VIT, resolution=96), one(CONVNET, resolution=64)):
            own = signature_of(space, architecture, COLOUR)
            assert own.input_shape == (3, architecture["resolution"], architecture["resolution"])
            module = build_checked(space, architecture, COLOUR)
            assert tuple(space.layers(architecture)) == trace_layers(module, own)

    def test_a_refused_resolution_is_left_out_and_told(self) -> None:
        """Its architectures become those of the nearest resolution that the model accepts."""
        space = zoo(resolutions=(64, 100))
        assert any(VIT in note and "100" in note for note in space.notes)
        found = {(a["model"], a["resolution"]) for a in enumerate_space(space)}
        assert found == {(VIT, 64), (CONVNET, 64), (CONVNET, 100)}

    @pytest.mark.parametrize("resolutions", [224, [0], ["96"], [True]])
    def test_resolutions_are_numbers_of_pixels(self, resolutions: Any) -> None:
        """Zero would stand for a model's own."""
        with pytest.raises(ValueError, match="must be a list of whole numbers of pixels"):
            zoo(resolutions=resolutions)

    def test_a_model_larger_than_the_memory_is_left_out_and_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of 0.36 and 1.88 million weights, 16 bytes each are needed. Weights that no table tells are counted."""
        monkeypatch.setattr(nas, "usable_memory_bytes", lambda: 8_000_000, raising=False)
        space = zoo(models=[CONVNET, SMALL])
        assert space.choices[0].options == (CONVNET,)
        assert SMALL in space.notes[0]
        monkeypatch.setattr(timm_zoo, "read_facts", lambda path: {})
        space = zoo(models=[CONVNET, SMALL], weights="none")
        assert space.choices[0].options == (CONVNET,)
        check_start(space)
        alone = zoo(models=[SMALL], weights="none")
        assert build_checked(alone, one(SMALL), COLOUR) is not None
        with pytest.raises(RecipeError, match="training each of the models takes more than the memory of"):
            check_start(alone)

    def test_descriptions_are_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A second space, as of another process, builds nothing. The first one tells those who wait."""
        monkeypatch.setenv("NAS_HOME", str(tmp_path))
        monkeypatch.setattr(timm_descriptions, "TELL_AFTER_S", 0.0)
        space = zoo()
        first = space.layers(one(CONVNET))
        space.layers(one(VIT))
        assert "describing models of timm, which is done once: 2 in" in capsys.readouterr().err
        monkeypatch.setattr(timm_descriptions, "build_model", None)
        assert zoo().layers(one(CONVNET)) == first


class TestWeights:
    """Where weights come from, and what is refused."""

    def test_weights_of_a_folder_are_loaded_and_the_head_stays_new(self, tmp_path: Path) -> None:
        known = write_weights(tmp_path)
        space = zoo(weights=str(tmp_path))
        check_start(space)
        for name in (VIT, CONVNET):
            module = build_checked(space, one(name), COLOUR)
            load_start(space, one(name), module)
            head = module.pretrained_cfg["classifier"]
            for key, tensor in module.state_dict().items():
                if not key.startswith(head):
                    torch.testing.assert_close(tensor, known[name][key])
            assert module.get_classifier().weight.shape[0] == 2

    def test_another_resolution_and_grey_pictures_take_the_same_weights(self, tmp_path: Path) -> None:
        """Grey weights are the sum over the colours, as timm makes them."""
        known = write_weights(tmp_path)
        space = TimmZoo((1, 28, 28), 2, models=[VIT, CONVNET], resolutions=(64,), weights=str(tmp_path))
        grey = image_signature((1, 28, 28), 2)
        for name, first in ((VIT, "patch_embed.proj"), (CONVNET, "conv_stem")):
            module = build_checked(space, one(name, resolution=64), grey)
            load_start(space, one(name, resolution=64), module)
            weight = module.get_submodule(first).weight
            torch.testing.assert_close(weight, known[name][f"{first}.weight"].sum(dim=1, keepdim=True))

    def test_a_head_for_the_same_classes_is_kept(self, tmp_path: Path) -> None:
        known = write_weights(tmp_path, [CONVNET], classes=2)
        space = zoo(models=CONVNET, weights=str(tmp_path))
        module = build_checked(space, one(CONVNET), COLOUR)
        load_start(space, one(CONVNET), module)
        torch.testing.assert_close(module.get_classifier().weight, known[CONVNET]["classifier.weight"])

    @pytest.mark.parametrize("silenced", [logging.NOTSET, logging.CRITICAL])
    def test_weights_of_another_architecture_are_told(
        self, tmp_path: Path, silenced: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also in a program that has silenced all libraries."""
        monkeypatch.setattr(logging.root.manager, "disable", silenced)
        write_weights(tmp_path, [VIT])
        (tmp_path / f"{VIT}.safetensors").rename(tmp_path / f"{CONVNET}.safetensors")
        space = zoo(models=CONVNET, weights=str(tmp_path))
        with pytest.raises(CandidateError, match=f"the weights of {CONVNET} must be those of its architecture"):
            load_start(space, one(CONVNET), build_checked(space, one(CONVNET), COLOUR))
        assert logging.root.manager.disable == silenced

    def test_files_of_another_architecture_are_told_before_anything_runs(self, tmp_path: Path) -> None:
        """The sentence names a tensor with both shapes."""
        weights = write_weights(tmp_path, [CONVNET])[CONVNET]
        name = next(each for each in weights if each.endswith("conv_dw.weight"))
        save_file(weights | {name: torch.zeros(3, 1, 5, 5)}, tmp_path / f"{CONVNET}.safetensors")
        with pytest.raises(RecipeError, match=rf"{name} is 3×1×5×5 in the file and .*×1×3×3 in the model"):
            check_start(zoo(models=CONVNET, weights=str(tmp_path)))

    def test_whole_numbers_and_nan_are_no_trained_weights(self, tmp_path: Path) -> None:
        """Torch and timm would load both without a word. Values are told when they are read."""
        weights = write_weights(tmp_path, [CONVNET])[CONVNET]
        name, file = "classifier.weight", tmp_path / f"{CONVNET}.safetensors"
        space = zoo(models=CONVNET, weights=str(tmp_path))
        save_file(weights | {name: weights[name].to(torch.int8)}, file)
        with pytest.raises(RecipeError, match=rf"{name} is of int8 in the file and of float32 in the model"):
            check_start(space)
        save_file(weights | {name: torch.full_like(weights[name], float("nan"))}, file)
        with pytest.raises(CandidateError, match=rf"{name} must be finite, but has NaN"):
            load_start(space, one(CONVNET), build_checked(space, one(CONVNET), COLOUR))

    def test_other_names_are_taken_by_their_order_and_told(self, tmp_path: Path) -> None:
        """Also with another resolution, in grey, and with another number of classes than the data have."""
        weights = write_weights(tmp_path / "known", [CONVNET], classes=7)[CONVNET]
        torch.save(
            {f"_{name}".replace("bn", "norm"): each for name, each in weights.items()}, tmp_path / f"{CONVNET}.pth"
        )
        for channels in (3, 1):
            space = TimmZoo((channels, 28, 28), 2, models=CONVNET, resolutions=(64,), weights=str(tmp_path))
            check_start(space)
            (note,) = [note for note in space.notes if "order" in note]
            assert f"the weights of {CONVNET} in {CONVNET}.pth have other names" in note
            module = space.build(one(CONVNET, resolution=64))
            load_start(space, one(CONVNET, resolution=64), module)
            first = weights["conv_stem.weight"]
            wanted = first if channels == 3 else first.sum(dim=1, keepdim=True)
            torch.testing.assert_close(module.state_dict()["conv_stem.weight"], wanted)
            for name, each in module.state_dict().items():
                if not name.startswith(("classifier", "conv_stem")) and each.ndim:
                    torch.testing.assert_close(each, weights[name])

    def test_neither_names_nor_order_fit(self, tmp_path: Path) -> None:
        weights = write_weights(tmp_path / "known", [CONVNET])[CONVNET]
        torch.save({f"_{name}": each for name, each in reversed(weights.items())}, tmp_path / f"{CONVNET}.pth")
        with pytest.raises(
            RecipeError,
            match=r"tensor 1 must be conv_stem\.weight of .*×3×3×3, but is _classifier\.bias of 1000",
        ):
            check_start(zoo(models=CONVNET, weights=str(tmp_path)))

    def test_a_file_for_each_model_is_needed(self, tmp_path: Path) -> None:
        write_weights(tmp_path, [VIT])
        with pytest.raises(RecipeError, match=f"lacks the weights of {CONVNET}. Put a file"):
            check_start(zoo(weights=str(tmp_path)))
        with pytest.raises(RecipeError, match="there is no folder"):
            check_start(zoo(weights=str(tmp_path / "nowhere")))

    def test_a_pickle_that_may_run_code_is_refused(self, tmp_path: Path) -> None:
        """One of tensors alone is taken."""

        class Evil:
            def __reduce__(self) -> Any:
                return (Path.touch, (tmp_path / "ran",))

        (tmp_path / f"{CONVNET}.pth").write_bytes(pickle.dumps(Evil()))
        with pytest.raises(RecipeError, match="weights must be safetensors, or a pickle of tensors alone"):
            check_start(zoo(models=CONVNET, weights=str(tmp_path)))
        assert not (tmp_path / "ran").exists()
        torch.save({"state_dict": write_weights(tmp_path / "other", [CONVNET])[CONVNET]}, tmp_path / f"{CONVNET}.pth")
        space = zoo(models=CONVNET, weights=str(tmp_path))
        check_start(space)
        load_start(space, one(CONVNET), build_checked(space, one(CONVNET), COLOUR))

    def test_a_damaged_file_is_told_before_anything_runs(self, tmp_path: Path) -> None:
        """Nonsense, and a file that breaks off."""
        write_weights(tmp_path, [CONVNET])
        file = tmp_path / f"{CONVNET}.safetensors"
        for content in (b"nothing", file.read_bytes()[:-1]):
            file.write_bytes(content)
            with pytest.raises(RecipeError, match="cannot be read"):
                tensors_in(file, timm_weights.NESTED)
            with pytest.raises(RecipeError, match="cannot be read"):
                check_start(zoo(models=CONVNET, weights=str(tmp_path)))

    def test_files_without_tensors_are_refused(self, tmp_path: Path) -> None:
        """timm would take those of its hub instead."""
        save_file({}, tmp_path / "lcnet_050.safetensors")
        torch.save({"epoch": 3}, tmp_path / "test_vit.pth")
        for model in (SMALL, VIT):
            with pytest.raises(RecipeError, match=r"must be tensors by name, .* holds none"):
                check_start(zoo(models=model, weights=str(tmp_path)))

    def test_without_a_network_the_models_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With where to put their files. From scratch, nothing is needed."""
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(RecipeError, match=f"the weights of {VIT}, {CONVNET} are not on this machine") as found:
            check_start(zoo())
        assert f"called {VIT}.safetensors" in str(found.value)
        check_start(zoo(weights="none"))


class TestKnown:
    """What is known of models beforehand."""

    def test_published_accuracies_are_known(self) -> None:
        assert zoo().known(one(CONVNET)) == {"imagenet_top1": 46.506}
        assert zoo(weights="none").known(one(CONVNET)) == {}
        assert zoo(known="none").known(one(CONVNET)) == {}

    def test_a_table_of_one_s_own_takes_their_place(self, tmp_path: Path) -> None:
        table = tmp_path / "mine.csv"
        table.write_text(f"model,mparams,on_flowers,licence\n{VIT},3,80.5,mit\n{CONVNET},2,,mit\n", encoding="utf-8")
        space = zoo(known=str(table))
        assert space.known(one(VIT)) == {"on_flowers": 80.5}
        assert space.known(one(CONVNET)) == {}
        assert space.known_names == ("on_flowers",)
        table.write_text("model,on_flowers\ntest_vit,80.5\n", encoding="utf-8")
        table = table.rename(tmp_path / "bare.csv")
        assert zoo(known=str(table)).known(one(VIT)) == {"on_flowers": 80.5}
        with pytest.raises(ValueError, match=r"must name some of those that are searched, but .*bare\.csv has none"):
            zoo(models=CONVNET, known=str(table))
        table.with_name("bad.csv").write_text("name,accuracy\na,1\n", encoding="utf-8")
        with pytest.raises(ValueError, match="needs the column 'model'"):
            zoo(known=str(table.with_name("bad.csv")))


def test_ways_of_tuning_are_choices_of_training() -> None:
    """A head alone is fitted, so it has no rate and no decay over layers; others begin from a fitted head."""
    space = zoo()
    found = [sample(space, np.random.default_rng(seed)) for seed in range(40)]
    assert {a["tune"] for a in found} == {"head", "last", "all"}
    deep = ("learning_rate", "fit_head", "layer_decay")
    assert all(("augment" in a) == (a["tune"] == "head") for a in found)
    assert all((name in a) == (a["tune"] != "head") for a in found for name in deep)
    assert {choice.name for choice in space.choices if not choice.is_of_training} == {"model", "features"}


class TestFirst:
    """Which heads are fitted before a sampler proposes anything."""

    def test_few_models_come_at_all_their_resolutions(self, tmp_path: Path) -> None:
        """The cheapest comes first, by published numbers or counted ones."""
        write_weights(tmp_path)
        space = zoo(resolutions=(96, 64), weights=str(tmp_path))
        found = space.first
        assert {(a["model"], a["resolution"]) for a in found} == set(product((VIT, CONVNET), (64, 96)))
        assert all(a["tune"] == "head" and dict(space.canonical(a)) == dict(a) for a in found)
        costs = [space._cost((str(a["model"]), int(a["resolution"]))) for a in found]
        assert costs == sorted(costs)

    @pytest.mark.slow
    def test_of_many_a_spread_that_nothing_cheaper_beats(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(timm_zoo, "check_weights", lambda *_: None)
        space = zoo(models="curated", weights="hub")
        known = [space.known(architecture)["imagenet_top1"] for architecture in space.first]
        assert len(known) == timm_zoo.MOST_FIRST
        assert known == sorted(known)
        assert known[0] < 60 < 85 < known[-1]

    def test_there_are_none_from_scratch_or_without_heads(self) -> None:
        assert zoo(weights="none").first == []
        assert zoo(weights="hub", tune=("all",)).first == []


def test_a_winner_is_built_without_what_only_a_search_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the table of facts nor the folder of weights is there, and no other model is described."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    architecture = one(VIT, resolution=96)
    gone = {"known": "gone.csv", "weights": "gone"}
    options = {"name": "timm", "models": [CONVNET, VIT], "resolutions": [64, 96], **gone}
    module = build_checked(zoo(resolutions=(96,), models=VIT), architecture, COLOUR)
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, tmp_path / "model.safetensors")
    about = {"space": options, "choices": dict(architecture), "signature": COLOUR.to_json()}
    (tmp_path / "architecture.json").write_text(json.dumps(about), encoding="utf-8")
    loaded = Bundle.read(tmp_path).module()
    x = torch.zeros(1, 3, 96, 96)
    torch.testing.assert_close(loaded(x), module.eval()(x))
    assert not [path for path in (tmp_path / "home").rglob("*.json") if CONVNET in path.name]


def test_a_space_can_be_sent_to_workers(tmp_path: Path) -> None:
    write_weights(tmp_path, [CONVNET])
    sent = pickle.loads(pickle.dumps(zoo(models=CONVNET, weights=str(tmp_path))))
    module = build_checked(sent, one(CONVNET), COLOUR)
    load_start(sent, one(CONVNET), module)
    save_file({"weight": module.get_classifier().weight.detach().clone()}, tmp_path / "head.safetensors")
