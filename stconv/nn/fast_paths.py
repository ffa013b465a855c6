"""The condition for taking a fast path, the same for all of them; otherwise torch's own layers compute.

The fast paths of `stconv.nn` work in place and on buffers of their own, which is safe only for plain tensors
on a CPU. They are skipped for other kinds of tensors (fake, wrapped, quantized), while a computation is
recorded or transformed (`torch.compile`, `torch.export`, tracing, functorch, forward-mode derivatives, second
derivatives), and for layers that have hooks or are subclassed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as all_modules

CPU_TYPES = (torch.float32, torch.float64)
_RECORDING = tuple(getattr(torch._C._TorchDispatchModeKey, name) for name in ("FAKE", "PROXY", "FUNCTIONAL"))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_only_torch = ContextVar("only_torch", default=False)


@contextmanager
def only_torch() -> Iterator[None]:
    """Compute with torch's own layers inside this context; the fast paths are compared with them."""
    token = _only_torch.set(True)
    try:
        yield
    finally:
        _only_torch.reset(token)


def takes_fast_paths(*tensors: Tensor | None) -> bool:
    """Whether all tensors are plain CPU tensors and the computation is neither recorded nor transformed.

    Args:
        tensors: Input, weight, bias, ...; None is skipped.
    """
    if _is_recorded():
        return False
    found = [tensor for tensor in tensors if tensor is not None]
    return (
        not _only_torch.get()
        and all(_is_plain_tensor(tensor) and tensor.dtype == found[0].dtype for tensor in found)
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        and all(torch._C._get_dispatch_mode(key) is None for key in _RECORDING)
    )


def _is_recorded() -> bool:
    """Whether torch is compiling or tracing; asked first, since a tracer cannot follow the other checks."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]


def _is_plain_tensor(x: Tensor) -> bool:
    return (
        type(x) in (Tensor, nn.Parameter)
        and x.device.type == "cpu"
        and x.dtype in CPU_TYPES
        and x.layout is torch.strided
        and x.numel() > 0
        and not torch._C._functorch.is_legacy_batchedtensor(x)  # is_grads_batched
    )


def is_plain(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a module is exactly of one of these classes and has no hooks, so that it may be bypassed.

    It is not if it is a subclass (such as a parametrized layer) or a wrapper, if its `forward` is replaced on
    the object, or if there is any hook on the module or on all modules.
    """
    return (
        not _is_recorded()
        and type(module) in kinds
        and not {"forward", "_conv_forward"} & vars(module).keys()
        and not any(getattr(module, hooks) for hooks in _HOOKS)
        and not all_modules._has_any_global_hook()
    )


def is_finite(*tensors: Tensor | None) -> bool:
    """Whether the tensors hold neither NaN nor infinity; False also if a sum overflows."""
    return all(math.isfinite(float(tensor.detach().sum())) for tensor in tensors if tensor is not None)
