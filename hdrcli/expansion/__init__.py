"""Classical expansion operators (LDR -> HDR), one file each: baselines, and tools in their own right.

An operator module has ``SUMMARY`` (one line), a frozen dataclass ``Parameters`` and
``apply(linear, parameters, primaries) -> linear``: ``(H, W, 3) float32`` linearised LDR in [0, 1] to scene-linear, 1 = LDR
white, both of these primaries. It works on each pixel alone, since it is given a photo in strips of rows.
"""
