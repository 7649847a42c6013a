"""The command, run in this process: what it prints where it succeeds, and says where it fails."""

from bpnet.cli.main import main


def printed(capsys, *argv):
    status = main([*map(str, argv)])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def refusal(capsys, *argv):
    status = main([*map(str, argv)])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("bpnet: error: ")
    assert err.count("\n") == 1
    return err
