"""The fast engine: loss and gradients of a frozen Llama-like decoder with LoRA, forward and backward written out.

What it saves over the model's own forward under autograd: no padding and no shared beginning is computed twice
(`packing`), adapters ride in the base products (`kernels.Projection`), logits exist only where a label is and only for
a moment, the last layer's second half runs only where a label is, and nothing below the first adapter is derived.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from identity_kit.models.device import has_tiles
from identity_kit.models.eight import EightBit, multiplies_in_eight
from identity_kit.models.memory import forget_files
from identity_kit.train.anchors import WEIGHT, divergence
from identity_kit.train.kernels import (
    Attention,
    Projection,
    norm,
    norm_backward,
    rotate,
    scaled,
    swiglu,
    swiglu_backward,
)
from identity_kit.train.margin import Learnt, behind
from identity_kit.train.memory import room_left
from identity_kit.train.packing import Pack, pack, split
from identity_kit.train.recipe import Recipe
from identity_kit.train.tokens import Row

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
_FEW = 128  # up to so many labels, AMX multiplies the head faster sideways, as `Projection` does
_SHORT = 220  # tokens below which AMX multiplies backwards faster by weights kept transposed
# Likelihood below which an entry of the vocabulary has no part in the gradient where products are in 8 bits: about a tenth of
# the entries are above it, and the others hold half a percent together.
_FAINT = 1e-5
_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def unfit(model: Any, recipe: Recipe) -> str | None:
    """Why the fast engine cannot train this model by this recipe; None if it can."""
    if not recipe.is_lora or recipe.stage == "dpo":
        return f"method {recipe.method}, stage {recipe.stage}"
    if recipe.dora or recipe.dropout or recipe.neftune_alpha or recipe.chat_template == "chatml":
        return "dora, dropout, neftune_alpha or chat_template"
    if recipe.method == "qlora" and recipe.quantization == "int8":
        return "int8"
    base = model.get_base_model()
    config = base.config
    if config.model_type not in FAMILIES:
        return f"architecture {config.model_type}"
    if getattr(config, "hidden_act", "") != "silu" or getattr(config, "mlp_bias", False):
        return "activation or bias"
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return "sliding window"
    if config.model_type == "mistral" and getattr(config, "sliding_window", None):
        return "sliding window"
    adapted = {name.split(".lora_A")[0].rsplit(".", 1)[-1] for name, _ in model.named_parameters() if ".lora_A" in name}
    if not adapted <= set(_LINEARS):
        return f"adapters on {', '.join(sorted(adapted - set(_LINEARS)))}"
    return None


def in_eight(recipe: Recipe, device: torch.device) -> bool:
    """Whether frozen weights are multiplied in 8 bits."""
    return recipe.int8_products and device.type == "cpu" and multiplies_in_eight()


def keeps_transposed(device: torch.device, dtype: torch.dtype, recipe: Recipe, typical: float) -> bool:
    """Whether the feed-forward weights are kept a second time, transposed, for steps of so many tokens as a rule."""
    return _sideways(device, dtype) and not in_eight(recipe, device) and typical < _SHORT


def _sideways(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type == "cpu" and dtype is torch.bfloat16 and has_tiles()


def gates_kept(tokens: int) -> float:
    """The share of the layers that keep their gates, the widest of the activations, on a CPU; the others make them again.

    Making them again takes a twentieth of the time; only a row longer than what is held at once would keep too much.
    """
    return min(1.0, tokens_held(torch.device("cpu")) / tokens)


def tokens_held(device: torch.device) -> int:
    """Tokens whose activations are held at once; a longer row is held all the same."""
    return 4096 if device.type == "cuda" else 512


def labels_held(device: torch.device) -> int:
    """Labels whose logits exist at once, at most."""
    return 256 if device.type == "cuda" else 96


class FastEngine:
    """Computes the loss of rows and adds its gradients to the adapters' `.grad`."""

    def __init__(self, model: Any, recipe: Recipe, dtype: torch.dtype, *, typical: float) -> None:
        """`typical` is how many tokens a micro-batch has as a rule."""
        base = model.get_base_model()
        self.decoder, self.head = base.model, base.get_output_embeddings()
        self.device = self.decoder.embed_tokens.weight.device
        self.dtype = dtype
        self.recompute = recipe.gradient_checkpointing
        self.margin, self.learnt = recipe.margin, Learnt()
        self.anchors = bool(recipe.anchors_taken)
        eight = in_eight(recipe, self.device)
        self.sideways = _sideways(self.device, dtype) and not eight
        self.head_eight = EightBit(self.head.weight) if eight else None
        twice = keeps_transposed(self.device, dtype, recipe, typical)
        self.layers = []
        for layer in self.decoder.layers:
            weights = [parameter.data for parameter in layer.parameters()]
            self.layers.append(_Layer(layer, base.config, dtype, eight=eight, sideways=self.sideways, twice=twice))
            forget_files(weights)
        adapted = [i for i, layer in enumerate(self.layers) if layer.adapted]
        self.first = adapted[0] if adapted else len(self.layers)
        self.each, self.fixed = self._needs()

    def refresh(self) -> None:
        """Take over the adapters' present values."""
        for layer in self.layers:
            layer.refresh()

    @torch.no_grad()
    def accumulate(self, rows: Sequence[Row], scale: float) -> torch.Tensor:
        """The sum of cross-entropies over the labels of `rows` (a scalar tensor, fp32); adds its gradient × `scale`."""
        total = torch.zeros((), dtype=torch.float32, device=self.device)
        room, held = room_left(self.device), tokens_held(self.device)
        if room is not None:
            held = min(held, max(1, (room - self.fixed) // self.each))
        for anchor in (False, True):
            for group in split([row for row in rows if row.anchor == anchor], held):
                batch = pack(group, self.device)
                total += self._group(batch, scale, room, base=self._base_states(batch) if anchor else None)
        return total

    def _base_states(self, batch: Pack) -> torch.Tensor:
        """What the base model's head reads at the predicting nodes (w, d)."""
        projections = [projection for layer in self.layers for projection in layer.projections]
        for projection in projections:
            projection.off = True
        h = F.embedding(batch.ids, self.decoder.embed_tokens.weight)
        angles = self._angles(batch, h)
        for layer in self.layers:
            h, _ = layer.forward(h, batch, angles, batch.where if layer is self.layers[-1] else None)
        for projection in projections:
            projection.off = False
        norm(h, self.decoder.norm.weight, self.decoder.norm.variance_epsilon, out := torch.empty_like(h))
        return out

    def _needs(self) -> tuple[int, int]:
        """Bytes that each token of a step on a GPU takes, without gates, and those that the step takes besides."""
        layer, size = self.layers[-1], self.dtype.itemsize
        d, wide, qkv = layer.qkv.inputs, layer.gate_up.outputs, layer.qkv.outputs
        kept = 3 * d + 2 * qkv
        layers = len(self.layers) - self.first
        every = (layers * d + kept if self.recompute else layers * kept) + 4 * wide
        logits = (3 if self.anchors else 2) * labels_held(self.device) * self.head.weight.shape[0]
        return every * size, max(logits, *(p.unpacked for p in layer.projections)) * size

    def _group(self, batch: Pack, scale: float, room: int | None, *, base: torch.Tensor | None) -> torch.Tensor:
        h = F.embedding(batch.ids, self.decoder.embed_tokens.weight)
        angles = self._angles(batch, h)
        last = len(self.layers) - 1
        share = self._gates_kept(len(h), room)
        kept: list[Any] = []
        for i, layer in enumerate(self.layers):
            where = batch.where if i == last else None
            entry = h
            h, saved = layer.forward(h, batch, angles, where)
            at = i - self.first
            if int((at + 1) * share) == int(at * share):
                saved.gate_up = None
            kept.append((entry, saved if i >= self.first and not self.recompute else None))
            del saved
        loss, dh = self._loss(h, batch, scale, base)
        for i in range(last, self.first - 1, -1):
            entry, saved = kept.pop()
            where = batch.where if i == last else None
            if saved is None:
                _, saved = self.layers[i].forward(entry, batch, angles, where)
            dh = self.layers[i].backward(dh, entry, saved, batch, angles, where, needs_input=i > self.first)
            del saved
        return loss

    def _gates_kept(self, tokens: int, room: int | None) -> float:
        """The share of the layers that keep their gates: on a GPU, as many as it has room for."""
        if room is None:
            return gates_kept(tokens)
        layers = len(self.layers) - self.first
        gates = layers * self.layers[-1].gate_up.outputs * self.dtype.itemsize * tokens
        return min(1.0, max(0.0, (room - self.fixed - self.each * tokens) / gates)) if gates else 1.0

    def _angles(self, batch: Pack, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cos, sin = self.decoder.rotary_emb(h[None], batch.positions[None])
        half = cos.shape[-1] // 2
        return cos[0, :, None, :half].contiguous(), sin[0, :, None, :half].contiguous()

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        """(n, vocabulary) of (n, d)."""
        if self.head_eight is not None:
            return self.head_eight(x, self.head.bias)
        if self.sideways and len(x) <= _FEW and self.head.bias is None:
            return torch.mm(self.head.weight, x.t()).t().contiguous()
        return F.linear(x, self.head.weight, self.head.bias)

    def _loss(
        self, h: torch.Tensor, batch: Pack, scale: float, base: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted loss of the hidden states h (w, d) at the predicting nodes, and h's gradient.

        Given what the base model's head reads there (w, d), the loss is how far the prediction is from the base's.
        """
        final = self.decoder.norm
        normed = torch.empty_like(h)
        r = norm(h, final.weight, final.variance_epsilon, normed)
        gradient = torch.empty_like(normed)
        total = torch.zeros((), dtype=torch.float32, device=h.device)
        weight = batch.target_weight.float()
        whole = torch.zeros(len(h), device=h.device).index_add_(0, batch.target_at, weight)
        turns = max(1, math.ceil(len(h) / labels_held(self.device)))
        size = max(1, math.ceil(len(h) / turns))
        for start in range(0, len(h), size):
            end = min(start + size, len(h))
            here = slice(batch.starts[start], batch.starts[end])
            row, label, share = batch.target_at[here] - start, batch.target[here], weight[here]
            p = self._logits(normed[start:end])
            p = torch.softmax(p, dim=1, out=p if p.device.type == "cpu" else None)
            if base is not None:
                q = torch.softmax(self._logits(base[start:end]), dim=1)
                share = WEIGHT * whole[start:end]
                total += (share * divergence(q, p)).sum()
                entries = self._entries(p, base=q)
                p.sub_(q).mul_(share[:, None].to(p.dtype))
                self._read_back(p, entries, gradient[start:end])
                continue
            entries = self._entries(p, labels=label)
            picked = p[row, label].float()
            total -= (share * picked.clamp_min(torch.finfo(torch.float32).tiny).log()).sum()
            if self.margin is not None:
                share = self.learnt.add(share, behind(p, row, label, self.margin))
                whole[start:end] = torch.zeros(end - start, device=h.device).index_add_(0, row, share)
            if batch.shared or self.margin is not None:
                p.mul_(whole[start:end, None].to(p.dtype))
            p.index_put_((row, label), p[row, label] - share.to(p.dtype))  # each (row, label) is there once
            self._read_back(p, entries, gradient[start:end])
        gradient.mul_(scale)
        return total, norm_backward(gradient, h, final.weight, r)

    def _entries(
        self, p: torch.Tensor, *, base: torch.Tensor | None = None, labels: torch.Tensor | None = None
    ) -> torch.Tensor | None:
        """Of the vocabulary, the entries that the gradient is taken through (entries,); None for all.

        Where products are in 8 bits: those to which any row of p or `base` (rows, vocabulary) gives some likelihood, and
        the labels.
        """
        if self.head_eight is None:
            return None
        likely = p.amax(0)
        if base is not None:
            likely = torch.maximum(likely, base.amax(0))
        if labels is not None:
            likely[labels] = 1
        return (likely > _FAINT).nonzero()[:, 0]

    def _read_back(self, dlogits: torch.Tensor, entries: torch.Tensor | None, out: torch.Tensor) -> None:
        """Into `out`, the gradient (n, d) of what the head reads, from that of the logits (n, vocabulary) at `entries`."""
        if entries is None:
            torch.mm(dlogits, self.head.weight, out=out)
        else:
            torch.mm(dlogits.index_select(1, entries), self.head.weight.index_select(0, entries), out=out)


@dataclass
class _Saved:
    """What a layer's backward pass needs of its forward pass.

    The inputs of the projections (norms, what attention mixed, the gated product) are made again from it, which takes
    little time; kept is what the adapters' A made of them: low1 of qkv, low0 of o, low2 of gate and up, low3 of down.
    `context`, the input of o, is kept where attention does not keep its output itself. `gate_up` is None where it is made
    again too.
    """

    low1: torch.Tensor
    r1: torch.Tensor
    qkv: torch.Tensor | None
    attention: Attention
    context: torch.Tensor | None
    low0: torch.Tensor
    middle: torch.Tensor
    low2: torch.Tensor
    r2: torch.Tensor
    gate_up: torch.Tensor | None
    low3: torch.Tensor


class _Layer:
    """One decoder layer: norm, attention, norm, gated feed-forward, each added to the stream h (T, d)."""

    def __init__(
        self, layer: Any, config: Any, dtype: torch.dtype, *, eight: bool, sideways: bool, twice: bool
    ) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.norm1, self.norm2 = layer.input_layernorm, layer.post_attention_layernorm
        how: dict[str, Any] = {"eight": eight, "sideways": sideways}
        self.qkv = Projection([attention.q_proj, attention.k_proj, attention.v_proj], dtype, **how)
        self.o = Projection([attention.o_proj], dtype, **how)
        self.gate_up = Projection([mlp.gate_proj, mlp.up_proj], dtype, tall_output=True, twice=twice, **how)
        self.down = Projection([mlp.down_proj], dtype, tall_input=True, twice=twice, **how)
        self.q_norm: Any = getattr(attention, "q_norm", None)
        self.k_norm: Any = getattr(attention, "k_norm", None)
        self.size = attention.head_dim
        self.q_width, self.kv_width = self.qkv.members[0].width, self.qkv.members[1].width
        self.heads = self.q_width // self.size
        self.scaling = attention.scaling

    @property
    def projections(self) -> tuple[Projection, ...]:
        return self.qkv, self.o, self.gate_up, self.down

    @property
    def adapted(self) -> bool:
        return any(projection.adapted for projection in self.projections)

    def refresh(self) -> None:
        for projection in self.projections:
            projection.refresh()

    def forward(
        self, h: torch.Tensor, batch: Pack, angles: tuple[torch.Tensor, torch.Tensor], where: torch.Tensor | None
    ) -> tuple[torch.Tensor, _Saved]:
        """The stream after this layer (T, d), or at the nodes `where` alone, and what backward needs."""
        x1 = self.qkv.room(len(h))
        r1 = norm(h, self.norm1.weight, self.norm1.variance_epsilon, x1[:, : self.qkv.inputs])
        qkv = self.qkv.forward(x1)
        attention = self._attend(qkv, batch, angles)
        owner = self._owner(batch, where)
        context = self.o.room(len(owner))
        context[:, : self.o.inputs] = _rows(attention.take(), owner)
        middle = self.o.forward(context).add_(h if where is None else h[where])
        x2 = self.gate_up.room(len(middle))
        r2 = norm(middle, self.norm2.weight, self.norm2.variance_epsilon, x2[:, : self.gate_up.inputs])
        gate_up = self.gate_up.forward(x2)
        down = self.down.room(len(middle))
        swiglu(gate_up, down[:, : self.down.inputs])
        out = self.down.forward(down).add_(middle)
        saved = _Saved(
            low1=self.qkv.low(x1), r1=r1, qkv=qkv if self.q_norm is not None else None, attention=attention,
            context=context if attention.written_out else None, low0=self.o.low(context), middle=middle, low2=self.gate_up.low(x2), r2=r2, gate_up=gate_up, low3=self.down.low(down),
        )  # fmt: skip
        return out, saved

    def backward(
        self,
        dh: torch.Tensor,
        h: torch.Tensor,
        saved: _Saved,
        batch: Pack,
        angles: tuple[torch.Tensor, torch.Tensor],
        where: torch.Tensor | None,
        *,
        needs_input: bool,
    ) -> torch.Tensor:
        """Add to the adapters' gradients; the gradient of h (T, d) from that of the output."""
        x2 = self.gate_up.room_with(saved.low2)
        scaled(saved.middle, saved.r2, self.norm2.weight, x2[:, : self.gate_up.inputs])
        gate_up = self.gate_up.forward(x2) if saved.gate_up is None else saved.gate_up
        down = self.down.room_with(saved.low3)
        swiglu(gate_up, down[:, : self.down.inputs])
        dact = self.down.backward(down, self._filled(self.down, dh))
        del down
        dgu = self.gate_up.gradient_room(len(dh))
        swiglu_backward(dact, gate_up, dgu[:, : self.gate_up.outputs])  # type: ignore[arg-type]
        del gate_up
        dx2 = self.gate_up.backward(x2, dgu)
        del x2, dgu
        dmiddle = norm_backward(dx2, saved.middle, self.norm2.weight, saved.r2, dh)  # type: ignore[arg-type]
        context = saved.context
        if context is None:
            context = self.o.room_with(saved.low0)
            context[:, : self.o.inputs] = _rows(saved.attention.out, self._owner(batch, where))
        dcontext = self.o.backward(context, self._filled(self.o, dmiddle))
        dqkv = self._attend_backward(dcontext, saved, batch, angles, where)  # type: ignore[arg-type]
        x1 = self.qkv.room_with(saved.low1)
        scaled(h, saved.r1, self.norm1.weight, x1[:, : self.qkv.inputs])
        dx1 = self.qkv.backward(x1, dqkv, needs_input=needs_input)
        if dx1 is None:
            return dmiddle
        d = norm_backward(dx1, h, self.norm1.weight, saved.r1, dmiddle if where is None else None)
        return d if where is None else d.index_add_(0, where, dmiddle)

    def _filled(self, projection: Projection, dy: torch.Tensor) -> torch.Tensor:
        room = projection.gradient_room(len(dy))
        room[:, : projection.outputs] = dy
        return room

    def _owner(self, batch: Pack, where: torch.Tensor | None) -> torch.Tensor:
        """Where the heads of each node stand among those of the rows (T, heads), or of the nodes `where` alone."""
        owner = batch.owners(self.heads)
        return owner if where is None else owner[where]

    def _heads(self, qkv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        q, k, v = qkv.split([self.q_width, self.kv_width, self.kv_width], dim=1)
        return q.view(len(q), -1, self.size), k.view(len(k), -1, self.size), v.view(len(v), -1, self.size)

    def _attend(self, qkv: torch.Tensor, batch: Pack, angles: tuple[torch.Tensor, torch.Tensor]) -> Attention:
        """Attention of the packed nodes, spread over their rows: (rows, heads, longest, e)."""
        q, k, v = self._heads(qkv)
        if self.q_norm is not None:
            q, k = _head_norm(q, self.q_norm)[0], _head_norm(k, self.k_norm)[0]
        rows, longest = batch.path.shape

        def spread(x: torch.Tensor) -> torch.Tensor:
            places = batch.places(x.shape[1])
            return x.reshape(-1, self.size).index_select(0, places).view(rows, x.shape[1], longest, self.size)

        return Attention(spread(rotate(q, *angles)), spread(rotate(k, *angles)), spread(v), self.scaling)

    def _attend_backward(
        self,
        dcontext: torch.Tensor,
        saved: _Saved,
        batch: Pack,
        angles: tuple[torch.Tensor, torch.Tensor],
        where: torch.Tensor | None,
    ) -> torch.Tensor:
        """The gradient buffer of qkv (T, N + R), its first N columns filled."""
        owner = batch.owners(self.heads)
        shape = saved.attention.q.shape
        dmixed = dcontext.new_zeros(shape.numel() // self.size, self.size)
        dmixed.index_copy_(0, self._owner(batch, where).reshape(-1), dcontext.view(-1, self.size))
        grads = saved.attention.backward(dmixed.view(shape))
        # A shared node's queries count once, at its owner; its keys and values gather from every row.
        dq = _rows(grads[0], owner).view(len(owner), -1, self.size)
        dk, dv = (self._gather(g, batch) for g in grads[1:])
        cos, sin = angles
        dq, dk = rotate(dq, cos, -sin), rotate(dk, cos, -sin)
        if self.q_norm is not None:
            q_raw, k_raw, _ = self._heads(saved.qkv)  # type: ignore[arg-type]
            dq = norm_backward(dq, q_raw, self.q_norm.weight, _head_norm(q_raw, self.q_norm)[1])
            dk = norm_backward(dk, k_raw, self.k_norm.weight, _head_norm(k_raw, self.k_norm)[1])
        out = self.qkv.gradient_room(len(dq))
        q_end, k_end = self.q_width, self.q_width + self.kv_width
        out[:, :q_end], out[:, q_end:k_end], out[:, k_end : self.qkv.outputs] = (x.flatten(1) for x in (dq, dk, dv))
        return out

    def _gather(self, g: torch.Tensor, batch: Pack) -> torch.Tensor:
        """Key or value gradients of the nodes (T, groups, e) from those of the rows (rows, groups, longest, e)."""
        groups = g.shape[1]
        if not batch.shared:
            return _rows(g, batch.owners(groups)).view(-1, groups, self.size)
        total = torch.zeros(len(batch.ids) * groups, self.size, dtype=torch.float32, device=g.device)
        total.index_add_(0, batch.places(groups), g.reshape(-1, self.size).float())
        return total.to(g.dtype).view(-1, groups, self.size)


def _rows(x: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """From (rows, heads, longest, e), what stands at `owner` (n, heads): (n, heads × e)."""
    return x.reshape(-1, x.shape[-1]).index_select(0, owner.reshape(-1)).view(len(owner), -1)


def _head_norm(x: torch.Tensor, module: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Qwen3's norm of each head's query or key, and 1/rms."""
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    r = norm(x, module.weight, module.variance_epsilon, out)
    return out, r
