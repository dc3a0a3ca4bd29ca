"""One switch for what is only there to be fast on a CPU."""

from __future__ import annotations

from torch import nn

from models.cpu.dropout import FastDropout, attend_fast
from models.cpu.linear import FastLinear
from models.cpu.packed_reader import PackedBeamReader
from models.cpu.tied_table import tie
from models.report_decoder import ReportDecoder


def speed_up(model: nn.Module) -> None:
    """Put the fast CPU versions of linear layers, dropout, attention, word table and beam reader into a model.

    In place: parameters, their names and the results stay, up to rounding and the random numbers of dropout. On another
    device, and in precisions that they do not serve, each falls back to torch's own.
    """
    for module in model.modules():
        if isinstance(module, ReportDecoder):
            module.attend = attend_fast
            module.reader = module.drawing_reader = PackedBeamReader
            tie(module.network.bert.embeddings.word_embeddings, module.network.cls.predictions.decoder)
        elif type(module) is nn.Linear and module.bias is not None:
            module.__class__ = FastLinear
        elif type(module) is nn.Dropout and not module.inplace:
            module.__class__ = FastDropout
