"""Networks and tensor math: everything a gradient flows through.

Nothing in this package opens a file, reads a flag or knows the name of a data set. Tensors come in, tensors come out.

Shape letters, one meaning each, in every shape comment of the project:

    B  studies in the batch              M  image patches (49 = 7 x 7)        D  visual width (2048)
    L  conditions (18)                   P  states of a condition (4)         A  attention width (1024)
    K  radiology entities (75)           E  entity text width (768)           H  hyperbolic width (512)
    R  retrieved reports in memory (21)  C  report feature width (512)        N  rows of the retrieval bank
    S  sentences of a reference report   T  report tokens                     V  vocabulary
"""
