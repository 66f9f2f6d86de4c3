"""Torch modules, one file each. A network module has ``Config`` (a frozen dataclass) and ``build(config) -> nn.Module``."""
