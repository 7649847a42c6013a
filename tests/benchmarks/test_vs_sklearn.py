"""The comparison with scikit-learn's MLP runs, and says where bpnet is worse or slower."""

import json
from importlib.util import find_spec

import pytest

from tests.helpers.scripts import DRAWS, run_script, script

pytestmark = pytest.mark.skipif(find_spec("sklearn") is None, reason="it needs scikit-learn")


@DRAWS
def test_vs_sklearn_quick(tmp_path):
    out, picture = tmp_path / "out.json", tmp_path / "out.png"
    sets = ("--sets", "iris", "diabetes")
    done = run_script("vs_sklearn.py", "--quick", *sets, "--json", out, "--picture", picture)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [result["set"] for result in found["results"]] == ["iris", "diabetes"]
    for result in found["results"]:
        assert set(result["epochs"].values()) == {3}
        assert result["faster"]["rounds"] == found["folds"] * found["seeds"] == 5
        scores = result["score"].values()
        assert abs(max(scores) - min(scores)) == pytest.approx(abs(result["difference"]))
    assert picture.stat().st_size > 1000
    assert "| iris | adam | 3 |" in done.stdout
    assert "Not for quoting" in done.stdout


def test_remarks():
    module = script("vs_sklearn")
    faster, slower = (module.Spread(median, 0.5, 3, 5) for median in (2, 0.9))
    good = {"set": "iris", "solver": "sgd", "difference": -0.1, "noise": 0.2, "faster": faster}
    assert module.remarks([good]) == ["No score is lower beyond noise, and no fit slower."]
    told = ["iris by sgd: the score is lower beyond noise.", "iris by sgd: slower."]
    assert module.remarks([good, good | {"noise": 0.05, "faster": slower}]) == told
