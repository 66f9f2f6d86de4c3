"""Classical tone-mapping operators (HDR -> LDR), one file each.

An operator module has ``SUMMARY`` (one line), a frozen dataclass ``Parameters``, ``prepare(sample, parameters) -> state``
(statistics from a thinned-out image) and ``apply(light, state) -> display``: ``(H, W, 3) float32`` scene-linear Rec.709 >= 0,
1 = LDR white, to display-linear in [0, 1]. So an image of any size goes through in row strips that equal the whole.
"""
