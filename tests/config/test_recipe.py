import pytest
from pydantic import TypeAdapter

from config.errors import InputError
from config.recipe import Recipe, StoredRecipe, make_recipe

# Fields of a stored recipe of an earlier version: all whose names differ, and one more.
STORED = {"decay": 0.25, "clip": 1.0, "pool": 50, "mirror": False, "grace": 5.0, "seed": 7}
RENAMED = Recipe(
    lr_decay_fraction=0.25,
    max_grad_norm=1.0,
    image_pool_size=50,
    hflip=False,
    shutdown_grace_s=5.0,
    seed=7,
)


def test_overrides_replace_defaults() -> None:
    recipe = make_recipe({"batch": 1, "epochs": 180}, {"epochs": 2})
    assert (recipe.batch, recipe.epochs) == (1, 2)
    assert (recipe.lr, recipe.beta1, recipe.lambda_l1) == (2e-4, 0.5, 10)
    assert (recipe.generator_width, recipe.generator_blocks) == (64, 9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning": 1e-4}, r"no field 'learning'.*\blr\b"),
        ({"lr": "fast"}, "lr='fast'"),
        ({"hflip": "perhaps"}, "hflip='perhaps'"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch": 2.5}, r"batch=2\.5"),
        ({"image_size": 130}, "image_size=130"),
    ],
)
def test_invalid_field_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_recipe({}, changes)


def test_stored_recipe_with_old_field_names_is_read() -> None:
    assert TypeAdapter(StoredRecipe).validate_python(STORED) == RENAMED


def test_stored_recipe_with_new_field_names_is_read() -> None:
    stored = RENAMED.model_dump_json()
    assert '"hflip":false' in stored
    assert TypeAdapter(StoredRecipe).validate_json(stored) == RENAMED


@pytest.mark.parametrize("name", ["decay", "clip", "pool", "mirror", "grace"])
def test_old_field_names_from_a_user_are_rejected(name: str) -> None:
    with pytest.raises(InputError, match=f"no field '{name}'"):
        make_recipe({}, {name: STORED[name]})
