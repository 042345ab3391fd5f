"""Puts empty stand-ins in the place of torch's CUDA libraries: 0.6 GB instead of 6, for images that run on a CPU.

PyPI has no build of torch for Linux on x86-64 without CUDA, and PyPI is where the locks' hashes come from. torch's
CPU code does not use its CUDA code, but it is linked against it, so it does not load without. This removes
libtorch_cuda and its kin and writes libraries of the same names that define only what the rest needs in order to
load. Every function in them ends the process with an illegal instruction: none is ever called on a machine where
`torch.cuda.is_available()` is false, which libc10_cuda and cudart, both left as they are, find out. The code that
computes, libtorch_cpu, is the one of the wheel, so results are those of a machine without a GPU.

Usage: cuda_stand_ins.py SITE_PACKAGES, with nm, as and ld (binutils) at hand. The Dockerfile calls it.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Set
from pathlib import Path

# Removed; the first gets a stand-in, the others are loaded by it alone or on demand.
REMOVED = ("libtorch_cuda.so", "libtorch_cuda_linalg.so", "libtorch_nvshmem.so", "libcaffe2_nvrtc.so")
# Of packages that cpu-excludes.txt leaves out, but that what stays is linked against.
ABSENT = ("libcudnn.so.9", "libcufile.so.0", "libcusparseLt.so.0")
# Called while torch is imported, to leave a function pointer in what it returns.
RETURNS_MEMORY = ("get_gil_checker",)
VTABLE_BYTES = 1024


def main(site_packages: Path) -> None:
    """Replace the libraries."""
    libraries = site_packages / "torch" / "lib"
    removed = [libraries / name for name in REMOVED]
    kept = [path for path in libraries.glob("lib*.so*") if path not in removed]
    defined = {name for path in kept for name in _names(path, "--defined-only")}
    was_defined = {name for path in removed for name in _names(path, "--defined-only")}
    wanted = {name for path in kept for name in _names(path, "--undefined-only")}
    # By the library that they must come from: nm writes name@version, and NVIDIA's version is the library's name.
    missing: dict[str, set[str]] = defaultdict(set)
    for name in wanted - defined:
        symbol, _, version = name.partition("@")
        if version in ABSENT:
            missing[version].add(symbol)
        elif not version and (symbol in was_defined or symbol.startswith("cuFile")):
            missing[REMOVED[0]].add(symbol)
    for path in removed:
        path.unlink()
    for name in (REMOVED[0], *ABSENT):
        _link(libraries / name, missing[name], version=name if name in ABSENT else None)
        print(f"{name}: {len(missing[name])} symbols")


def _names(path: Path, which: str) -> Iterator[str]:
    listing = subprocess.run(["nm", "--dynamic", which, path], check=True, capture_output=True, text=True)  # noqa: S607
    for line in listing.stdout.splitlines():
        yield line.split()[-1]


def _link(path: Path, symbols: Set[str], version: str | None) -> None:
    assembly = "\n".join(line for symbol in sorted(symbols) for line in _symbol(symbol)) + "\n"
    thing = path.with_suffix(".o")
    script = path.with_suffix(".map")
    script.write_text(f"{version} {{ global: *; }};\n" if version else "{ global: *; };\n")
    _run(["as", "-o", str(thing), "-"], assembly)
    options = ["-shared", "-soname", path.name, "-z", "noexecstack", "--version-script", str(script)]
    _run(["ld", *options, "-o", str(path), str(thing)])
    thing.unlink()
    script.unlink()


def _symbol(name: str) -> tuple[str, ...]:
    """Return the assembly that defines one symbol; its kind shows in its C++ name."""
    head = (f".globl {name}", ".balign 8", f"{name}:")
    if name.startswith("_ZTI"):
        # A class without bases. Bindings register classes by the name in their type information.
        text = name.removeprefix("_ZTI")
        return (".data", *head, ".quad _ZTVN10__cxxabiv117__class_type_infoE + 16, 1f", f'1: .asciz "{text}"')
    if name.startswith("_ZTV"):
        return (".bss", *head, f".zero {VTABLE_BYTES}")
    if any(part in name for part in RETURNS_MEMORY):
        return (".bss", "1: .zero 64", ".text", *head, "lea 1b(%rip), %rax", "ret")
    return (".text", *head, "ud2")


def _run(command: list[str], stdin: str | None = None) -> None:
    subprocess.run(command, check=True, input=stdin, text=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
