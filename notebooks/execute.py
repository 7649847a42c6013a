"""Run the notebooks of this folder afresh, and hold their committed outputs against the new ones.

A notebook fails if a cell raises, or if a text that it shows is not, letter for letter, the one in
the file; pictures are drawn again but not compared. With --write the new outputs go into the file,
each picture in 64 colours, which takes a third of the bytes.
"""

from __future__ import annotations

import argparse
import base64
import difflib
import io
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECONDS_PER_CELL = 300
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: Path) -> tuple[Any, Any]:
    """Return the notebook as it is in the file, and as a new kernel makes it.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises; the message holds the cell and the traceback.
    """
    import nbformat
    from nbclient import NotebookClient

    committed = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    NotebookClient(
        fresh,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    fresh.metadata = nbformat.from_dict(METADATA)
    return committed, fresh


def texts(cell: Any) -> str:
    """Return what a cell shows in words: its prints and the text form of its values."""
    shown = []
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream":
            shown.append(output["text"] if output["name"] == "stdout" else "")
        elif output["output_type"] == "error":
            shown.append(f"{output['ename']}: {output['evalue']}\n")
        else:
            shown.append(output["data"].get("text/plain", "") + "\n")
    return "".join(shown)


def complaints(notebook: Any) -> str:
    """Return what the cells wrote to stderr: warnings, which no committed notebook shows."""
    return "".join(
        output["text"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream" and output["name"] == "stderr"
    )


def differences(committed: Any, fresh: Any) -> list[str]:
    """Return, as lines of a diff, how the texts of two runs of one notebook differ."""
    lines: list[str] = []
    for old, new in zip(committed["cells"], fresh["cells"], strict=True):
        lines += difflib.unified_diff(
            texts(old).splitlines(),
            texts(new).splitlines(),
            f"cell {old['id']}, committed",
            f"cell {old['id']}, run now",
            lineterm="",
        )
    return lines


def pictures(notebook: Any) -> list[Any]:
    """Return the data of every output that has a picture."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return [output["data"] for output in outputs if "image/png" in output.get("data", {})]


def smaller(png: str) -> str:
    """Return a picture, in base64 as notebooks hold it, in 64 colours."""
    from PIL import Image  # which matplotlib brings

    picture, file = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
    picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def check(path: Path, write: bool) -> bool:
    """Run one notebook, say how it went, and return whether all is well."""
    import nbformat
    from nbclient.exceptions import CellExecutionError

    try:
        committed, fresh = execute(path)
    except CellExecutionError as error:
        print(f"{path.name}: a cell failed\n{error}")
        return False
    if warned := complaints(fresh):
        print(f"{path.name}: written to stderr\n{warned}")
    if write:
        if warned:
            print(f"{path.name}: not written, since its outputs would hold these lines")
            return False
        for data in pictures(fresh):
            data["image/png"] = smaller(data["image/png"])
        nbformat.write(fresh, path)
        print(f"{path.name}: ran, outputs written")
        return True
    if lines := differences(committed, fresh):
        print(f"{path.name}: the outputs in the file are not those of a fresh run")
        print("\n".join(lines))
        return False
    print(f"{path.name}: ran, outputs as in the file")
    return True


def main() -> int:
    """Run the notebooks that are named, or all; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebook", nargs="*", type=Path, help="default: every one in this folder")
    parser.add_argument("--write", action="store_true", help="write the new outputs into the files")
    options = parser.parse_args()
    paths = options.notebook or sorted(HERE.glob("*.ipynb"))
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"there is no notebook {', '.join(missing)}")
    well = [check(path, options.write) for path in paths]
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
