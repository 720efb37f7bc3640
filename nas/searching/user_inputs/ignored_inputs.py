"""Finding models that ignore one of several inputs, which is told before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nas.errors import CandidateError, raised_text
from nas.progress import Progress
from nas.space.architecture import Architecture
from nas.space.first_look import FirstLook
from nas.space.own_code import own_code
from nas.space.parts.own_inputs import signature_of
from nas.space.search_space import SearchSpace, ends
from nas.space.signature import Signature
from nas.space.torch_settings import torch_with
from nas.space.tracing import build_checked, random_inputs

ITEMS = 4


def tell_ignored(space: SearchSpace, look: FirstLook, signature: Signature, progress: Progress) -> None:
    """Say if the smallest or the largest architecture ignores an input.

    ``look`` builds them first, where a user's code can do no harm. What cannot be built is left to the search.
    """
    if len(signature.inputs) < 2:
        return
    found: dict[str, str] = {}
    for architecture in dict.fromkeys(ends(space)):
        try:
            look.check_build(architecture)
            names = _ignored(space, architecture, signature)
        except CandidateError:
            continue
        for name in names:
            found.setdefault(name, architecture.short)
    for name, short in found.items():
        progress.say(f"models such as {short} ignore the input {name!r}: it changes none of their outputs")


def _ignored(space: SearchSpace, architecture: Architecture, signature: Signature) -> Sequence[str]:
    """Return the inputs that change no output of an untrained model, unless all of them do so."""
    try:
        with torch_with(1, seed=0), own_code(), torch.inference_mode():
            module = build_checked(space, architecture, signature).eval()
            types = signature_of(space, architecture, signature).inputs
            one, other = random_inputs(types, ITEMS), random_inputs(types, ITEMS)
            before = module(*one)
            same = [
                bool(torch.equal(before, module(*(*one[:place], other[place], *one[place + 1 :]))))
                for place in range(len(types))
            ]
    except CandidateError:
        raise
    except Exception as error:
        raise CandidateError("build", f"forward raised {raised_text(error)}") from error
    return [] if all(same) else [each.name for each, is_same in zip(types, same, strict=True) if is_same]
