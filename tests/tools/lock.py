"""Print the versions installed in this environment as a constraints file: no addresses, no hashes, no local version tags."""

from __future__ import annotations

from importlib.metadata import distributions

LEFT_OUT = {"hdrcli", "pip", "setuptools", "wheel"}


def main() -> None:
    versions = {d.metadata["Name"].lower().replace("_", "-"): d.version.partition("+")[0] for d in distributions()}
    print("# Versions that hdrcli is tested with, for pip's -c. Made by `make lock`; only what is asked for gets installed.")
    for name in sorted(versions.keys() - LEFT_OUT):
        print(f"{name}=={versions[name]}")


if __name__ == "__main__":
    main()
