"""The pieces of a decoder layer with their backward passes written out, so that nothing is computed or kept twice.

Shapes: T tokens, d width, K a projection's input width, N its output width, R the ranks of its adapters together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from identity_kit.models import fused
from identity_kit.models.eight import EightBit, Share, Thin


@dataclass
class _Member:
    """One linear of a projection: its rows N, and its adapter's place among the R columns."""

    module: Any
    start: int
    width: int
    a: Any = None
    b: Any = None
    scale: float = 0.0
    column: int = 0
    up: Thin | None = None

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.width)

    @property
    def columns(self) -> slice:
        rank = self.a.shape[0] if self.a is not None else 0
        return slice(self.column, self.column + rank)


class Projection:
    """Linears that read the same input, adapters included, as one matrix product each way.

    The frozen weights W (N, K), the adapters' A (R, K) and their scaled B (N, R, one block a linear) lie in one matrix

        [ W  sB ]
        [ A   0 ]

    Forward, `[x | xAᵀ]` times its upper rows gives the output with the adapters' share in it; backward, `[dy | dy·sB]`
    times its left columns gives the input's gradient. So LoRA costs no pass over the output of its own, and W is kept
    once. On a GPU 4-bit weights stay packed, and are unpacked for each product. Products in 8 bits leave the adapters,
    which are small beside the weights, to one of their own.

    Args:
        eight: multiply by W in 8 bits, both ways.
        sideways: multiply W by xᵀ, not x by Wᵀ: with AMX that is faster for few rows.
        tall_input, tall_output: whether the buffer of that side then lies column by column.
        twice: keep the weights transposed as well: with AMX, few rows are multiplied backwards faster by them.
    """

    def __init__(
        self,
        linears: list[Any],
        dtype: torch.dtype,
        *,
        eight: bool = False,
        sideways: bool = False,
        tall_input: bool = False,
        tall_output: bool = False,
        twice: bool = False,
    ) -> None:
        self.sideways = sideways
        self.tall_input, self.tall_output = sideways and tall_input, sideways and tall_output
        self.members: list[_Member] = []
        start = column = 0
        for linear in linears:
            base = getattr(linear, "base_layer", linear)
            member = _Member(base, start, base.out_features)
            if base is not linear:
                member.a = linear.lora_A["default"].weight
                member.b = linear.lora_B["default"].weight
                member.scale = float(linear.scaling["default"])
                member.column = column
                column += member.a.shape[0]
            self.members.append(member)
            start += member.width
        first = self.members[0].module
        self.inputs, self.outputs, self.ranks = first.in_features, start, column
        self.adapted = [member for member in self.members if member.a is not None]
        packed = hasattr(first.weight, "quant_state")
        device = first.weight.device
        self.quantised = packed and device.type != "cpu"  # a CPU unpacks slowly: there, once for all
        self.eight: tuple[EightBit, EightBit] | None = None
        if eight and not self.quantised:
            parts = [_unpacked(m.module, dtype) if packed else m.module.weight.data for m in self.members]
            self.eight = EightBit(torch.cat(parts)), EightBit(torch.cat(parts).t())
        if self.quantised or self.eight is not None:
            self.matrix = torch.zeros(0, dtype=dtype, device=device)
            self.a = torch.zeros(self.ranks, self.inputs, dtype=dtype, device=device)
            self.sb = torch.zeros(self.outputs, self.ranks, dtype=dtype, device=device)
        else:
            rows, columns = self.outputs + self.ranks, self.inputs + self.ranks
            self.matrix = torch.zeros(rows, columns, dtype=dtype, device=device)
            for member in self.members:
                place = self.matrix[member.rows, : self.inputs]
                if packed:
                    place.copy_(_unpacked(member.module, dtype))
                    continue
                place.copy_(member.module.weight.data)
                member.module.weight.data = place  # the model goes on seeing its weights, and they are kept once
            self.a = self.matrix[self.outputs :, : self.inputs]
            self.sb = self.matrix[: self.outputs, self.inputs :]
        self.thin: Thin | None = None  # A; where products are in 8 bits, adapters are added on the way out of them
        if self.eight is not None and self.ranks:
            self.thin = Thin(self.a)
            for member in self.adapted:
                member.up = Thin(self.sb[member.rows, member.columns].t())
        self.off = False  # while it is, the output is that of the base model
        self.back: torch.Tensor | None = None
        if twice and not self.quantised and self.eight is None:
            self.back = self.matrix[:, : self.inputs].t().contiguous()
        biases = [member.module.bias for member in self.members]
        self.bias = None
        if any(bias is not None for bias in biases):
            parts = [
                torch.zeros(m.width, device=device) if m.module.bias is None else m.module.bias for m in self.members
            ]
            self.bias = torch.cat([part.detach().to(dtype) for part in parts])
        self.refresh()

    @property
    def unpacked(self) -> int:
        """Weights of the largest linear that a product unpacks; 0 where none are packed."""
        return max(member.width for member in self.members) * self.inputs if self.quantised else 0

    def refresh(self) -> None:
        """Take over the adapters' present values."""
        for member in self.adapted:
            self.a[member.columns].copy_(member.a.data)
            torch.mul(member.b.data, member.scale, out=self.sb[member.rows, member.columns])
        if self.back is not None:
            self.back[:, self.outputs :].copy_(self.a.t())
        for thin in (self.thin, *(member.up for member in self.adapted)):
            if thin is not None:
                thin.refresh()

    def room(self, tokens: int) -> torch.Tensor:
        """An input buffer (T, K + R), whose first K columns the caller fills."""
        return self._buffer(tokens, self.inputs + self.ranks, self.tall_input)

    def low(self, x: torch.Tensor) -> torch.Tensor:
        """What `forward` put into the last columns of the input buffer x: xAᵀ (T, R), without the rest of x."""
        return x[:, self.inputs :].clone(memory_format=torch.contiguous_format)

    def room_with(self, low: torch.Tensor) -> torch.Tensor:
        """An input buffer (T, K + R) that has its last columns already, as `low` kept them."""
        room = self.room(len(low))
        room[:, self.inputs :] = low
        return room

    def gradient_room(self, tokens: int) -> torch.Tensor:
        """An output gradient buffer (T, N + R), whose first N columns the caller fills."""
        return self._buffer(tokens, self.outputs + self.ranks, self.tall_output)

    def _buffer(self, tokens: int, width: int, tall: bool) -> torch.Tensor:
        shape = (width, tokens) if tall else (tokens, width)
        buffer = torch.empty(shape, dtype=self.a.dtype, device=self.a.device)
        return buffer.t() if tall else buffer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output (T, N) for an input buffer, whose last R columns are filled here."""
        plain, low = x[:, : self.inputs], x[:, self.inputs :]
        if self.off:
            low.zero_()
        elif self.ranks:
            low.copy_(plain @ self.a.t())
        if self.eight is not None:
            shares = (
                [Share(m.rows, low[:, m.columns], m.up) for m in self.members] if self.ranks and not self.off else []
            )
            return self.eight[0](plain, self.bias, shares)
        if self.quantised:
            y = torch.empty(len(x), self.outputs, dtype=x.dtype, device=x.device)
            for member in self.members:
                torch.mm(plain, _unpacked(member.module, x.dtype).t(), out=y[:, member.rows])
            if self.ranks:
                y.addmm_(low, self.sb.t())
        elif self.sideways:
            y = torch.mm(self.matrix[: self.outputs], x.t()).t()
        else:
            y = x @ self.matrix[: self.outputs].t()
        if self.bias is not None:
            y.add_(self.bias)
        return y if self.tall_output else y.contiguous()

    def backward(self, x: torch.Tensor, dy: torch.Tensor, *, needs_input: bool = True) -> torch.Tensor | None:
        """Add to the adapters' gradients; the input's gradient (T, K), or None if it is not needed.

        Args:
            x: the input buffer as `forward` left it.
            dy: a gradient buffer, whose last R columns are filled here.
        """
        plain, low = x[:, : self.inputs], x[:, self.inputs :]
        out = dy[:, : self.outputs]
        if self.ranks:
            dy[:, self.outputs :] = out @ self.sb
            ga = dy[:, self.outputs :].t() @ plain  # all adapters in one product, which is faster than in several
        for member in self.adapted:
            member.a.grad.add_(ga[member.columns])
            member.b.grad.add_(_gradient_of_b(out[:, member.rows], low[:, member.columns]), alpha=member.scale)
        if not needs_input:
            return None
        if self.eight is not None:
            return self.eight[1](
                out, None, [Share(slice(None), dy[:, self.outputs :], self.thin)] if self.ranks else []
            )
        if self.back is not None:
            dx = torch.mm(self.back, dy.t()).t()
            return dx if self.tall_input else dx.contiguous()
        if not self.quantised:
            return dy @ self.matrix[:, : self.inputs]
        dx = dy[:, self.outputs :] @ self.a
        for member in self.members:
            dx.addmm_(out[:, member.rows], _unpacked(member.module, x.dtype))
        return dx


def _gradient_of_b(dy: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """dyᵀu (N, R), by whichever product suits how dy (T, N) lies in memory."""
    return dy.t() @ u if dy.stride(0) == 1 else (u.t() @ dy).t()


def _unpacked(module: Any, dtype: torch.dtype) -> torch.Tensor:
    """A 4-bit linear's weight (out, in) in `dtype`."""
    import bitsandbytes.functional as bnb

    return bnb.dequantize_4bit(module.weight.data, module.weight.quant_state).to(dtype)


