"""scikit-learn's own checks of an estimator, all of them."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from bpnet.estimators import MLPClassifier, MLPRegressor

FAILS = {}  # by name of a check that cannot hold: why


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([MLPClassifier(), MLPRegressor()], expected_failed_checks=lambda estimator: FAILS)
def test_scikit_learn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it one check is skipped
    check(estimator)


def test_lazy_and_with_a_hint():
    assert find_spec("sklearn")
    code = (
        "import sys, bpnet; assert 'sklearn' not in sys.modules; sys.modules['sklearn'] = None\n"
        "try: import bpnet.estimators\n"
        "except ImportError as error: print(error.name, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.startswith("sklearn bpnet.estimators needs scikit-learn")
    assert "pip install scikit-learn" in done.stdout
