import torch
from tiny import *
from mmssl.objectives import Predictive
def test_v(savanna_vocabulary):
    b = rows_of_captions(savanna_vocabulary, 4)
    print(b.views)
    for m in METHODS:
        o = tiny_objective(m, savanna_vocabulary)
        out = o(b); print(m, out.terms, o.energies(b).shape)
