"""A CUDA device without a GPU: tensors that say they lie on one while their numbers lie on the CPU.

The programs then take the way they take on a GPU, with the numbers of the CPU, and what a GPU would refuse (tensors of two
devices in one operation) or wait for (a number read by the host) is found on a machine that has none.
Autocast changes nothing here, so that all is computed in float32: mixed precision is tested on the CPU.
"""

from collections import Counter
from contextlib import contextmanager, nullcontext
from functools import cache

import pytest
import torch
from geoopt.manifolds.lorentz import math as lorentz_math
from geoopt.manifolds.stereographic import math as ball_math
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda", 0)
REAL = torch.cuda.is_available()
ON_CUDA = (
    ("--device", "cuda") if REAL else ("--device", "cuda", "--no-fast_gpu")
)  # nothing can be recorded on a claimed one
aten = torch.ops.aten
WAITS = {  # the host needs a number, or the size of a result, from the device
    aten._local_scalar_dense, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select, aten._unique2,
    aten.unique_dim, aten.unique_consecutive, aten.bincount, aten.repeat_interleave, aten._linalg_check_errors,
}  # fmt: skip
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
FREE = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided, aten._unsafe_view}
COPIES = {aten._to_copy, aten.copy_}


class Claimed(Tensor):
    """Shares the memory of a tensor of the CPU."""

    @staticmethod
    def __new__(cls, inner):
        return Tensor._make_subclass(cls, inner, False, dispatch_device=True, device_for_backend_keys=CUDA)

    def __init__(self, inner):
        self.inner = inner

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    __torch_function__ = torch._C._disabled_torch_function_impl

    def __reduce_ex__(self, protocol):
        return self.inner.__reduce_ex__(protocol)  # a checkpoint is read onto the CPU

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} outside claimed_cuda()")


class Device(TorchDispatchMode):
    """Runs every operation on the CPU and keeps an account of what a GPU would have waited for."""

    def __init__(self):
        super().__init__()
        self.waits = Counter()
        self.operations = Counter()  # on the device, views and new memory left out

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if torch.is_inference_mode_enabled() and func.namespace == "aten":  # it arrives before it is taken apart
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        tensors = list(tensors_in([args, [*kwargs.values()]]))
        here = any(isinstance(x, Claimed) for x in tensors)
        elsewhere = [tuple(x.shape) for x in tensors if not isinstance(x, Claimed) and x.dim()]
        if here and elsewhere and func.overloadpacket not in COPIES:
            raise RuntimeError(f"{func}: expected all tensors on cuda:0, found some of shapes {elsewhere} on the CPU")
        goes = here
        if kwargs.get("device") is not None:
            goes = here or torch.device(kwargs["device"]).type == "cuda"  # a move to the host is seen by Calls
            kwargs["device"] = torch.device("cpu")
        kwargs.pop("pin_memory", None)
        if here:
            self._count_waits(func, args)
        result = func(*applied(_plain, args), **{name: applied(_plain, value) for name, value in kwargs.items()})
        if not goes:
            return result
        if func.namespace == "aten" and not _is_view(func) and func.overloadpacket not in FREE:
            self.operations[str(func)] += 1
        given = {id(_plain(x)): x for x in tensors}  # an operation in place returns what it was given

        def claim(x):
            if not isinstance(x, Tensor):
                return x
            return given[id(x)] if id(x) in given else Claimed(x)

        return applied(claim, result)

    def _count_waits(self, func, args):
        packet = func.overloadpacket
        by_mask = packet in INDEXING and any(x is not None and x.dtype == torch.bool for x in args[1])
        to_host = packet is aten.copy_ and not isinstance(args[0], Claimed)
        if packet in WAITS or by_mask or to_host:
            self.waits[str(func)] += 1


class Calls(TorchFunctionMode):
    """Watches the calls that bring numbers to the host."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not args or not isinstance(args[0], Claimed):
            return func(*args, **kwargs)
        if func in (Tensor.numpy, Tensor.__array__):
            raise TypeError("can't convert cuda:0 device type tensor to numpy: use Tensor.cpu()")
        if func in (Tensor.cpu, Tensor.tolist) or (func is Tensor.to and _names_cpu(*args[1:], *kwargs.values())):
            self.device.waits[func.__name__] += 1
            copy = args[0].detach().inner.clone()
            return copy if func is Tensor.cpu else func(copy, *args[1:], **kwargs)
        return INSTEAD.get(func, func)(*args, **kwargs)


def _names_cpu(*words):
    return any(isinstance(word, str | torch.device) and torch.device(word).type == "cpu" for word in words)


def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None):
    """Scaled dot-product attention."""
    scores = query @ key.transpose(-1, -2) * (scale or query.shape[-1] ** -0.5)
    allowed = torch.ones_like(scores, dtype=torch.bool).tril() if is_causal else attn_mask
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf) if allowed.dtype == torch.bool else scores + allowed
    return F.dropout(scores.softmax(dim=-1), dropout_p) @ value


def one_hot(x, num_classes):
    """One-hot codes."""
    return (x.unsqueeze(-1) == torch.arange(num_classes, device=x.device)).long()


INSTEAD = {  # torch's own are written in C++ and make helpers on the device that they see there, the CPU
    F.scaled_dot_product_attention: attention,
    F.one_hot: one_hot,
}


def tensors_in(value):
    """The tensors in nested tuples and lists; torch's own way through them takes longer than a small operation."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)


def applied(work, value):
    """``work`` of everything in nested tuples and lists."""
    return type(value)([applied(work, part) for part in value]) if isinstance(value, list | tuple) else work(value)


@cache
def _is_view(func):
    return any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)


def _plain(x):
    return x.inner if isinstance(x, Claimed) else x


def by_claimed_device(lists, with_indices=False, work=Optimizer._group_tensors_by_device_and_dtype):
    """What an optimizer sorts by: torch's own is written in C++ and sees the CPU."""
    groups = work(lists, with_indices)
    claimed = {key: isinstance(group[0][0][0], Claimed) for key, group in groups.items()}
    return {(CUDA if claimed[key] else key[0], key[1]): group for key, group in groups.items()}


def cuda():
    """The card of this machine, or one that is claimed where there is none."""
    return nullcontext() if REAL else claimed_cuda()


@contextmanager
def claimed_cuda():
    """Make ``torch.device("cuda", 0)`` usable; yields the :class:`Device`."""
    with pytest.MonkeyPatch.context() as patch, Device() as device, Calls(device):
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        patch.setattr(torch.cuda, "synchronize", lambda *_: None)
        patch.setattr(torch.cuda, "set_device", lambda *_: None)
        patch.setattr(torch.cuda, "get_rng_state", lambda *_: torch.get_rng_state())
        patch.setattr(torch.cuda, "set_rng_state", lambda state, *_: torch.set_rng_state(state))
        patch.setattr(Tensor, "pin_memory", lambda self, *_: self)
        patch.setattr(Optimizer, "_accelerator_graph_capture_health_check", lambda self: None)
        patch.setattr(Optimizer, "_group_tensors_by_device_and_dtype", staticmethod(by_claimed_device))
        for module in (ball_math, lorentz_math):
            for name, function in vars(module).copy().items():
                if hasattr(function, "_torchdynamo_inline"):  # TorchScript would see the CPU: take the Python below it
                    patch.setattr(module, name, function._torchdynamo_inline)
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=CUDA) begins on the CPU
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            yield device
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)
            torch._C._set_only_lift_cpu_tensors(False)
