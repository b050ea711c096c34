import shutil
import sysconfig
from pathlib import Path

import pytest
import torch

from config.errors import InputError
from config.recipe import Recipe, make_recipe
from model.device import resolve_precision, should_compile, supports_bf16

CPU = torch.device("cpu")


def test_auto_precision_depends_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for supported, precision in ((True, "bf16"), (False, "f32")):
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda supported=supported: {"amx_bf16": supported}
        )
        assert supports_bf16(CPU) == supported
        assert resolve_precision(Recipe(), CPU).precision == precision
        assert resolve_precision(Recipe(precision="bf16"), CPU).precision == "bf16"


def test_auto_compiles_long_runs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.device.list_missing_compile_tools", lambda _: [])
    long = {"precision": "bf16"}
    assert should_compile(make_recipe(long, {}), CPU, 10_000)
    assert not should_compile(make_recipe(long, {}), CPU, 10)
    for change in ({"precision": "f32"}, {"generator_width": 8}, {"compile": "off"}):
        assert not should_compile(make_recipe(long, change), CPU, 10_000)
    assert should_compile(make_recipe({}, {"compile": "on"}), CPU, 1)


def test_missing_compiler_is_an_error_only_if_requested(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    header = tmp_path / "Python.h"
    header.touch()
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert should_compile(Recipe(precision="bf16"), CPU, 10_000)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert not should_compile(Recipe(precision="bf16"), CPU, 10_000)
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler \(g\+\+\)\. .*compile=off"):
        should_compile(Recipe(compile="on"), CPU, 10)
    header.unlink()
    gpu = torch.device("cuda")
    assert not should_compile(Recipe(), gpu, 10_000)
    with pytest.raises(InputError, match=r"a C compiler \(gcc\) and Python's headers"):
        should_compile(Recipe(compile="on"), gpu, 10)