def norm(h: torch.Tensor, weight: torch.Tensor, eps: float, out: torch.Tensor) -> torch.Tensor:
    """RMS norm of h (…, d) into `out`; returns 1/rms (…, 1), fp32."""
    if h.dim() == 2 and fused.fits(out, weight) and fused.fit_whole(h):
        return fused.norm(h, weight, eps, out)
    wide = h.float()
    r = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
    scaled(wide, r, weight, out)
    return r


def scaled(h: torch.Tensor, r: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> None:
    """RMS norm of h (…, d) with 1/rms r (…, 1) known, into `out`."""
    if h.dim() == 2 and fused.fits(out, weight) and fused.fit_whole(h):
        fused.scaled(h, r, weight, out)
        return
    torch.mul((h.float() * r).to(out.dtype), weight, out=out)


def norm_backward(
    dy: torch.Tensor, h: torch.Tensor, weight: torch.Tensor, r: torch.Tensor, more: torch.Tensor | None = None
) -> torch.Tensor:
    """The gradient of h from that of `norm`'s output, in h's type: r·(g − x̂·mean(g·x̂)), g = dy·w, x̂ = h·r; plus `more`."""
    if h.dim() == 2 and fused.fits(weight) and fused.fit_whole(dy, h, *([] if more is None else [more])):
        return fused.norm_backward(dy, h, weight, r, more)
    g = torch.mul(dy, weight).float()
    x = h.float().mul_(r)
    g.sub_(x.mul_((g * x).mean(-1, keepdim=True))).mul_(r)
    d = g.to(h.dtype)
    return d if more is None else d.add_(more)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of x (T, heads, e) by angles given as cos and sin (T, 1, e / 2)."""
    if fused.fits(x) and fused.fit_whole(cos, sin) and x.stride(1) == x.shape[-1]:
        return fused.rotate(x, cos, sin)
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    torch.sub(first * cos, second * sin, out=out[..., :half])
    torch.add(second * cos, first * sin, out=out[..., half:])
    return out


def swiglu(gate_up: torch.Tensor, out: torch.Tensor) -> None:
    """silu(gate)·up of (T, 2n) into `out` (T, n)."""
    if fused.fits(gate_up, out):
        fused.swiglu(gate_up, out)
        return
    n = gate_up.shape[1] // 2
    torch.mul(F.silu(gate_up[:, :n]), gate_up[:, n:], out=out)


def swiglu_backward(d: torch.Tensor, gate_up: torch.Tensor, out: torch.Tensor) -> None:
    """The gradient of (T, 2n) from that of `swiglu`'s output (T, n), into `out`."""
    if fused.fits(d, gate_up, out):
        fused.swiglu_backward(d, gate_up, out)
        return
    n = gate_up.shape[1] // 2
    gate, up = gate_up[:, :n], gate_up[:, n:]
    torch.mul(d, F.silu(gate), out=out[:, n:])
    out[:, :n] = torch.ops.aten.silu_backward(d * up, gate)


class Attention:
    """Causal attention of rows kept apart, with its backward pass.

    q (b, heads, l, e), k and v (b, groups, l, e), each contiguous; query heads are laid end to end within their group, so
    that grouped keys are never repeated. On a CPU the products are written out for rows of up to `_SHORT` tokens: torch's
    fused backward is ten times slower there.
    """

    def __init__(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> None:
        self.q, self.k, self.v, self.scale = q, k, v, scale
        self.written_out = q.device.type == "cpu" and q.shape[2] <= _SHORT
        if not self.written_out:
            with torch.enable_grad():
                self.q, self.k, self.v = (x.requires_grad_(True) for x in (q, k, v))
                self.out = F.scaled_dot_product_attention(
                    self.q, self.k, self.v, is_causal=True, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
                )
            return
        b, heads, length, e = q.shape
        groups = k.shape[1]
        self.flat = (b * groups, heads // groups * length, e), (b * groups, length, e)
        hidden = torch.full((length, length), -torch.inf, dtype=q.dtype).triu_(1).repeat(heads // groups, 1)
        scores = torch.baddbmm(hidden, q.view(self.flat[0]), k.view(self.flat[1]).transpose(1, 2), alpha=scale)
        self.p = torch.softmax(scores, dim=-1)
        self.out = torch.bmm(self.p, v.view(self.flat[1])).view(q.shape)

    def take(self) -> torch.Tensor:
        """The output (b, heads, l, e), to be had once: it is kept only where the backward pass needs it."""
        out = self.out
        if self.written_out:
            del self.out
        return out

    def backward(self, dout: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The gradients of q, k and v from that of the output (b, heads, l, e)."""
        if not self.written_out:
            with torch.enable_grad():
                dq, dk, dv = torch.autograd.grad(self.out, (self.q, self.k, self.v), dout)
            return dq, dk, dv
        q, k, v = self.q.view(self.flat[0]), self.k.view(self.flat[1]), self.v.view(self.flat[1])
        dout = dout.reshape(self.flat[0])
        dv = torch.bmm(self.p.transpose(1, 2), dout)
        dp = torch.bmm(dout, v.transpose(1, 2))
        ds = torch._softmax_backward_data(dp, self.p, -1, dp.dtype).mul_(self.scale)
        return (
            torch.bmm(ds, k).view(self.q.shape),
            torch.bmm(ds.transpose(1, 2), q).view(self.k.shape),
            dv.view(self.v.shape),
        )


_SHORT = 640
