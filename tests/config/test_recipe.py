import pytest

from config.errors import InputError
from config.recipe import make_recipe


def test_changes_win_over_defaults() -> None:
    recipe = make_recipe({"batch": 1, "epochs": 180}, {"epochs": 2})
    assert (recipe.batch, recipe.epochs) == (1, 2)
    assert (recipe.lr, recipe.beta1, recipe.lambda_l1) == (2e-4, 0.5, 10)
    assert (recipe.generator_width, recipe.generator_blocks) == (64, 9)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"learning": 1e-4}, r"no field 'learning'.*\blr\b"),
        ({"lr": "fast"}, "lr='fast'"),
        ({"mirror": "perhaps"}, "mirror='perhaps'"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch": 2.5}, r"batch=2\.5"),
        ({"image_size": 130}, "image_size=130"),
    ],
)
def test_a_slip_names_the_field(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_recipe({}, changes)
