"""Every named gate, in reading order: the paper's four first, then what else the field uses."""

from sapo_gates.families.clipping import CLIP_HIGHER, HARD_CLIP
from sapo_gates.families.smooth import ARCTAN, ERF, SIGMOID, SOFTSIGN, SOFTSIGN_ABS, TANH
from sapo_gates.gate import Gate

FAMILIES: tuple[Gate, ...] = (SIGMOID, ERF, ARCTAN, SOFTSIGN, SOFTSIGN_ABS, TANH, HARD_CLIP, CLIP_HIGHER)
