"""The search for z written out plainly: one edit at a time, whole forward passes, all logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rayci.data.records import EditRecord
from rayci.interventions.editing.value_search import Search
from rayci.subject import Subject


def last_subject_token(subject: Subject, text: str, name: str) -> int:
    """Position of the last token that the text shares with its beginning up to the subject's end."""
    whole = subject.tokenizer(text)["input_ids"]
    upto = subject.tokenizer(text[: text.rindex(name) + len(name)])["input_ids"]
    assert whole[: len(upto)] == upto
    return len(upto) - 1


def one_z(subject: Subject, layer: int, edit: EditRecord, templates: Sequence[str], search: Search) -> Tensor:
    """z of one edit, `[hidden]`."""
    tokenizer, model = subject.tokenizer, subject.model
    target = tokenizer(" " + edit.target_new, add_special_tokens=False)["input_ids"]
    texts = [template.format(edit.prompt) for template in templates] + [f"{edit.subject} is a"]
    lookups = [last_subject_token(subject, text, edit.subject) for text in texts]
    rows = [tokenizer(text)["input_ids"] for text in texts]
    starts = [len(row) for row in rows[:-1]]
    rows = [row + target for row in rows[:-1]] + rows[-1:]
    width = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    delta = torch.zeros(int(model.config.hidden_size), requires_grad=True)
    seen: dict[str, Tensor] = {}

    def insert(_module: Any, _args: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        seen.setdefault("h0", hidden[0, lookups[0]].detach().clone())
        for row, position in enumerate(lookups):
            hidden[row, position] = hidden[row, position] + delta
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    optimizer = torch.optim.Adam([delta], lr=search.lr)
    handle = subject.block(layer).register_forward_hook(insert)
    try:
        for turn in range(search.passes):
            log_probs = torch.log_softmax(model(input_ids=ids, attention_mask=mask).logits, dim=-1)
            essence = log_probs[-1, lookups[-1]]
            base = seen.setdefault("base", essence.detach().clone())
            nll = [
                -torch.stack([log_probs[row, start - 1 + i, token] for i, token in enumerate(target)]).mean()
                for row, start in enumerate(starts)
            ]
            h0 = seen["h0"]
            kl = _KL[search.kl](base, essence)
            loss = torch.stack(nll).mean() + search.kl_factor * kl + search.weight_decay * delta.norm() / h0.norm() ** 2
            if loss < search.stop_loss or turn == search.passes - 1:
                break
            (delta.grad,) = torch.autograd.grad(loss, delta)
            optimizer.step()
            with torch.no_grad():
                if delta.norm() > search.clamp * h0.norm():
                    delta.mul_(search.clamp * h0.norm() / delta.norm())
    finally:
        handle.remove()
    return (seen["h0"] + delta).detach()


_KL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "edited_to_base": lambda base, edited: F.kl_div(base, edited, log_target=True, reduction="sum"),
    "base_to_edited": lambda base, edited: F.kl_div(edited, base, log_target=True, reduction="sum"),
}
"""torch's arguments are the other way round: `kl_div(a, b)` is KL(b ‖ a)."""
