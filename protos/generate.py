"""Makes gen/ and the breaking-check image from protos/, without network.

`python protos/generate.py` rewrites gen/; `--check` fails where gen/ differs from the contract;
`--lint` runs buf's style rules; `--breaking` compares with protos/baseline.binpb; `--freeze
PACKAGE...` adds complete packages to that baseline.
"""

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import (
    descriptor_pb2,
    duration_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
)

PROTOS = Path(__file__).parent
ROOT = PROTOS.parent
GEN = ROOT / "gen"
BASELINE = PROTOS / "baseline.binpb"
VALIDATE = "buf/validate/validate.proto"


def _dependencies() -> descriptor_pb2.FileDescriptorSet:
    """The descriptors that our protos import and that no file of ours holds."""
    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, timestamp_pb2, field_mask_pb2, struct_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    # protovalidate ships its rules as a descriptor only, inside its own runtime.
    from protovalidate._gen.buf.validate import validate_pb  # noqa: PLC0415

    files.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return files


def _protoc(descriptors: Path, arguments: list[str], sources: list[str]) -> None:
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"--descriptor_set_in={descriptors}",
        f"-I{PROTOS}",
        *arguments,
        *sources,
    ]
    subprocess.run(command, check=True, env={"PATH": str(Path(sys.executable).parent)})


def _sources() -> list[str]:
    return sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))


def generate(target: Path) -> None:
    """Write Python stubs, type stubs and package markers of every proto below `target`."""
    sources = _sources()
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder) / "dependencies.binpb"
        descriptors.write_bytes(_dependencies().SerializeToString())
        _protoc(
            descriptors,
            [f"--python_out={target}", f"--mypy_out=quiet:{target}"],
            [*sources, VALIDATE],
        )
        services = [source for source in sources if source.endswith("_service.proto")]
        _protoc(
            descriptors,
            [f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}"],
            services,
        )
    for package in ("liftos", "buf"):
        (target / package / "py.typed").write_text("")


def build_image(target: Path, sources: list[str] | None = None) -> None:
    """Write the descriptor set with imports and comments that buf lints and compares."""
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder) / "dependencies.binpb"
        descriptors.write_bytes(_dependencies().SerializeToString())
        options = ["--include_imports", "--include_source_info", f"-o{target}"]
        _protoc(descriptors, options, sources or _sources())


def _differences(left: Path, right: Path) -> list[str]:
    def names(root: Path) -> set[str]:
        return {
            str(path.relative_to(root))
            for path in root.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    both = names(left) & names(right)
    _, changed, errors = filecmp.cmpfiles(left, right, sorted(both), shallow=False)
    return sorted(names(left) ^ names(right)) + changed + errors


def check() -> int:
    """Compare gen/ with a fresh generation; list what differs."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        different = _differences(fresh, GEN)
    for name in different:
        print(f"gen/{name} differs from protos/: run `make gen` and commit the result")
    return 1 if different else 0


def _buf(*arguments: str) -> int:
    # The buf beside this Python is the locked one; PATH may hold another or none.
    buf = Path(sys.executable).with_name("buf")
    return subprocess.run([buf, *arguments], cwd=ROOT, check=False).returncode


def lint() -> int:
    """Run buf's style and comment rules on the contract."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        build_image(image)
        return _buf("lint", str(image), "--path", "liftos")


def breaking() -> int:
    """Compare the frozen packages with the baseline; fine where none is frozen yet."""
    if not BASELINE.exists():
        print("no package is frozen yet")
        return 0
    frozen = descriptor_pb2.FileDescriptorSet.FromString(BASELINE.read_bytes())
    sources = [file.name for file in frozen.file if file.name.startswith("liftos/")]
    missing = [source for source in sources if not (PROTOS / source).exists()]
    for source in missing:
        print(f"{source} is frozen and must not be removed")
    if missing:
        return 1
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        build_image(image, sources)
        return _buf("breaking", str(image), "--against", str(BASELINE), "--path", "liftos")


def freeze(packages: list[str]) -> int:
    """Write the baseline from these packages and whatever was frozen before."""
    folders = {package.replace(".", "/") for package in packages}
    frozen = descriptor_pb2.FileDescriptorSet()
    if BASELINE.exists():
        frozen.ParseFromString(BASELINE.read_bytes())
    # By file: of a package that others import, only what they import is frozen with them.
    before = {file.name for file in frozen.file}
    sources = [it for it in _sources() if it in before or str(Path(it).parent) in folders]
    build_image(BASELINE, sources)
    return 0


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where gen/ is out of date")
    parser.add_argument("--lint", action="store_true", help="style and comment rules")
    parser.add_argument("--breaking", action="store_true", help="compare with the baseline")
    parser.add_argument("--freeze", nargs="+", metavar="PACKAGE", help="extend the baseline")
    arguments = parser.parse_args()
    if arguments.check:
        return check()
    if arguments.lint:
        return lint()
    if arguments.breaking:
        return breaking()
    if arguments.freeze:
        return freeze(arguments.freeze)
    shutil.rmtree(GEN, ignore_errors=True)
    GEN.mkdir()
    generate(GEN)
    return 0


if __name__ == "__main__":
    sys.exit(main())
