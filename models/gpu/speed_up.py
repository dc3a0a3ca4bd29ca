"""One switch for what is only there to be fast on a GPU."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec

from torch import nn

from models.decoder_layers import score_reports
from models.gpu.beam_search import FixedBeamReader, recorded_beam_search
from models.gpu.layers import COMPILED, AlignedLinear, compiled_layer
from models.ot_attention import TransportAttention
from models.report_decoder import ReportDecoder


def speed_up(model: nn.Module, compiled: bool = False) -> None:
    """Put the fast GPU versions of transport, word table and beam search into a model on a CUDA device.

    In place: parameters, their names and the results stay, up to rounding and the random numbers of dropout.

    Args:
        model: on its device.
        compiled: whether to compile the blocks of a ResNet and the layers of the decoder for training besides.
    """
    triton = find_spec("triton") is not None
    for module in list(model.modules()):
        if isinstance(module, TransportAttention) and triton:
            from models.gpu.transport import solve_in_one_kernel, solve_system_in_one_kernel

            module.solvers = solve_in_one_kernel, solve_system_in_one_kernel
        elif isinstance(module, ReportDecoder):
            module.network.cls.predictions.decoder.__class__ = AlignedLinear
            module.reader, module.search = FixedBeamReader, recorded_beam_search
            if triton:
                from models.gpu.word_loss import word_loss

                module.word_loss = word_loss
            if compiled:
                module.score = partial(score_reports, score_layer=compiled_layer)
        elif compiled and type(module) in COMPILED:
            module.__class__ = COMPILED[type(module)]
