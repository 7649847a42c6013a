"""The committed notebooks are clean and executed; `notebooks/execute.py` finds what is not so.

That their outputs are true is for that script to say, which runs them: CI calls it.
"""

import base64
import copy
import importlib.util
import io
import json
import re
from pathlib import Path

import pytest

from tests.helpers.scripts import run_script

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
RUNNERS = ("nbformat", "nbclient", "ipykernel")
needs_a_kernel = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, RUNNERS)), reason="running a notebook needs the extra 'notebooks'"
)


@pytest.fixture(scope="module")
def execute():
    spec = importlib.util.spec_from_file_location("execute_notebooks", FOLDER / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_there_is_a_first_notebook():
    assert NOTEBOOKS[0].name == "01_from_formula_to_code.ipynb"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebook_is_executed_and_clean(path, execute):
    notebook = read(path)
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert notebook["metadata"] == execute.METADATA
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {
        "stream", "display_data", "execute_result",
    }  # fmt: skip
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert path.stat().st_size < 200_000
    for machine_path in (r"/home/", r"/root/", r"/Users/", r"[A-Z]:\\\\Users", r"/tmp/"):
        assert not re.search(machine_path, path.read_text(encoding="utf-8"))


def test_first_notebook_shows_published_numbers_and_a_curve():
    cells = code_cells(read(FOLDER / "01_from_formula_to_code.ipynb"))
    shown = "".join("".join(o.get("text", "")) for cell in cells for o in cell["outputs"])
    for figure in (
        "0.593269992", "0.751365070", "0.298371109", "0.358916480", "0.291027774",
        "2.8047144679e-01", "2.4475622359e-06",
    ):  # fmt: skip
        assert figure in shown
    assert "image/png" in cells[-1]["outputs"][-1]["data"]


def a_notebook(source="print(6 * 7)", printed="42\n"):
    cell = {
        "id": "answer", "cell_type": "code", "metadata": {}, "execution_count": 1,
        "source": source,
        "outputs": [{"output_type": "stream", "name": "stdout", "text": printed}],
    }  # fmt: skip
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def test_differences_are_of_texts_not_of_pictures(execute):
    old = a_notebook()
    new = copy.deepcopy(old)
    picture = {"output_type": "display_data", "metadata": {}}
    for notebook, png in ((old, "aaaa"), (new, "bbbb")):
        data = {"text/plain": "<Figure>", "image/png": png}
        notebook["cells"][0]["outputs"].append(picture | {"data": data})
    assert execute.differences(old, new) == []
    new["cells"][0]["outputs"][1]["data"]["text/plain"] = "<Figure size 1x1>"
    assert "+<Figure size 1x1>" in execute.differences(old, new)
    lines = execute.differences(a_notebook(), a_notebook(printed="43\n"))
    assert lines[:2] == ["--- cell answer, committed", "+++ cell answer, run now"]
    assert lines[-2:] == ["-42", "+43"]
    quiet, warned = a_notebook(), a_notebook()  # warnings are complained of, not compared
    warning = {"output_type": "stream", "name": "stderr", "text": "RuntimeWarning: overflow\n"}
    warned["cells"][0]["outputs"].append(warning)
    assert execute.differences(quiet, warned) == []
    assert execute.complaints(warned) == "RuntimeWarning: overflow\n"
    assert execute.complaints(quiet) == ""


def run_execute(*arguments):
    return run_script(FOLDER / "execute.py", *arguments, warnings="default")


@needs_a_kernel
def test_execute_accepts_what_is_true_and_nothing_else(tmp_path):
    true, false, failing = (tmp_path / f"{name}.ipynb" for name in ("true", "false", "failing"))
    true.write_text(json.dumps(a_notebook()), encoding="utf-8")
    false.write_text(json.dumps(a_notebook(printed="41\n")), encoding="utf-8")
    failing.write_text(json.dumps(a_notebook(source="6 / 0")), encoding="utf-8")

    done = run_execute(failing, false, true)
    assert done.returncode == 1
    assert "failing.ipynb: a cell failed" in done.stdout
    assert "ZeroDivisionError" in done.stdout
    assert "false.ipynb: the outputs in the file are not those of a fresh run" in done.stdout
    assert "-41\n+42" in done.stdout
    assert "true.ipynb: ran, outputs as in the file" in done.stdout

    assert run_execute("--write", false).returncode == 0
    written = read(false)
    assert written["cells"][0]["outputs"][0]["text"] == ["42\n"]
    assert written["metadata"]["language_info"] == {"name": "python"}
    done = run_execute(tmp_path / "none.ipynb")
    assert done.returncode == 2
    assert "there is no notebook" in done.stderr


def test_pictures_are_stored_in_few_colours(execute):
    image = pytest.importorskip("PIL.Image", reason="pictures are made smaller by Pillow")
    file = io.BytesIO()
    image.radial_gradient("L").convert("RGBA").save(file, "PNG")
    png = base64.b64encode(file.getvalue()).decode()
    notebook = a_notebook()
    notebook["cells"][0]["outputs"].append({"data": {"image/png": png}})
    assert [data["image/png"] for data in execute.pictures(notebook)] == [png]
    small = image.open(io.BytesIO(base64.b64decode(execute.smaller(png))))
    assert small.size == (256, 256)
    assert 32 < len(small.convert("RGB").getcolors()) <= 64
    assert len(execute.smaller(png)) < len(png)
